"""The Bluetooth part of a device file."""

from pydantic import Field

from hardware.catalogue.table import Table


class Ble(Table):
    """The advertised service, the characteristics to subscribe, and whether the profile wants a bonded link."""

    service: int = Field(ge=0, le=0xFFFF)
    characteristics: tuple[int, ...]
    bond: bool = False
