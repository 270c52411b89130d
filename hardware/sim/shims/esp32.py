"""MicroPython's `esp32` over the simulated board: the part of its documented API that the firmware may use."""

from hardware.sim.chips.norflash import FileFlash
from hardware.sim.shims import simboard


class Partition(FileFlash):
    """A partition of the flash, kept in the file that the board's description names."""

    TYPE_APP, TYPE_DATA = 0, 1

    @classmethod
    def find(cls, type: int = TYPE_APP, subtype: int = 0xFF, label: "str | None" = None) -> "list[Partition]":
        """The data partitions of this label, or all of them."""
        known = simboard.board().partitions
        names = [name for name in sorted(known) if type == cls.TYPE_DATA and label in (None, name)]
        return [cls(known[name]["path"], sector_bytes=known[name]["sector_bytes"]) for name in names]
