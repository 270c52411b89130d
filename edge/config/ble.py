"""A Bluetooth link in the config."""

import re
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from edge.config.table import Device, Link, check_apart


class BleDevice(Device):
    """`key_file`: 16 bytes in hex, the key of a sensor that encrypts its advertisements."""

    key_file: Path | None = None

    @model_validator(mode="after")
    def _check_key(self) -> "BleDevice":
        ble = self.declared.ble
        if self.key_file and (ble is None or ble.advertises is None):
            raise ValueError(f"key_file is for sensors that only advertise; {self.model} is connected")
        return self


class BleLink(Link):
    """Bluetooth: `bluez`, or `hci:` and a transport such as usb:0 or tcp-client:HOST:PORT. Devices by address.

    `timezone`: where the devices' own clocks are, such as Asia/Shanghai; by default the system's.
    """

    kind: Literal["ble"]
    adapter: str = Field(default="bluez", pattern=r"^(bluez|hci:.+)$")
    timezone: str | None = None
    devices: tuple[BleDevice, ...] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, timezone: str | None) -> str | None:
        if timezone is not None:
            try:
                ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"{timezone} is no time zone; one is Asia/Shanghai") from None
        return timezone

    @model_validator(mode="after")
    def _check_addresses(self) -> "BleLink":
        for device in self.devices:
            if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", device.address):
                raise ValueError(f"the address of {device.thing} must be six bytes such as C0:12:34:56:78:9A")
        check_apart(self.devices)
        return self

    @property
    def where(self) -> str:
        """The place, for people."""
        return self.adapter
