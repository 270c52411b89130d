"""Runs on MicroPython: a journal's life on a small flash, cut at every change of the flash in every way.

Arguments: how many steps, and a seed. Each image that a loss of power can leave is mounted: every pack that was
acknowledged and not released must be there unchanged, or, if the ring had come round to it, declared with its readings.
Prints {"cuts": images, "unmountable": ..., "lost": ..., "wear": [fewest, most erasures of a sector]}.
"""

import json
import random
import sys

from firmware.core.journal import Journal
from firmware.errors import JournalError
from hardware.sim.chips.norflash import NorFlash, torn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECTORS = 6
_BLOCK_BYTES = 512  # two to a sector, so that power can fail between their erasures
_MOST_EPOCHS = 9  # a run of gaps for each fits into the head of such a sector
_AFTER = 1 << 61  # the epoch that a start after a cut opens
_FROM_AGAIN = 97  # every so many cuts the start after it is cut everywhere, too


class Life:
    """A journal, and what it has promised."""

    def __init__(self, flash: NorFlash):
        self.flash = flash
        self.journal = Journal(flash, most_sectors=_SECTORS)
        self.promised: "dict[tuple[int, int], tuple[bytes, int]]" = {}
        self.coming: "tuple[bytes, int] | None" = None  # what is being appended
        self.cursor: "dict[int, int]" = {}  # what the gateway has of each epoch
        self.epoch = 0
        self.next = 1
        self.counter = 0

    def step(self) -> None:
        """Append mostly; or a new epoch, a release, a start."""
        chance = random.randrange(100)
        if len({epoch for epoch, _ in self.promised}) > _MOST_EPOCHS:
            self._release()
        elif chance < 88 and self.epoch:
            self._append()
        elif chance < 90:
            self._open()
        elif chance < 96 and self.promised:
            self._release()
        else:
            self.journal = Journal(self.flash, most_sectors=_SECTORS)
            for epoch, _, _ in self.journal.epochs():
                self.journal.release(epoch, self.cursor.get(epoch, 0))  # it is offered again, and refused
            self._open()

    def _append(self) -> None:
        self.counter += 1
        payload = (str(self.counter) + "-").encode() * random.randrange(1, 40)
        self.coming = (payload, 1 + self.epoch % 3)
        seq = self.journal.append(*self.coming)
        assert seq == self.next, (seq, self.next)
        self.promised[self.epoch, seq] = self.coming
        self.coming = None
        self.next += 1

    def _open(self) -> None:
        self.epoch += 1
        self.next = 1
        self.journal.open(self.epoch)

    def _release(self) -> None:
        """As a gateway does: one of the oldest epochs, from its beginning, in part or whole."""
        held = sorted(self.promised)
        epochs = sorted({epoch for epoch, _ in held})[:4]
        epoch = epochs[random.randrange(len(epochs))]
        seqs = [key[1] for key in held if key[0] == epoch]
        seq = seqs[-1 if random.randrange(3) else random.randrange(len(seqs))]
        for key in held:
            if key[0] == epoch and key[1] <= seq:
                del self.promised[key]
        self.cursor[epoch] = seq
        self.journal.release(epoch, seq)


def broken_promises(life: Life, found: Journal, before: Journal) -> int:
    """How many packs are neither there nor, as the journal before the cut meant it, declared.

    Nor may there be a pack that nobody appended.
    """
    broken = 0
    for (epoch, seq), promised in life.promised.items():
        try:
            payload, readings = found.read(epoch, seq)
            if payload is None:
                there = readings == promised[1] and before.read(epoch, seq)[0] is None
            else:
                there = (payload, readings) == promised
        except JournalError:
            there = False
        broken += not there
    for epoch, _, last in found.epochs():
        if epoch == life.epoch and last == life.next and life.coming is not None:
            broken += found.read(epoch, last) != life.coming
        elif epoch == life.epoch:
            broken += last >= life.next
        else:
            broken += epoch > life.epoch and epoch != _AFTER
    return broken


class Campaign:
    """Cuts a life everywhere, and counts."""

    def __init__(self, seed: int):
        random.seed(seed)
        flash = NorFlash(2 * _SECTORS, sector_bytes=_BLOCK_BYTES)
        self.life = Life(flash)
        flash.watcher = self._cut
        self.cuts = self.unmountable = self.lost = 0

    def run(self, steps: int) -> "dict[str, Any]":
        """So many steps; the counts."""
        for _ in range(steps):
            self.life.step()
        worn = self.life.flash.erasures
        return {
            "cuts": self.cuts,
            "unmountable": self.unmountable,
            "lost": self.lost,
            "wear": [min(worn), max(worn)],
        }

    def _cut(self, flash: NorFlash, at: int, after: bytes) -> None:
        for _, image in torn(flash, at, after):
            self.cuts += 1
            self._start(image, self.life.journal, again=self.cuts % _FROM_AGAIN == 0)

    def _start(self, image: NorFlash, before: Journal, *, again: bool) -> None:
        """Mount it, count what is missing, and go on as a device does; nothing may be missing then either."""
        try:
            found = Journal(image, most_sectors=_SECTORS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the device would not come up
            print("unmountable:", type(error).__name__, error)
            self.unmountable += 1
            return
        broken = broken_promises(self.life, found, before)
        if not broken:
            if again:
                image.watcher = lambda flash, at, after: self._cut_again(flash, at, after, found)
            found.open(_AFTER)
            found.append(b"after the cut", 1)
            broken = Journal(image, most_sectors=_SECTORS).read(_AFTER, 1) != (b"after the cut", 1)
        self.lost += broken

    def _cut_again(self, flash: NorFlash, at: int, after: bytes, before: Journal) -> None:
        for _, image in torn(flash, at, after):
            self.cuts += 1
            self._start(image, before, again=False)


if __name__ == "__main__":
    print(json.dumps(Campaign(int(sys.argv[2])).run(int(sys.argv[1]))))
