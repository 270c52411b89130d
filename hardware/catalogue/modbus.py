"""The Modbus part of a device file."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from hardware.catalogue.table import Table


class Register(Table):
    """Where a Modbus metric lives: `address` as on the wire, from 0; `scale` and `offset` applied after decoding.

    `bit` and `width` pick from a register of type "bool" or "bits".
    """

    table: Literal["coil", "discrete", "holding", "input"]
    address: int = Field(ge=0, le=0xFFFF)
    type: str = "uint16"
    bit: int | None = Field(default=None, ge=0, le=15)
    width: int = Field(default=1, ge=1, le=16)
    scale: float = 1.0
    offset: float = 0.0


class Group(Table):
    """Metrics that are polled together: every `period_ms`, `phase_ms` after the raster's beginning."""

    period_ms: int = Field(gt=0)
    phase_ms: int = Field(default=0, ge=0)


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
