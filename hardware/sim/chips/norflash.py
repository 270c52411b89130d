"""Model of NOR flash as MicroPython's ports give it: a block device with the extended interface (esp32.Partition).

Erasing sets all bits of a sector, programming only clears some. `watcher`, if set, is called before each change with
the flash, the place and the bytes that will be there; `torn` makes the images that a loss of power may leave of it.
"""

import random
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECTOR_BYTES = 4096
_PIECE_BYTES = 256
TEARS = ("none", "half", "some bits", "whole")


class NorFlash:
    """So many sectors, erased, or holding an image. `erasures` counts them per sector."""

    def __init__(self, sectors: int, *, sector_bytes: int = SECTOR_BYTES, image: "bytes | bytearray | None" = None):
        self.count = sectors
        self.sector_bytes = sector_bytes
        self.image = bytearray(b"\xff" * (sectors * sector_bytes) if image is None else image)
        self.erasures = array("I", bytes(4 * sectors))
        self.watcher: "Callable[[NorFlash, int, bytes], None] | None" = None

    def readblocks(self, block_num: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill the buffer from a place in a sector, and those behind it."""
        at = block_num * self.sector_bytes + offset
        buf[:] = self._load(at, len(buf))

    def writeblocks(self, block_num: int, buf: "bytes | bytearray", offset: "int | None" = None) -> None:
        """Program; without an offset the sectors are erased before."""
        if offset is None:
            for sector in range(block_num, block_num + len(buf) // self.sector_bytes):
                self.ioctl(6, sector)
        at = block_num * self.sector_bytes + (offset or 0)
        there = int.from_bytes(self._load(at, len(buf)), "little")
        self._change(at, (there & int.from_bytes(buf, "little")).to_bytes(len(buf), "little"))

    def ioctl(self, op: int, arg: int) -> "int | None":
        """4: how many sectors; 5: their size; 6: erase one."""
        if op == 4:
            return self.count
        if op == 5:
            return self.sector_bytes
        if op == 6:
            self._erase(arg)
            return 0
        return None

    def clone(self) -> "NorFlash":
        """Another one with the same content."""
        return NorFlash(self.count, sector_bytes=self.sector_bytes, image=self.image)

    def _erase(self, sector: int) -> None:
        self.erasures[sector] += 1
        self._change(sector * self.sector_bytes, b"\xff" * self.sector_bytes)

    def _change(self, at: int, after: bytes) -> None:
        if self.watcher is not None:
            self.watcher(self, at, after)
        self._store(at, after)

    def _load(self, at: int, count: int) -> "bytes | memoryview":
        return memoryview(self.image)[at : at + count]

    def _store(self, at: int, data: bytes) -> None:
        self.image[at : at + len(data)] = data


class FileFlash(NorFlash):
    """The same, kept in a file, which must be there and as large as all sectors; it does not count erasures."""

    def __init__(self, path: str, *, sector_bytes: int = SECTOR_BYTES):
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - it stays open, see close
        super().__init__(0, sector_bytes=sector_bytes)
        self.count = self._file.seek(0, 2) // sector_bytes

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _erase(self, sector: int) -> None:
        """Piece by piece: on a board this takes no memory either."""
        at = sector * self.sector_bytes
        for place in range(at, at + self.sector_bytes, _PIECE_BYTES):
            self._store(place, b"\xff" * _PIECE_BYTES)

    def _load(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _store(self, at: int, data: bytes) -> None:
        self._file.seek(at)
        self._file.write(data)


def torn(flash: NorFlash, at: int, after: bytes) -> "Iterator[tuple[str, NorFlash]]":
    """For each of TEARS a flash as a loss of power in this change leaves it."""
    before = bytes(flash.image[at : at + len(after)])
    half = len(after) // 2
    changing = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    changed = changing & _random(len(after))
    some = (int.from_bytes(before, "little") ^ changed).to_bytes(len(after), "little")
    for tear, left in zip(TEARS, (before, after[:half] + before[half:], some, after)):
        clone = flash.clone()
        clone.image[at : at + len(after)] = left
        yield tear, clone


def _random(count: int) -> int:
    value = 0
    for _ in range(count // 3 + 1):
        value = value << 24 | random.getrandbits(24)
    return value & (1 << 8 * count) - 1
