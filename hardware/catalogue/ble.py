"""The Bluetooth part of a device file."""

from typing import Literal

from pydantic import Field, model_validator

from hardware.catalogue.table import Table
from protocols import bthome, gatt
from protocols.gatt import units


class Ble(Table):
    """What a model has on the air: characteristics to subscribe or to read, or advertisements that say it all.

    service: the one that it advertises; bond: whether its profile wants a bonded link; records: how many records it
    holds, which are fetched through its Record Access Control Point; advertises: the format of its advertisements;
    local_name: how the name that it advertises begins.
    """

    service: int = Field(ge=0, le=0xFFFF)
    characteristics: tuple[int, ...] = ()
    bond: bool = False
    records: int | None = Field(default=None, ge=1, le=0xFFFF)
    advertises: Literal["bthome"] | None = None
    local_name: str | None = Field(default=None, min_length=3, max_length=24)

    @model_validator(mode="after")
    def _check(self) -> "Ble":
        if (self.advertises is None) == (not self.characteristics):
            raise ValueError("needs either characteristics or advertises")
        if self.records and not {gatt.GLUCOSE_MEASUREMENT, gatt.PLX_SPOT_CHECK_MEASUREMENT} & set(self.characteristics):
            raise ValueError("records are fetched of 0x2A18 or 0x2A5E, which is not among the characteristics")
        for uuid16 in self.characteristics:
            if not gatt.metrics_of(uuid16):
                known = ", ".join(f"0x{each:04X}" for each in gatt.CHARACTERISTICS)
                raise ValueError(f"characteristic 0x{uuid16:04X} is none that can be read; there are {known}")
        return self

    def metric_problem(self, name: str, unit: str) -> str:
        """Why such a device never gives this metric in this unit; empty if it does."""
        if self.advertises:
            found = bthome.units_of(name)
        else:
            found = {each for uuid16 in self.characteristics for each in gatt.metrics_of(uuid16).get(name, ())}
        if not found:
            return "is nothing that the device says: no characteristic or object has it"
        if not any(units.converts(each, unit) for each in found):
            return f"comes in {' or '.join(sorted(found)) or 'no unit'}, not in {unit or 'no unit'}"
        return ""
