"""The commands of a device file."""

from pydantic import Field

from hardware.catalogue.modbus import Register
from hardware.catalogue.table import Name, Table


class Command(Table):
    """What a device can be told to do, with one value."""

    name: Name
    unit: str = "1"
    range: tuple[float, float] | None = None
    register_: Register | None = Field(default=None, alias="register")
    read_back: bool = True
