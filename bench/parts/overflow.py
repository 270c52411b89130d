"""More than a disk can take: packs are appended to a real outbox until twice the disk's size has come, and handed over.

The hub is a model of what it does with packs and gap records (it stores the former, and declares lost what the tallies
tell of the latter). Some packs reach it before they have to give way, without the outbox hearing of it.
"""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.parts.ledger import Account
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Content
from protocols.custody import STORE, Header, Receiver
from protocols.deflated import inflate
from protocols.pack import Body, Column, decode_body
from protocols.topics import BULK, LANES, URGENT

_THING = "meter"
_TEXT_BYTES = 4000  # of a bulk pack's one reading, which no deflating makes smaller; an urgent one holds a number
_AT_ONCE = 20
_PAUSE_S = 0.02
_DRAIN_S = 60.0


@dataclass
class Hub:
    """What the hub stores and declares lost, by lane."""

    stored: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    receivers: dict[str, Receiver] = field(default_factory=lambda: {lane: Receiver() for lane in LANES})
    _packed: Counter[tuple[str, int]] = field(default_factory=Counter)

    def take(self, lane: str, header: Header, body: bytes) -> None:
        """A pack has come."""
        if self.receivers[lane].offer(header) != STORE:
            return
        made = decode_body(inflate(body))
        read, suppressed = made.tallies[_THING]
        if made.columns:
            self.stored[lane] += sum(len(column.values) for column in made.columns)
        elif made.lost:
            between = read - suppressed - self._packed[lane, header.epoch]
            self.lost[lane] += max(0, min(made.lost[_THING][0], between))
        self._packed[lane, header.epoch] = read - suppressed
        self.receivers[lane].stored(header)


class Overflow:
    """An outbox on a disk, what was made for it, and its hub."""

    def __init__(self, file: OutboxFile, chance: random.Random):
        self.outbox = Outbox(file, commit_ms=50)
        self.hub = Hub()
        self.made: Counter[str] = Counter()
        self._chance = chance

    def make(self, lane: str) -> int:
        """One pack; returns its size, about."""
        self.made[lane] += 1
        self.outbox.tally.packed(lane, _THING, 1)
        size = _TEXT_BYTES if lane == BULK else 0
        tallies = self.outbox.tally.of(lane, [_THING])
        value = self._chance.randbytes(size).hex() or self.made[lane]
        body = Body([Column(1, [self.made[lane]], [0], [value])], [], tallies, {})
        self.outbox.append(lane, body, Content({_THING: 1}, tallies, (self.made[lane], self.made[lane])))
        return size

    async def fill(self, size: int) -> None:
        """Make packs of so many bytes in all; now and then an urgent one."""
        done = 0
        while done < size:
            for _ in range(_AT_ONCE):
                done += self.make(URGENT if self._chance.random() < 0.1 else BULK)
            await asyncio.sleep(_PAUSE_S)

    async def send(self, *, heard: bool) -> None:
        """Hand over what is due now; unless `heard`, the outbox is not told that it has arrived."""
        for lane, sender in self.outbox.senders.items():
            for header in sender.due(0):
                body = await self.outbox.body(lane, header)
                if body is not None:
                    self.hub.take(lane, header, body)
            if heard:
                self.outbox.cursor(lane, "hub", self.hub.receivers[lane].cursor())

    async def drain(self) -> None:
        """Hand over everything."""
        async with asyncio.timeout(_DRAIN_S):
            while self.outbox.buffered() or any(self.outbox.holdings.lost.values()):
                await self.send(heard=True)
                await asyncio.sleep(0)

    def account(self) -> Account:
        """What became of every reading."""
        lost, stored = self.hub.lost.total(), self.hub.stored.total()
        buffered = sum(self.outbox.buffered().values())
        unexplained = self.made.total() - stored - lost - buffered
        return Account(
            made=self.made.total(),
            stored=stored,
            buffered=buffered,
            declared_lost=lost,
            missing=max(0, unexplained),
            duplicates=max(0, -unexplained),
        )


async def overflow(folder: Path, size_mb: int, chance: random.Random) -> Overflow:
    """Fill a disk of this size twice over, hand all that is left over, and go on when there is room again."""
    file = OutboxFile(folder / "data" / "outbox.db", max_bytes=512 << 20)
    made = Overflow(file, chance)
    running = asyncio.create_task(made.outbox.run(), name="outbox")
    try:
        made.outbox.line_up(after_outage=False)
        await made.fill(size_mb << 18)
        await made.send(heard=False)
        made.outbox.line_down()
        await made.fill(size_mb << 21)
        made.outbox.line_up(after_outage=True)
        await made.fill(1 << 18)  # live packs, while the disk is full
        await made.drain()
        await made.fill(1 << 18)
        await made.drain()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        file.close()
    return made
