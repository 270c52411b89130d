"""A Bluetooth link in the config."""

import re
from typing import Literal

from pydantic import Field, model_validator

from edge.config.table import Device, Link, check_apart


class BleLink(Link):
    """Bluetooth: `bluez`, or `hci:` and a transport such as usb:0 or tcp-client:HOST:PORT. Devices by address."""

    kind: Literal["ble"]
    adapter: str = Field(default="bluez", pattern=r"^(bluez|hci:.+)$")
    devices: tuple[Device, ...] = Field(min_length=1)

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
