"""What a scan is to look for, and who is told of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edge.scan.found import FoundDevice, FoundLink, Settings
from edge.scan.progress import Watch
from hardware.catalogue import DeviceModel


class Setting(NamedTuple):
    """How a serial port is set."""

    baud: int
    parity: str = "none"
    stop_bits: int = 1


class Search(NamedTuple):
    """One scan. `found` grows as it goes, so that one that is interrupted was not in vain.

    models: by name, those that may be there; units: ids to try on a Modbus line, each for timeout_s; settings: of a
    serial port, to try in turn; air_s: how long to listen for advertisements.
    """

    models: Mapping[str, DeviceModel]
    units: Sequence[int]
    timeout_s: float
    settings: Sequence[Setting]
    air_s: float
    watch: Watch
    found: list[FoundLink]

    def link(self, settings: Settings) -> list[FoundDevice]:
        """Where to put the devices of one link, of which there may turn out to be none."""
        devices: list[FoundDevice] = []
        self.found.append(FoundLink(settings, devices))
        return devices
