"""The port for RP2040 and RP2350 boards: partitions are ranges at the end of the storage, behind the file system.

There is no partition table: the file system must have been made on the blocks before them (see docs/firmware.md).
"""

import rp2

from firmware.hal.board import (
    analog_in,
    bluetooth,
    digital_in,
    digital_out,
    i2c,
    random_bits,
    restart,
    storage,
    ticks_diff,
    ticks_ms,
    uart,
    unix_ms,
    watchdog,
)

__all__ = (
    "analog_in",
    "bluetooth",
    "digital_in",
    "digital_out",
    "i2c",
    "partition",
    "random_bits",
    "restart",
    "storage",
    "ticks_diff",
    "ticks_ms",
    "uart",
    "unix_ms",
    "watchdog",
)

_COUNT, _SIZE = 4, 5  # of ioctl
_KB = (("records", 64), ("journal", 1024), ("urgent", 64))  # from the last one backwards


class _Range:
    """Blocks near the end of the storage as a block device of their own."""

    def __init__(self, size_kb: int, behind_kb: int):
        self._flash = rp2.Flash()
        size = self._told(_SIZE)
        self._blocks = size_kb * 1024 // size
        self._first = self._told(_COUNT) - behind_kb * 1024 // size - self._blocks

    def readblocks(self, block_num: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill the buffer from a place in a block."""
        self._flash.readblocks(self._first + block_num, buf, offset)

    def writeblocks(self, block_num: int, buf: "bytes | bytearray", offset: int = 0) -> None:
        """Program whole pages of erased flash."""
        self._flash.writeblocks(self._first + block_num, buf, offset)

    def ioctl(self, op: int, arg: int) -> "int | None":
        """4: how many blocks; all else as the flash has it."""
        if op == _COUNT:
            return self._blocks
        answer: "int | None" = self._flash.ioctl(op, self._first + arg)
        return answer

    def _told(self, op: int) -> int:
        answer: "int | None" = self._flash.ioctl(op, 0)
        if not answer:
            raise RuntimeError("the flash does not tell its size")
        return answer


def partition(name: str) -> "_Range":
    """A partition of raw flash, as a block device with the extended interface."""
    behind_kb = 0
    for each, size_kb in _KB:
        if each == name:
            return _Range(size_kb, behind_kb)
        behind_kb += size_kb
    raise RuntimeError("the flash has no partition " + name)
