"""A Modbus link in the config."""

from typing import Literal

from pydantic import Field, model_validator

from edge.config.table import Device, Link, check_apart


class ModbusLink(Link):
    """Modbus TCP: one connection, devices by unit id."""

    kind: Literal["modbus"]
    host: str
    port: int = Field(default=502, ge=1, le=65535)
    devices: tuple[Device, ...] = Field(min_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _check_addresses(self) -> "ModbusLink":
        for device in self.devices:
            if not device.address.isdigit() or not 0 <= int(device.address) <= 255:
                raise ValueError(f"the address of {device.thing} must be its unit id, 0 to 255")
        check_apart(self.devices)
        return self
