"""The serial part of a device file."""

from typing import Literal

from pydantic import Field

from hardware.catalogue.table import Table


class Serial(Table):
    """Line speed and framing."""

    baud: int = Field(gt=0)
    framing: Literal["nmea"]
