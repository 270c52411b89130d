"""What an outbox costs a memory card: its syncs and writes, counted by strace, and how long a card lasts by that.

Assumptions, which the gateway's documentation repeats. A card of 64 GB stands 500 erasures of each cell, as cheap TLC
does. It programs whole flash pages of 16 kB: each sync begins new ones, and one more for its own tables. To make room
it copies as much again. Writes go to it in blocks of 4 kB.
"""

from pathlib import Path
from typing import NamedTuple

from bench.parts.power.trace import Sync, Write, trace

CARD_BYTES = 64e9
ERASURES = 500
FLASH_PAGE = 16_384
AMPLIFICATION = 2
BLOCK = 4096
_YEAR_S = 365.25 * 86_400


class Cost(NamedTuple):
    """Per million readings."""

    syncs: float
    mb_written: float

    def years(self, readings_per_s: float) -> float:
        """How long the card lasts."""
        programmed = (
            self.mb_written * 1e6 + self.syncs * 2 * FLASH_PAGE
        )  # one page for what is not full, one for tables
        per_s = programmed * AMPLIFICATION / 1e6 * readings_per_s
        return CARD_BYTES * ERASURES / per_s / _YEAR_S


def cost(folder: Path, config: Path, hours: float, readings: int) -> Cost:
    """Of a gateway without a line, writing into this folder for so many hours: all that it makes is written."""
    syncs = blocks = 0
    dirty: dict[str, set[int]] = {}
    for event in trace(folder, "bench.parts.day.writer", str(config), str(hours)):
        if isinstance(event, Write):
            last = event.offset + max(len(event.data), 1) - 1
            dirty.setdefault(event.path, set()).update(range(event.offset // BLOCK, last // BLOCK + 1))
        elif isinstance(event, Sync):
            syncs += 1
            blocks += len(dirty.pop(event.path, ()))
    blocks += sum(map(len, dirty.values()))
    return Cost(syncs / readings * 1e6, blocks * BLOCK / readings)
