"""The Modbus part of a device file."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from hardware.catalogue.table import Table
from protocols.errors import DecodeError, EncodeError
from protocols.modbus import encode_registers, register_count


class Register(Table):
    """Where a Modbus metric lives: `address` as on the wire, from 0; `scale` and `offset` applied after decoding.

    `bit` and `width` pick from a register of type "bool" or "bits"; `no_value` is the whole number that the device puts
    there when it has none.
    """

    table: Literal["coil", "discrete", "holding", "input"]
    address: int = Field(ge=0, le=0xFFFF)
    type: str = "uint16"
    bit: int | None = Field(default=None, ge=0, le=15)
    width: int = Field(default=1, ge=1, le=16)
    scale: float = 1.0
    offset: float = 0.0
    no_value: int | None = None

    @property
    def count(self) -> int:
        """How many registers, or bits, it takes."""
        return 1 if self.table in ("coil", "discrete") else register_count(self.type)

    @property
    def is_scaled(self) -> bool:
        """Whether its readings are other numbers than it holds."""
        return (self.scale, self.offset) != (1, 0)

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole numbers."""
        return not self.type.startswith(("float", "string"))

    @property
    def is_plain_whole(self) -> bool:
        """Whether its readings are the whole numbers that it holds."""
        return self.is_whole and not self.is_scaled

    @model_validator(mode="after")
    def _check(self) -> "Register":
        try:
            count = self.count
        except DecodeError as error:
            raise ValueError(error.reason) from error
        if self.address + count > 0x10000:
            raise ValueError(f"{self.type} at {self.address} ends beyond the last register, 65535")
        if self.type not in ("bool", "bits") and (self.bit is not None or self.width != 1):
            raise ValueError(f"{self.type} has no bits to pick from; the types for that are bool and bits")
        if self.width != 1 and self.type == "bool":
            raise ValueError("a bool is one bit wide; the type for several is bits")
        if (self.bit or 0) + self.width > 16:
            raise ValueError(f"{self.width} bits from bit {self.bit or 0} are not within a register")
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        if self.no_value is not None and not (self.is_whole and _holds(self.type, self.no_value)):
            raise ValueError(f"no_value must be a whole number that {self.type} can hold")
        return self


def _holds(type_: str, value: int) -> bool:
    try:
        encode_registers(value, type_)
    except EncodeError:
        return False
    return True


class Group(Table):
    """Metrics that are polled together: every `period_ms`, `phase_ms` after the raster's beginning."""

    period_ms: int = Field(gt=0)
    phase_ms: int = Field(default=0, ge=0)


class Fingerprint(Table):
    """A register by which a model is known for sure: it holds one of `values`."""

    register_: Register = Field(alias="register")
    values: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Fingerprint":
        if self.register_.table in ("coil", "discrete") or not self.register_.is_plain_whole:
            raise ValueError("the register of a fingerprint holds a whole number, without scale and offset")
        return self


class Modbus(Table):
    """Defaults of a Modbus model; the gateway's config may override unit_id and period_ms.

    `max_registers` and `max_bits`: what the device lets be read at once, where that is less than the protocol does.
    """

    unit_id: int = Field(default=1, ge=0, le=255)
    period_ms: int = Field(default=1000, gt=0)
    byte_order: Literal["big", "little"] = "big"
    word_order: Literal["big", "little"] = "big"
    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    groups: Mapping[str, Group] = {}
    fingerprint: Fingerprint | None = None
