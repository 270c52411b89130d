"""A serial link in the config."""

from typing import Literal

from pydantic import Field

from edge.config.table import Device, Link


class SerialLink(Link):
    """One serial port with one device; give the port by its stable name in /dev/serial/by-id."""

    kind: Literal["serial"]
    port: str
    devices: tuple[Device, ...] = Field(min_length=1, max_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        return self.port
