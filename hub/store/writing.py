"""The store's writing side: births and packs, all of a batch in one transaction."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hub.birth import Birth
from hub.errors import BirthError, UnknownAliasError
from hub.store import accounts
from hub.store.lag import bucket_of
from hub.store.schema import connect, prepare
from protocols.custody import Header, incarnation_of
from protocols.pack import Body, Column, by_alias
from protocols.pack import Row as PackRow
from protocols.reading import BAD, BAD_INVALID, GOOD, TIME_ESTIMATED, DecimalFraction, to_float
from protocols.status import Status

if TYPE_CHECKING:
    from protocols.reading import Value  # MicroPython has no unions at run time, so it exists for the checker only

Row = tuple[int | float | str | bytes | None, int | None]  # a value and its exponent, as stored

_GATEWAY = """
INSERT OR REPLACE INTO gateway (id, incarnation, name_en, name_zh, state, changed_ms) VALUES (?, ?, ?, ?, 'online', ?)
"""
_THING = """
INSERT INTO thing (id, gateway, kind, model, maker, name_en, name_zh, state, reason, position, born_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET gateway = excluded.gateway, kind = excluded.kind, model = excluded.model,
    maker = excluded.maker, name_en = excluded.name_en, name_zh = excluded.name_zh, state = excluded.state,
    reason = excluded.reason, position = excluded.position, born_ms = excluded.born_ms
WHERE excluded.born_ms >= born_ms OR excluded.gateway = gateway
"""
_STREAM = """
INSERT INTO stream (thing, metric, unit, name_en, name_zh, states, position, announced_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET name_en = excluded.name_en, name_zh = excluded.name_zh, states = excluded.states,
    position = excluded.position, announced_ms = excluded.announced_ms
RETURNING id
"""
_ALIAS = "INSERT OR IGNORE INTO alias (gateway, incarnation, alias, stream) VALUES (?, ?, ?, ?)"
_READING = """
INSERT INTO reading (stream, time_ms, n, value, exponent, quality, backfill)
VALUES (?1, ?2, coalesce((SELECT max(n) + 1 FROM reading WHERE stream = ?1 AND time_ms = ?2), 0), ?3, ?4, ?5, ?6)
"""
_LATEST = """
INSERT INTO latest (stream, time_ms, value, exponent, quality, backfill, stored) VALUES (?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (stream) DO UPDATE SET time_ms = excluded.time_ms, value = excluded.value, exponent = excluded.exponent,
    quality = excluded.quality, backfill = excluded.backfill
WHERE excluded.time_ms > time_ms OR (excluded.time_ms = time_ms AND excluded.backfill <= backfill)
"""
_CURSOR = """
INSERT INTO cursor (gateway, lane, epoch, seq) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)
"""
_LOST = "INSERT INTO lost (gateway, lane, epoch, seq, thing, count, from_ms, to_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LAG = """
INSERT INTO lag (thing, bucket, count) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count
"""
_COUNTER = """
INSERT INTO counter (name, count) VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count
"""


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Writer:
    """The one connection that writes; `write_...` must be called within a `transaction`."""

    def __init__(self, data: Path, *, clock: Callable[[], int] = now_ms):
        self._db = connect(prepare(data))
        self._clock = clock
        self._streams: dict[
            tuple[str, int], dict[int, tuple[int, str]]
        ] = {}  # alias -> (stream, thing), by incarnation
        self._waiting: list[tuple[str, int]] = []  # (thing, time) whose latency is known at the commit
        self._statuses: list[tuple[str, Status, bool]] = []
        self._counts: Counter[str] = Counter()
        self._commit_ms = 0.0

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is committed together, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._write_lags()
            for gateway, status, retained in self._statuses:  # at last: they are set against the packs of the batch
                accounts.write_status(self._db, gateway, status, now_ms=self._clock(), retained=retained)
            self._db.executemany(_COUNTER, self._counts.items())
            started = time.perf_counter()
            self._db.execute("COMMIT")
            self._commit_ms = (time.perf_counter() - started) * 1000
        except BaseException:
            self._streams.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._waiting.clear()
            self._statuses.clear()
            self._counts.clear()

    def cursors(self) -> dict[tuple[str, str], dict[int, int]]:
        """Per (gateway, lane) the highest seq stored of every epoch that ever was."""
        found: dict[tuple[str, str], dict[int, int]] = {}
        for gateway, lane, epoch, seq in self._db.execute("SELECT gateway, lane, epoch, seq FROM cursor"):
            found.setdefault((gateway, lane), {})[epoch] = seq
        return found

    def count(self, counter: str, by: int = 1) -> None:
        """Count what became of messages."""
        self._counts[counter] += by

    def write_birth(self, birth: Birth) -> None:
        """Take over a gateway, its things and its aliases. Raises BirthError, before anything is written."""
        key = (birth.gateway, birth.incarnation)
        known = self._aliases(*key)
        self._check_aliases(birth, known)
        now = self._clock()
        self._db.execute(_GATEWAY, (birth.gateway, birth.incarnation, birth.name.en, birth.name.zh, now))
        # What this gateway no longer speaks of is gone from it; its history stays.
        self._db.execute("UPDATE thing SET state = 'offline', reason = 'removed' WHERE gateway = ?", (birth.gateway,))
        for place, t in enumerate(birth.things):
            names = (t.kind, t.model, t.maker, t.name.en, t.name.zh)
            self._db.execute(_THING, (t.id, birth.gateway, *names, t.state, t.reason, place, birth.time_ms))
        for place, s in enumerate(birth.streams):
            states = json.dumps({code: each.model_dump() for code, each in s.states.items()}, ensure_ascii=False)
            named = (s.name.en, s.name.zh, states, place, now)
            (stream,) = self._db.execute(_STREAM, (s.thing, s.metric, s.unit, *named)).fetchone()
            known[s.alias] = (stream, s.thing)
            self._db.execute(_ALIAS, (*key, s.alias, stream))

    def write_death(self, gateway: str) -> None:
        """The gateway is offline, and with it all its things."""
        self._db.execute(
            "UPDATE gateway SET state = 'offline', changed_ms = ? WHERE id = ? AND state != 'offline'",
            (self._clock(), gateway),
        )

    def write_status(self, gateway: str, status: Status, *, retained: bool) -> None:
        """Take over what a gateway says that it holds; retained: it was said before we listened."""
        self._statuses.append((gateway, status, retained))

    def check_pack(self, gateway: str, header: Header, body: Body) -> None:
        """Raises UnknownAliasError if the pack speaks of an alias that no birth has announced."""
        known = self._aliases(gateway, incarnation_of(header.epoch))
        spoken_of = [column.alias for column in body.columns]
        for row in body.rows:
            spoken_of += [alias for alias, _ in by_alias(row)]
        for alias in spoken_of:
            if alias not in known:
                raise UnknownAliasError(gateway, incarnation_of(header.epoch), alias)

    def write_pack(self, gateway: str, lane: str, header: Header, body: Body) -> None:
        """Take over a pack's readings, counts and gap records, and move the cursor past it."""
        known = self._aliases(gateway, incarnation_of(header.epoch))
        stored: Counter[str] = Counter()
        for column in body.columns:
            self._write_column(column, *known[column.alias], backfill=header.backfill)
            stored[known[column.alias][1]] += len(column.times_ms)
        for row in body.rows:
            self._write_row(row, known, backfill=header.backfill)
            stored.update(known[alias][1] for alias, _ in by_alias(row))
        numbering = (gateway, lane, header.epoch)
        lost = accounts.not_stored(self._db, numbering, body) if header.first < header.seq else body.lost
        losses = [(*numbering, header.seq, thing, *loss) for thing, loss in lost.items()]
        self._db.executemany(_LOST, losses)
        accounts.write_tallies(self._db, numbering, body.tallies, stored)
        self._move_cursor(gateway, lane, header)

    def set_aside(self, gateway: str, lane: str, header: Header, message: bytes, reason: str) -> None:
        """Keep a pack that cannot be read, as it came, and move the cursor past it."""
        row = (gateway, lane, header.epoch, header.seq, self._clock(), reason, message)
        self._db.execute("INSERT INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._move_cursor(gateway, lane, header)

    def _move_cursor(self, gateway: str, lane: str, header: Header) -> None:
        self._db.execute(_CURSOR, (gateway, lane, header.epoch, header.seq))

    def _write_column(self, column: Column, stream: int, thing: str, *, backfill: bool) -> None:
        rows = [
            (stream, time_ms, *_stored(value), _quality(value, quality), backfill)
            for time_ms, quality, value in zip(column.times_ms, column.qualities, column.values, strict=True)
        ]
        self._db.executemany(_READING, rows)
        newest = max(reversed(rows), key=lambda row: row[1])  # of equal times the last one given
        self._db.execute(_LATEST, newest)
        self._db.execute("UPDATE latest SET stored = stored + ? WHERE stream = ?", (len(rows), stream))
        if not backfill:
            self._waiting += [(thing, time_ms) for time_ms in column.times_ms]

    def _write_row(self, row: PackRow, known: dict[int, tuple[int, str]], *, backfill: bool) -> None:
        rows = [
            (known[alias][0], row.time_ms, *_stored(value), _quality(value, GOOD), backfill)
            for alias, value in by_alias(row)
        ]
        self._db.executemany(_READING, rows)
        self._db.executemany(_LATEST, rows)
        self._db.executemany("UPDATE latest SET stored = stored + 1 WHERE stream = ?", [(row[0],) for row in rows])
        if not backfill:
            self._waiting += [(known[alias][1], row.time_ms) for alias, _ in by_alias(row)]

    def _write_lags(self) -> None:
        """Latency counts up to the end of the commit, which is still ahead: the last one's duration stands for it."""
        stored_ms = self._clock() + self._commit_ms
        counts = Counter((thing, bucket_of(stored_ms - time_ms)) for thing, time_ms in self._waiting)
        self._db.executemany(_LAG, [(thing, bucket, count) for (thing, bucket), count in counts.items()])

    def _aliases(self, gateway: str, incarnation: int) -> dict[int, tuple[int, str]]:
        key = (gateway, incarnation)
        if key not in self._streams:
            self._streams[key] = {
                alias: (stream, thing)
                for alias, stream, thing in self._db.execute(
                    "SELECT alias, stream, thing FROM alias JOIN stream ON stream.id = alias.stream"
                    " WHERE gateway = ? AND incarnation = ?",
                    key,
                )
            }
        return self._streams[key]

    def _check_aliases(self, birth: Birth, known: dict[int, tuple[int, str]]) -> None:
        """Within an incarnation an alias never changes its meaning: packs that are still buffered rely on it."""
        for s in birth.streams:
            if s.alias not in known:
                continue
            row = self._db.execute(
                "SELECT thing, metric, unit FROM stream WHERE id = ?", (known[s.alias][0],)
            ).fetchone()
            if tuple(row) != (s.thing, s.metric, s.unit):
                raise BirthError(birth.gateway, f"alias {s.alias} already stands for {row['metric']} of {row['thing']}")


def _stored(value: "Value") -> Row:
    if isinstance(value, DecimalFraction):
        return to_float(value), value.exponent
    if isinstance(value, bool):
        return (b"\x01" if value else b"\x00"), None
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return float(value), None  # SQLite's integers have 64 bits
    if isinstance(value, float) and not math.isfinite(value):
        return None, None
    return value, None


def _quality(value: "Value", quality: int) -> int:
    """A float that is no number is no value either, and its quality says so."""
    if isinstance(value, float) and not math.isfinite(value) and quality & ~TIME_ESTIMATED < BAD:
        return BAD_INVALID | quality & TIME_ESTIMATED
    return quality
