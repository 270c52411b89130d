"""The outbox on disk: one SQLite file that holds packs until the hub has them, and what must survive with them.

A pack is one row, never a reading. What belongs together is written in one transaction: packs, the tallies as of those
packs, and the cursors of the devices whose packs they took over.
"""

import json
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlite_utils

from edge.errors import EdgeError
from edge.holdings import Holdings, Loss
from edge.links.base import Origin
from protocols import custody, pack
from protocols.deflated import deflate

migrations = sqlite_utils.Migrations("outbox")

_EVICTED_AT_ONCE = 256


class OutboxError(EdgeError):
    """The outbox file cannot be used: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"outbox {path}: {reason}")
        self.path = path
        self.reason = reason


@migrations()
def _create(db: sqlite_utils.Database) -> None:
    db.table("meta").create({"key": str, "value": int}, pk="key")
    db.table("pack").create(
        {"lane": str, "epoch": int, "seq": int, "body": bytes, "content": str},
        pk=("lane", "epoch", "seq"),
        not_null={"body", "content"},
    )
    db.table("stream").create({"alias": int, "thing": str, "metric": str, "unit": str}, pk="alias")
    db.table("stream").create_index(["thing", "metric", "unit"], unique=True)
    db.table("tally").create(
        {"lane": str, "epoch": int, "thing": str, "read": int, "suppressed": int}, pk=("lane", "epoch", "thing")
    )
    db.table("cursor").create({"sender": str, "lane": str, "epoch": int, "seq": int}, pk=("sender", "lane", "epoch"))


@dataclass(frozen=True)
class Content:
    """What a pack holds, for accounts and for the gap record that may have to take its place.

    counts: readings per thing; tallies: {thing: (read, suppressed)} of the epoch as of this pack; span: its first and
    last ms; lost: what it declares lost itself.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    tallies: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    span: tuple[int, int] = (0, 0)
    lost: Mapping[str, Loss] = field(default_factory=dict)

    def losses(self) -> dict[str, Loss]:
        """What is lost if this pack is, by thing."""
        found = {thing: (count, *self.span) for thing, count in self.counts.items()}
        for thing, (count, first, last) in self.lost.items():
            more, since, until = found.get(thing, (0, first, last))
            found[thing] = (count + more, min(first, since), max(last, until))
        return found

    def to_json(self) -> str:
        """As it is kept beside the pack."""
        return json.dumps([self.counts, self.tallies, self.span, self.lost], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Content":
        """The inverse of to_json."""
        counts, tallies, span, lost = json.loads(text)
        return cls(
            counts,
            {thing: (read, suppressed) for thing, (read, suppressed) in tallies.items()},
            tuple(span),
            {thing: (count, first, last) for thing, (count, first, last) in lost.items()},
        )


@dataclass(frozen=True)
class Row:
    """One pack to be written."""

    lane: str
    epoch: int
    seq: int
    body: bytes
    content: Content

    def as_gap(self) -> "Row":
        """The same place in the numbering with a gap record in it."""
        lost = self.content.losses()
        body = deflate(pack.encode_body(pack.Body([], [], self.content.tallies, lost)))
        return Row(self.lane, self.epoch, self.seq, body, Content({}, self.content.tallies, self.content.span, lost))


@dataclass(frozen=True)
class Batch:
    """What one transaction writes.

    releases: {(lane, epoch): seq} up to which the hub has the packs; tallies: {(lane, epoch, thing): (read,
    suppressed)}; origins: the devices' packs that the rows took over, in order of arrival.
    """

    rows: Sequence[Row]
    releases: Mapping[tuple[str, int], int]
    tallies: Mapping[tuple[str, int, str], tuple[int, int]]
    origins: Sequence[Origin]


class OutboxFile:
    """The SQLite file. Every method blocks on the disk; all calls come from one thread at a time.

    `connect` opens it; a simulator has another disk.
    """

    def __init__(self, path: Path, *, max_bytes: int, connect: Callable[..., sqlite3.Connection] = sqlite3.connect):
        self.path = path
        self.max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = connect(path, check_same_thread=False, isolation_level=None)
            db = sqlite_utils.Database(self._connection)
            db.enable_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            migrations.apply(db)
        except sqlite3.Error as error:
            raise OutboxError(path, str(error)) from error
        # Drawn once for this file: a gateway that starts over with an empty outbox is another sender to the hub.
        self._connection.execute(
            "INSERT OR IGNORE INTO meta VALUES ('incarnation', ?)",
            (random.randrange(1, 1 << custody.INCARNATION_BITS),),
        )
        self._connection.execute("INSERT OR IGNORE INTO meta VALUES ('epochs', 0)")
        self.incarnation: int = self._one("SELECT value FROM meta WHERE key = 'incarnation'")
        self.bytes_held: int = self._one("SELECT coalesce(sum(length(body)), 0) FROM pack")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def next_epoch(self) -> int:
        """A number for a new epoch, never given before; it is on disk before anybody hears of it."""
        self._connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'epochs'")
        count = self._one("SELECT value FROM meta WHERE key = 'epochs'")
        return custody.epoch_number(self.incarnation, count, random.getrandbits(custody.NONCE_BITS))

    def alias(self, thing: str, metric: str, unit: str) -> int:
        """The number that stands for this stream in packs, the same for ever."""
        key = (thing, metric, unit)
        self._connection.execute("INSERT OR IGNORE INTO stream (thing, metric, unit) VALUES (?, ?, ?)", key)
        return self._one("SELECT alias FROM stream WHERE thing = ? AND metric = ? AND unit = ?", *key)

    def streams(self) -> list[tuple[int, str, str, str]]:
        """(alias, thing, metric, unit) of every stream that ever was."""
        return list(self._connection.execute("SELECT alias, thing, metric, unit FROM stream ORDER BY alias"))

    def held(self, lane: str) -> list[tuple[int, int, int]]:
        """(epoch, first seq, last seq) of the packs held on a lane, oldest epoch first."""
        query = "SELECT epoch, min(seq), max(seq) FROM pack WHERE lane = ? GROUP BY epoch ORDER BY epoch"
        return list(self._connection.execute(query, (lane,)))

    def holdings(self) -> Holdings:
        """What all packs hold."""
        holdings = Holdings()
        for lane, text in self._connection.execute("SELECT lane, content FROM pack"):
            holdings.found(lane, Content.from_json(text))
        return holdings

    def oldest_ms(self, lane: str) -> int | None:
        """When the oldest reading held on a lane was made, by the first pack with readings of each epoch."""
        query = (
            "SELECT content FROM pack WHERE lane = ? AND epoch = ? AND content NOT LIKE '[{},%' ORDER BY seq LIMIT 1"
        )
        found = [self._connection.execute(query, (lane, epoch)).fetchone() for epoch, _, _ in self.held(lane)]
        return min((Content.from_json(row[0]).span[0] for row in found if row), default=None)

    def tallies(self) -> dict[str, tuple[int, int]]:
        """(read, suppressed) of each thing over all epochs."""
        query = "SELECT thing, sum(read), sum(suppressed) FROM tally GROUP BY thing"
        return {thing: (read, suppressed) for thing, read, suppressed in self._connection.execute(query)}

    def cursors(self) -> dict[tuple[str, str], dict[int, int]]:
        """Per (sender, lane) of the devices: the highest seq taken over of each epoch."""
        found: dict[tuple[str, str], dict[int, int]] = {}
        for sender, lane, epoch, seq in self._connection.execute("SELECT sender, lane, epoch, seq FROM cursor"):
            found.setdefault((sender, lane), {})[epoch] = seq
        return found

    def write(self, batch: Batch) -> list[tuple[str, Content]]:
        """Commit the batch in one transaction. Returns what its releases let go: lane and content of each pack."""
        freed_bytes = 0
        freed: list[tuple[str, Content]] = []
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR REPLACE INTO pack VALUES (?, ?, ?, ?, ?)",
                [(row.lane, row.epoch, row.seq, row.body, row.content.to_json()) for row in batch.rows],
            )
            for (lane, epoch), upto in batch.releases.items():
                query = "DELETE FROM pack WHERE lane = ? AND epoch = ? AND seq <= ? RETURNING length(body), content"
                for size, text in self._connection.execute(query, (lane, epoch, upto)).fetchall():
                    freed_bytes += size
                    freed.append((lane, Content.from_json(text)))
            self._connection.executemany(
                "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?)",
                [(*key, *tally) for key, tally in batch.tallies.items()],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)",
                [(origin.sender, origin.lane, origin.epoch, origin.seq) for origin in batch.origins],
            )
        self.bytes_held += sum(len(row.body) for row in batch.rows) - freed_bytes
        return freed

    def body(self, lane: str, epoch: int, seq: int) -> bytes | None:
        """One pack's body, or None if it is held no more."""
        query = "SELECT body FROM pack WHERE lane = ? AND epoch = ? AND seq = ?"
        row = self._connection.execute(query, (lane, epoch, seq)).fetchone()
        return row[0] if row else None

    def evict(self) -> list[tuple[str, Content]]:
        """If there is more than may be: put gap records in the place of the oldest packs, bulk before urgent
        (the order of the alphabet).

        Returns what gave way: lane and content of each pack.
        """
        lost: list[tuple[str, Content]] = []
        bytes_held = self.bytes_held
        if bytes_held <= self.max_bytes:
            return lost
        query = "SELECT * FROM pack WHERE content NOT LIKE '[{},%' ORDER BY lane, epoch, seq"
        victims = self._connection.execute(query).fetchmany(_EVICTED_AT_ONCE)
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for lane, epoch, seq, body, text in victims:
                if bytes_held <= self.max_bytes:
                    break
                row = Row(lane, epoch, seq, body, Content.from_json(text))
                gap = row.as_gap()
                self._connection.execute(
                    "UPDATE pack SET body = ?, content = ? WHERE lane = ? AND epoch = ? AND seq = ?",
                    (gap.body, gap.content.to_json(), lane, epoch, seq),
                )
                bytes_held += len(gap.body) - len(body)
                lost.append((lane, row.content))
        self.bytes_held = bytes_held
        return lost

    def _one(self, query: str, *parameters: object) -> int:
        value: int = self._connection.execute(query, parameters).fetchone()[0]
        return value
