"""An outbox at work, to be traced: real files, and a word on stderr after each transaction that has returned.

A process of its own: `python -m bench.parts.power.outbox_work FILE SEED STEPS`. Each word is a JSON object, see Report.
What it does is drawn from the seed: packs of all sizes, devices' packs, releases, more than it may keep, new epochs and
streams, ends in order. Nothing is sent anywhere; a release stands for the hub's cursor.
"""

import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from edge.links.base import Origin
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Batch, Content, Row, make_row
from edge.outbox_tables import TABLES
from protocols.deflated import deflate
from protocols.pack import Body, Column, encode_body
from protocols.topics import BULK, LANES, URGENT

MAX_BYTES = 655_360  # little, so that packs have to give way
DEVICE_EPOCH = 77
THINGS = ("meter-1", "meter-2", "wearable-1")


class Report(NamedTuple):
    """What must be found on the disk from now on, and what a transaction that is under way may make of it.

    digest: of everything in the file; made: readings that were committed so far; delivered: those in packs released,
    but for such as a gap record that is still held counts; read: by the tallies; cursors: of the device, by lane.
    """

    digest: str = ""
    made: int = 0
    delivered: int = 0
    read: int = 0
    cursors: dict[str, int] = {}  # noqa: RUF012 - it is never changed


def digest_of(connection: sqlite3.Connection) -> str:
    """Tells apart any two contents of an outbox's tables."""
    made = blake2b(digest_size=8)
    for table in ("pack", *TABLES):
        for row in connection.execute(f"SELECT * FROM {table}"):
            made.update(repr(row).encode())
    return made.hexdigest()


class Work:
    """One outbox, its numberings and tallies, and what was made. `tell` hears of each transaction."""

    def __init__(self, path: Path, seed: int, *, tell: Callable[[Report], None]):
        self.path = path
        self.tell = tell
        self.chance = random.Random(seed)
        self.made: dict[tuple[str, int, int], dict[str, int]] = {}  # lane, epoch, seq -> readings of each thing
        self.released: dict[tuple[str, int], int] = {}
        self.cursors: dict[str, int] = {}
        self._new_reads: list[int] = []
        self.time_ms = 1_795_382_519_355
        self._made_readings = self._read = 0  # of what is committed, or being committed
        self.open()

    def open(self) -> None:
        self.file = _Reporting(self)
        self._metrics = [self.file.alias(thing, metric, "1") for thing in THINGS for metric in ("a", "b")]
        self.new_epoch()

    def new_epoch(self) -> None:
        self.epoch = self.file.next_epoch()
        self.seqs = dict.fromkeys(LANES, 0)
        self.tallies: dict[tuple[str, str], list[int]] = {}

    def report(self, connection: sqlite3.Connection) -> None:
        """To be called when a transaction has returned."""
        query = "SELECT lane, epoch, first, seq FROM pack WHERE first < seq"
        gaps = connection.execute(query).fetchall()
        covered = {(lane, epoch, seq) for lane, epoch, first, last in gaps for seq in range(first, last + 1)}
        delivered = sum(
            sum(readings.values())
            for (lane, epoch, seq), readings in self.made.items()
            if seq <= self.released.get((lane, epoch), 0) and (lane, epoch, seq) not in covered
        )
        self.tell(Report(digest_of(connection), self._made_readings, delivered, self._read, dict(self.cursors)))

    def step(self) -> None:
        """One piece of work."""
        what = self.chance.random()
        if what < 0.8:
            self.write()
        elif what < 0.9:
            self.file.evict(pressed=True)
        elif what < 0.94:
            self.new_epoch()
        elif what < 0.97:
            self.file.alias(self.chance.choice(THINGS), f"metric_{self.chance.randrange(1000)}", "1")
        else:
            self.file.close()
            self.open()

    def write(self) -> None:
        rows = [self._pack() for _ in range(self.chance.choice((0, 1, 1, 1, 2, 5)))]
        releases = {}
        if self.chance.random() < 0.12 and (held := [key for lane in LANES for key in self._held(lane)]):
            lane, epoch, first, last = self.chance.choice(held)
            releases[lane, epoch] = self.chance.choice((last, self.chance.randint(first, last)))
        tallies = {(lane, self.epoch, thing): (read, out) for (lane, thing), (read, out) in self.tallies.items()}
        self.released |= releases
        self._read += sum(self._new_reads)
        self._new_reads.clear()
        self._made_readings = sum(sum(readings.values()) for readings in self.made.values())
        self.file.write(Batch(rows, releases, tallies))

    def _held(self, lane: str) -> Iterator[tuple[str, int, int, int]]:
        for held in self.file.held(lane):
            yield lane, held.epoch, held.first, held.last

    def _pack(self) -> Row:
        lane = URGENT if self.chance.random() < 0.15 else BULK
        thing = self.chance.choice(THINGS)
        self.seqs[lane] += 1
        count = 1 + min(2000, int(self.chance.expovariate(1 / 120)))
        tally = self.tallies.setdefault((lane, thing), [0, 0])
        suppressed = self.chance.randrange(3)
        self._new_reads.append(count + suppressed)
        tally[0] += count + suppressed
        tally[1] += suppressed
        self.time_ms += 1000
        values = [self.chance.getrandbits(40) for _ in range(count)]
        alias = self._metrics[2 * THINGS.index(thing)]
        told = {thing: (tally[0], tally[1])}
        body = Body([Column(alias, [self.time_ms] * count, [0] * count, values)], [], told, {})
        content = Content({thing: count}, told, (self.time_ms, self.time_ms))
        self.made[lane, self.epoch, self.seqs[lane]] = {thing: count}
        origins = []
        if thing == "wearable-1":
            self.cursors[lane] = self.cursors.get(lane, 0) + 1
            origins = [Origin(thing, lane, DEVICE_EPOCH, self.cursors[lane])]
        packed = deflate(encode_body(body))
        return make_row(lane, self.epoch, self.seqs[lane], body=packed, content=content, origins=origins)


class _Reporting(OutboxFile):
    def __init__(self, work: Work):
        self._work = work
        super().__init__(work.path, max_bytes=MAX_BYTES)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with super()._transaction():
            yield
        self._work.report(self._connection)


def _say(text: str) -> None:
    os.write(2, text.encode() + b"\n")


def main() -> None:
    """Work, and end without closing anything."""
    file, seed, steps = sys.argv[1:]
    work = Work(Path(file), int(seed), tell=lambda report: _say(json.dumps(report)))
    for _ in range(int(steps)):
        work.step()
    os._exit(0)


if __name__ == "__main__":
    main()
