"""Sectors of the journal on raw flash: how heads and records lie there, and what a loss of power leaves of them.

A sector is one block of the flash, which is what it erases at once, or a few of them where there are many. Its head is
a mark (u32, erased until all of the sector is released), magic, number (u32, one more than the sector's before it),
epoch (u64), first seq (u32), how many gap runs follow (u16), the runs (see gaps.py) and a CRC-32 of all but the mark.
Records follow, each length (u16), how many readings the pack holds (u16), CRC-32 (u32), payload. The CRC begins with
the sector's number, so nothing that an erasure left over checks.
"""

import struct
from binascii import crc32
from collections import namedtuple

from firmware.core import gaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Protocol

    class Flash(Protocol):
        """What is needed of a block device with MicroPython's extended interface (esp32.Partition, rp2.Flash)."""

        def readblocks(self, block_num: int, buf: "bytearray | memoryview", offset: int = 0) -> object: ...
        def writeblocks(self, block_num: int, buf: "bytes | bytearray", offset: int = 0) -> object: ...
        def ioctl(self, op: int, arg: int) -> "int | None": ...

    class Head(NamedTuple):
        """What a sector says of itself. `start` is where its first record lies."""

        number: int
        epoch: int
        first: int
        runs: "list[list[int]]"
        start: int
        released: bool

else:
    Head = namedtuple("Head", ("number", "epoch", "first", "runs", "start", "released"))

_COUNT, _SIZE, _ERASE = 4, 5, 6  # of ioctl
_PAGE = 256
_MARK_BYTES = 4
_ERASED = b"\xff" * _MARK_BYTES
_MAGIC = b"KJ"
_HEAD = "<2sIQIH"
_HEAD_BYTES = struct.calcsize(_HEAD)
_CRC_BYTES = 4
_RECORD = "<HHI"
RECORD_BYTES = struct.calcsize(_RECORD)


class Sectors:
    """The sectors of one flash partition, at most `most` of them. Raises OSError if the flash does."""

    def __init__(self, flash: "Flash", most: int):
        self._flash = flash
        blocks = flash.ioctl(_COUNT, 0) or 0
        self._blocks = (blocks + most - 1) // most  # of each sector
        self.count = blocks // self._blocks if blocks else 0
        self.bytes = self._blocks * (flash.ioctl(_SIZE, 0) or 0)
        self.most_runs = self.bytes // 4 // gaps.RUN_BYTES

    def longest_payload(self) -> int:
        """What fits into any sector, in bytes."""
        most_head = _MARK_BYTES + _HEAD_BYTES + self.most_runs * gaps.RUN_BYTES + _CRC_BYTES
        return min(0xFFFF, self.bytes - most_head - RECORD_BYTES)

    def begin(self, sector: int, number: int, epoch: int, first: int, lost: "gaps.Gaps") -> int:
        """Erase the sector and write its head; returns where its first record will lie."""
        body = struct.pack(_HEAD, _MAGIC, number, epoch, first, len(lost.runs)) + lost.encode()
        for block in range(sector * self._blocks, (sector + 1) * self._blocks):
            self._flash.ioctl(_ERASE, block)
        self._program(sector, _MARK_BYTES, body + struct.pack("<I", crc32(body)))
        return _MARK_BYTES + len(body) + _CRC_BYTES

    def head(self, sector: int) -> "Head | None":
        """The sector's head, or None if there is no whole one."""
        fixed = self._read(sector, 0, _MARK_BYTES + _HEAD_BYTES)
        magic, number, epoch, first, count = struct.unpack_from(_HEAD, fixed, _MARK_BYTES)
        if magic != _MAGIC or count > self.most_runs:
            return None
        rest = self._read(sector, len(fixed), count * gaps.RUN_BYTES + _CRC_BYTES)
        runs = rest[:-_CRC_BYTES]
        if struct.unpack_from("<I", rest, len(runs))[0] != crc32(runs, crc32(fixed[_MARK_BYTES:])):
            return None
        return Head(number, epoch, first, gaps.decode(runs), len(fixed) + len(rest), fixed[:_MARK_BYTES] != _ERASED)

    def release(self, sector: int) -> None:
        """Mark the sector: nothing in it is needed any more. If power fails here, it is found marked or not marked."""
        self._program(sector, 0, bytes(_MARK_BYTES))

    def write(self, sector: int, at: int, number: int, payload: bytes, readings: int) -> int:
        """Write a record and read it again; returns where the next one will lie. Raises OSError if it is not there."""
        sizes = struct.pack("<HH", len(payload), readings)
        record = sizes + struct.pack("<I", crc32(payload, crc32(sizes, number))) + payload
        self._program(sector, at, record)
        if self._read(sector, at, len(record)) != record:
            raise OSError(5, f"sector {sector} does not keep what is written")
        return at + len(record)

    def length(self, sector: int, at: int) -> "tuple[int, int]":
        """Of the record known to be whole at this place: the payload's length and how many readings it holds."""
        length, readings, _ = struct.unpack(_RECORD, self._read(sector, at, RECORD_BYTES))
        return length, readings

    def payload(self, sector: int, at: int, length: int) -> bytes:
        """The payload of the record at this place."""
        return self._read(sector, at + RECORD_BYTES, length)

    def count_whole(self, sector: int, at: int, number: int) -> int:
        """How many whole records lie there, one behind the other. What does not check was torn."""
        whole = 0
        while at + RECORD_BYTES < self.bytes:
            head = self._read(sector, at, RECORD_BYTES)
            length, _, crc = struct.unpack(_RECORD, head)
            if not 0 < length <= self.bytes - at - RECORD_BYTES:
                break
            if crc32(self.payload(sector, at, length), crc32(head[:4], number)) != crc:
                break
            whole += 1
            at += RECORD_BYTES + length
        return whole

    def _read(self, sector: int, at: int, count: int) -> bytes:
        buffer = bytearray(count)
        self._flash.readblocks(sector * self._blocks, buffer, at)
        return bytes(buffer)

    def _program(self, sector: int, at: int, data: bytes) -> None:
        """The rp2 port programs whole pages only; ones leave the bits beside the data as they are."""
        first = at // _PAGE * _PAGE
        end = at + len(data)
        pages = b"\xff" * (at - first) + data + b"\xff" * (-end % _PAGE)
        self._flash.writeblocks(sector * self._blocks, pages, first)
