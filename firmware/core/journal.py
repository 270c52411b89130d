"""The journal: packs on raw flash until the gateway has them, whole after a loss of power at any moment.

A ring of sectors (sectors.py), each for packs of one epoch, in order. A sector is erased when the ring comes round to
it, so all of them wear alike, and about as many bytes are programmed as are appended. Every start begins a new sector,
so nothing is ever written behind what a loss of power has torn.

The oldest sector gives way when the ring is full. The head of the sector before it has said so by then: each head holds
the gaps of all packs that gave way and are not released, those of the sector behind it included. So that one may be
erased at any time, and each of its packs can still be sent as a gap record.
"""

from array import array

from firmware.core.gaps import Gaps
from firmware.core.sectors import RECORD_BYTES, Sectors
from firmware.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware.core.sectors import Flash, Head

_FEWEST_SECTORS = 3
_FREE = 0  # no epoch has this number


class Journal:
    """Packs by (epoch, seq). `lost_readings` counts what had to give way since this start. Raises JournalError.

    Of each sector 16 bytes are kept in memory; there are at most `most_sectors`.
    """

    def __init__(self, flash: "Flash", *, most_sectors: int = 256):
        self._sectors = Sectors(flash, most_sectors)
        count = self._sectors.count
        if count < _FEWEST_SECTORS:
            raise JournalError(f"a partition of {count} sectors is too small: {_FEWEST_SECTORS} are needed")
        self._epoch_of = array("Q", bytes(8 * count))
        self._first_in = array("I", bytes(4 * count))
        self._last_in = array("I", bytes(4 * count))
        self._newest = count - 1  # the sector begun last
        self._number = 0
        self._end: "int | None" = None  # where the next record goes in the newest sector; None: into a new one
        self._gaps = Gaps(self._sectors.most_runs)
        self._released: "dict[int, int]" = {}
        self._open = _FREE
        self._next = 1
        self._found = (0, 0, 0)  # sector, seq and place of the record that was read last
        self.lost_readings = 0
        self._load()

    def epochs(self) -> "list[tuple[int, int, int]]":
        """What is held, oldest epoch first: (epoch, first seq, last seq)."""
        spans: "dict[int, tuple[int, int]]" = {}
        for epoch, first, last, _ in self._gaps.runs:
            _widen(spans, epoch, first, last)
        for sector in self._held():
            _widen(spans, self._epoch_of[sector], self._first_in[sector], self._last_in[sector])
        return [(epoch, spans[epoch][0], spans[epoch][1]) for epoch in sorted(spans) if spans[epoch][1]]

    def open(self, epoch: int) -> None:
        """From now on packs are appended to this epoch, from seq 1. Raises OSError if the flash does."""
        self._end = None
        self._free_released()
        self._open = epoch
        self._next = 1

    def append(self, payload: bytes, readings: int) -> int:
        """Keep a pack of so many readings; returns its seq. Raises JournalError if the flash refuses it."""
        if not self._open:
            raise JournalError("no epoch is open")
        if not 0 < len(payload) <= self._sectors.longest_payload():
            raise JournalError(f"a pack of {len(payload)} bytes does not fit")
        end = self._end
        try:
            if end is None or end + RECORD_BYTES + len(payload) > self._sectors.bytes:
                end = self._begin_sector()
            self._end = None  # if it fails, part of it may be there, and the next one goes into another sector
            self._end = self._sectors.write(self._newest, end, self._number, payload, readings)
        except OSError as error:
            raise JournalError(f"cannot be written: {error}") from error
        self._last_in[self._newest] = self._next
        self._next += 1
        return self._next - 1

    def read(self, epoch: int, seq: int) -> "tuple[bytes | None, int]":
        """A pack's payload, or None if it had to give way, and how many readings it holds. Raises JournalError."""
        for sector in range(self._sectors.count):
            if self._epoch_of[sector] == epoch and self._first_in[sector] <= seq <= self._last_in[sector]:
                at, length, readings = self._find(sector, seq)
                return self._sectors.payload(sector, at, length), readings
        lost = self._gaps.readings(epoch, seq)
        if lost is None:
            raise JournalError(f"pack {epoch}/{seq} is not held")
        return None, lost

    def release(self, epoch: int, upto: int) -> None:
        """The packs of the epoch up to this seq are in the gateway's keeping."""
        self._released[epoch] = max(upto, self._released.get(epoch, 0))
        self._gaps.release(epoch, upto)
        self._free_released()

    def size(self) -> int:
        """Bytes of the sectors that hold something."""
        return sum(self._sectors.bytes for _ in self._held())

    # --- the ring ---

    def _begin_sector(self) -> int:
        """The next sector of the ring becomes the newest; returns where its first record goes."""
        self._end = None
        self._free_released()
        count = self._sectors.count
        self._newest = (self._newest + 1) % count
        self._number += 1
        self._give_way(self._newest)  # it has, unless the flash has failed
        self._give_way((self._newest + 1) % count)
        self._found = (0, 0, 0)
        end = self._sectors.begin(self._newest, self._number, self._open, self._next, self._gaps)
        self._epoch_of[self._newest] = self._open
        self._first_in[self._newest] = self._next
        self._last_in[self._newest] = self._next - 1
        return end

    def _give_way(self, sector: int) -> None:
        epoch = self._epoch_of[sector]
        if epoch == _FREE:
            return
        for seq, readings in self._records(sector):
            if seq > self._released.get(epoch, 0):
                self._gaps.add(epoch, seq, readings)
                self.lost_readings += readings
        self._epoch_of[sector] = _FREE

    def _free_released(self) -> None:
        """Mark the sectors that are released whole; the one that is appended to stays."""
        for sector in self._held():
            live = sector == self._newest and self._end is not None
            if not live and self._last_in[sector] <= self._released.get(self._epoch_of[sector], 0):
                self._sectors.release(sector)
                self._epoch_of[sector] = _FREE
        present = {self._epoch_of[sector] for sector in self._held()} | {self._open}
        self._released = {epoch: upto for epoch, upto in self._released.items() if epoch in present}

    def _held(self) -> "Iterator[int]":
        """The sectors that are not free, oldest first."""
        for place in range(self._newest + 1, self._newest + 1 + self._sectors.count):
            sector = place % self._sectors.count
            if self._epoch_of[sector] != _FREE:
                yield sector

    # --- records ---

    def _records(self, sector: int) -> "Iterator[tuple[int, int]]":
        """(seq, readings) of each record in a sector."""
        at = self._start_of(sector)
        for seq in range(self._first_in[sector], self._last_in[sector] + 1):
            length, readings = self._sectors.length(sector, at)
            yield seq, readings
            at += RECORD_BYTES + length

    def _find(self, sector: int, wanted: int) -> "tuple[int, int, int]":
        """Place, length and readings of a record. Packs are read in order, so the one after the last is near."""
        found_sector, seq, at = self._found
        if found_sector != sector or not self._first_in[sector] <= seq <= wanted:
            seq, at = self._first_in[sector], self._start_of(sector)
        length, readings = self._sectors.length(sector, at)
        while seq < wanted:
            seq, at = seq + 1, at + RECORD_BYTES + length
            length, readings = self._sectors.length(sector, at)
        self._found = (sector, seq, at)
        return at, length, readings

    def _start_of(self, sector: int) -> int:
        head = self._sectors.head(sector)
        if head is None:
            raise JournalError(f"sector {sector} has lost its head")
        return head.start

    # --- at start ---

    def _load(self) -> None:
        numbers = []
        for sector in range(self._sectors.count):
            head = self._sectors.head(sector)
            if head is not None:
                numbers.append((head.number, sector))
        numbers.sort()
        if not numbers:
            return
        self._number, self._newest = numbers[-1]
        newest = self._sectors.head(self._newest)
        if newest is not None:
            self._gaps = Gaps(self._sectors.most_runs, newest.runs)
        before = None
        for _, sector in numbers:
            head = self._sectors.head(sector)
            if head is not None and not head.released and self._load_sector(sector, head, before):
                before = sector

    def _load_sector(self, sector: int, head: "Head", before: "int | None") -> bool:
        last = head.first + self._sectors.count_whole(sector, head.start, head.number) - 1
        # Power can fail between the gap record and the erasure of what it stands for.
        given_way = any(run[0] == head.epoch and run[1] <= last and head.first <= run[2] for run in self._gaps.runs)
        if given_way or last < head.first:
            return False
        if before is not None and self._epoch_of[before] == head.epoch:
            # What was refused, and yet is there, was appended again. What is damaged hides what is behind it in its
            # sector; how many readings that held is not known.
            self._last_in[before] = min(self._last_in[before], head.first - 1)
            for seq in range(self._last_in[before] + 1, head.first):
                if self._gaps.readings(head.epoch, seq) is None:
                    self._gaps.add(head.epoch, seq, 1)
        self._epoch_of[sector] = head.epoch
        self._first_in[sector] = head.first
        self._last_in[sector] = last
        return True


def _widen(spans: "dict[int, tuple[int, int]]", epoch: int, first: int, last: int) -> None:
    before = spans.get(epoch, (first, last))
    spans[epoch] = (min(first, before[0]), max(last, before[1]))
