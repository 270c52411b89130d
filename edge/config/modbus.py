"""A Modbus link in the config."""

from typing import Literal

from pydantic import Field, model_validator

from edge.config.table import Device, Link, Table, check_apart


class SerialPort(Table):
    """A serial line; give the port by its stable name in /dev/serial/by-id."""

    port: str
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1


class ModbusDevice(Device):
    """A device by its unit id; `period_ms` in place of its model's own."""

    period_ms: int | None = Field(default=None, gt=0)


class ModbusLink(Link):
    """Modbus TCP by `host`, with `framing` "rtu" RTU over TCP; or RTU on a `serial` line. Devices by unit id."""

    kind: Literal["modbus"]
    host: str | None = None
    port: int = Field(default=502, ge=1, le=65535)
    framing: Literal["tcp", "rtu"] = "tcp"
    serial: SerialPort | None = None
    period_ms: int | None = Field(default=None, gt=0)
    timeout_ms: int = Field(default=500, ge=10, le=60_000)
    devices: tuple[ModbusDevice, ...] = Field(min_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        if self.serial is not None:
            return f"{self.serial.port}, {self.serial.baud} baud"
        return f"{self.host}:{self.port}" + (", RTU frames" if self.framing == "rtu" else "")

    @model_validator(mode="after")
    def _check(self) -> "ModbusLink":
        if (self.host is None) == (self.serial is None):
            raise ValueError("needs either host, for a network, or serial, for a serial line")
        for device in self.devices:
            if not device.address.isdigit() or not 0 <= int(device.address) <= 255:
                raise ValueError(f"the address of {device.thing} must be its unit id, 0 to 255")
            if int(device.address) == 0 and (self.serial is not None or self.framing == "rtu"):
                raise ValueError(
                    f"the address of {device.thing} is 0: on a serial line that is all devices, and none answers"
                )
        check_apart(self.devices)
        return self
