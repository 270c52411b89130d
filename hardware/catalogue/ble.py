"""The Bluetooth part of a device file."""

from typing import Literal

from pydantic import Field, model_validator

from hardware.catalogue.table import Table

GLUCOSE_MEASUREMENT, PLX_SPOT_CHECK_MEASUREMENT = 0x2A18, 0x2A5E


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
        if self.records and not {GLUCOSE_MEASUREMENT, PLX_SPOT_CHECK_MEASUREMENT} & set(self.characteristics):
            raise ValueError("records are fetched of 0x2A18 or 0x2A5E, which is not among the characteristics")
        return self
