"""The store's reading side: things, streams, latest values, history, custody. Each call sees one state of the store."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hub.errors import StoreError
from hub.store import accounts, spans
from hub.store.accounts import Account, Backlog
from hub.store.lag import percentile
from hub.store.readings import DAY_MS, Stored, values
from hub.store.schema import FILE, connect
from hub.store.steps import Step, merged, steps_of

MAX_ROWS = 10_000

_LATEST = """
SELECT stream.id, stream.thing, stream.metric, stream.unit, stream.name_en, stream.name_zh, stream.states,
    latest.time_ms, latest.value, latest.exponent, latest.quality, latest.backfill, latest.stored
FROM stream LEFT JOIN latest ON latest.stream = stream.id WHERE stream.current
"""


class Point(NamedTuple):
    """One stored value: `value` and `exponent` as the store holds them."""

    time_ms: int
    value: Stored
    exponent: int | None
    quality: int
    backfill: bool


class StreamNow(NamedTuple):
    """A stream with its newest value, if it has any yet."""

    id: int
    thing: str
    metric: str
    unit: str
    name: Mapping[str, str]
    states: Mapping[int, Mapping[str, str]]  # of an enumeration: names by code and language
    latest: Point | None
    stored: int


@dataclass(frozen=True)
class ThingNow:
    """A thing as its gateway last described it; with the gateway offline it is offline too."""

    id: str
    gateway: str
    kind: str
    model: str
    maker: str
    name: Mapping[str, str]
    state: str
    reason: str


@dataclass(frozen=True)
class GatewayNow:
    """A gateway and since when it is in its state."""

    id: str
    name: Mapping[str, str]
    state: str
    changed_ms: int


@dataclass(frozen=True)
class Loss:
    """A gap record: so many readings of a thing, made from one time to the other, of any of its metrics."""

    count: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True)
class Restore:
    """A store was restored from a backup."""

    backup_ms: int
    restored_ms: int


@dataclass(frozen=True)
class Skip:
    """Packs of an epoch, the first to the last, that this store lacks; found_ms: when it was noticed."""

    gateway: str
    lane: str
    epoch: int
    first: int
    last: int
    found_ms: int


@dataclass(frozen=True)
class Custody:
    """What the hub knows of a thing's readings: where each of them is, and how fast they came."""

    thing: str
    read: int
    suppressed: int
    stored: int
    declared_lost: int
    duplicates: int
    p50_ms: float | None
    p99_ms: float | None


class Querying:
    """Queries of one store, each over a connection of its own. Raises StoreError if that cannot be read."""

    def __init__(self, data: Path):
        self._path = data / FILE

    def gateways(self) -> list[GatewayNow]:
        """Every gateway that was ever born."""
        with self._open() as db:
            rows = db.execute("SELECT id, name_en, name_zh, state, changed_ms FROM gateway ORDER BY id")
            return [GatewayNow(row["id"], _name(row), row["state"], row["changed_ms"]) for row in rows]

    def things(self) -> list[ThingNow]:
        """Every thing, in the order of its gateway."""
        with self._open() as db:
            rows = db.execute(
                "SELECT thing.*, gateway.state AS gateway_state FROM thing JOIN gateway ON gateway.id = thing.gateway"
                " ORDER BY thing.gateway, thing.position, thing.id"
            )
            return [_thing(row) for row in rows]

    def streams(self, *things: str) -> list[StreamNow]:
        """The current streams with their newest values, of these things or of all, in the order of their births."""
        chosen = " AND stream.thing IN (SELECT value FROM json_each(?))" if things else ""
        with self._open() as db:
            cursor = db.cursor()
            cursor.row_factory = None  # plain tuples: there may be very many
            query = f"{_LATEST}{chosen} ORDER BY stream.thing, stream.position"
            return list(map(_stream, cursor.execute(query, (json.dumps(things),) if things else ())))

    def history(self, stream: int, from_ms: int, to_ms: int) -> tuple[list[Point], bool]:
        """The readings with from <= time < to in order of time; more than MAX_ROWS: the newest of them, and True."""
        with self._open() as db:
            readings = spans.newest(db, stream, from_ms, to_ms, MAX_ROWS + 1)
        records = readings.records
        found = zip(
            records["time_ms"].tolist(), values(readings), records["quality"].tolist(), records["backfill"].tolist(),
            strict=True,
        )  # fmt: skip
        points = [Point(time_ms, *value, quality, late) for time_ms, value, quality, late in found]
        return points[-MAX_ROWS:], len(points) > MAX_ROWS

    def steps(self, stream: int, from_ms: int, to_ms: int, step_ms: int) -> list[Step]:
        """The history in steps that begin at multiples of `step_ms`; a step without usable numbers is left out.

        Of days that have expired there are only the steps that are kept, which may be longer.
        """
        with self._open() as db:
            found = [steps_of(spans.all_of(db, stream, from_ms, to_ms).records, step_ms)]
            for summary in spans.summaries(db, stream, from_ms // DAY_MS, (to_ms - 1) // DAY_MS):
                found.append(summary.within(from_ms, to_ms))
        return merged(found, step_ms).rows()

    def losses(self, thing: str, from_ms: int, to_ms: int) -> list[Loss]:
        """The readings of a thing that had to give way before they reached us, as far as their span meets this one."""
        with self._open() as db:
            rows = db.execute(
                "SELECT count, from_ms, to_ms FROM lost WHERE thing = ? AND to_ms >= ? AND from_ms < ? ORDER BY 2, 3",
                (thing, from_ms, to_ms),
            )
            return [Loss(*row) for row in rows]

    def restores(self) -> list[Restore]:
        """When this store was restored from a backup, and of when: what was stored in between may be missing."""
        with self._open() as db:
            return [Restore(*row) for row in db.execute("SELECT backup_ms, restored_ms FROM restored ORDER BY 2")]

    def skips(self) -> list[Skip]:
        """Packs that gateways have handed over and that are not here."""
        with self._open() as db:
            rows = db.execute("SELECT gateway, lane, epoch, from_seq, upto_seq, found_ms FROM skipped ORDER BY 6, 1, 2")
            return [Skip(*row) for row in rows]

    def intervals_ms(self) -> dict[int, float]:
        """How far apart the last readings of each stream usually lie: by this an age is judged."""
        with self._open() as db:
            return dict(db.execute("SELECT stream, interval_ms FROM latest WHERE interval_ms > 0").fetchall())

    def custody(self) -> list[Custody]:
        """The custody of every thing that the hub has heard of."""
        with self._open() as db:
            tallies = _by_thing(db, "SELECT thing, sum(read), sum(suppressed) FROM tally GROUP BY thing")
            stored = _by_thing(
                db, "SELECT thing, sum(latest.stored) FROM latest JOIN stream ON stream.id = stream GROUP BY thing"
            )
            lost = _by_thing(db, "SELECT thing, sum(count) FROM lost GROUP BY thing")
            lags: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for thing, bucket, count in db.execute("SELECT thing, bucket, count FROM lag"):
                lags[thing].append((bucket, count))
            things = {row[0] for row in db.execute("SELECT id FROM thing")} | set(tallies) | set(stored) | set(lost)
        made = []
        for thing in sorted(things):
            read, suppressed = tallies.get(thing, (0, 0))
            arrived, gone = (counts.get(thing, (0,))[0] for counts in (stored, lost))
            # A pack's tally counts what its epoch had read by then: what is stored beyond that is stored twice.
            twice = max(0, arrived + gone - (read - suppressed)) if read else 0
            delays = (percentile(lags[thing], part) for part in (0.5, 0.99))
            made.append(Custody(thing, read, suppressed, arrived, gone, twice, *delays))
        return made

    def accounts(self) -> list[Account]:
        """Where the readings of each gateway are."""
        with self._open() as db:
            return accounts.accounts(db)

    def backlog(self, gateway: str, from_ms: int, to_ms: int, step_ms: int) -> list[Backlog]:
        """What a gateway held with from <= time < to: the most of each step."""
        with self._open() as db:
            return accounts.backlog(db, gateway, from_ms, to_ms, step_ms)

    def stored(self) -> int:
        """How many readings were ever stored."""
        with self._open() as db:
            count: int = db.execute("SELECT coalesce(sum(stored), 0) FROM latest").fetchone()[0]
            return count

    def lags(self) -> list[tuple[int, int]]:
        """(bucket, count) of the latencies of all things, from made to stored; see hub.store.lag."""
        with self._open() as db:
            return db.execute("SELECT bucket, sum(count) FROM lag GROUP BY bucket ORDER BY bucket").fetchall()

    def counters(self) -> dict[str, int]:
        """What became of the messages that ingest was sent."""
        with self._open() as db:
            return dict(db.execute("SELECT name, count FROM counter ORDER BY name").fetchall())

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self._path)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of the store of this file. Raises StoreError."""
    try:
        with closing(connect(path, readonly=True)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error


def _by_thing(db: sqlite3.Connection, query: str) -> dict[str, tuple[int, ...]]:
    return {thing: tuple(numbers) for thing, *numbers in db.execute(query)}


def _name(row: sqlite3.Row) -> Mapping[str, str]:
    return _named(row["name_en"], row["name_zh"])


@lru_cache(maxsize=4096)
def _named(en: str, zh: str) -> Mapping[str, str]:
    """Of ten thousand streams most share their names: one mapping each, which nobody may change, is soon made."""
    return MappingProxyType({"en": en, "zh": zh})


@lru_cache(maxsize=4096)
def _states(states: str) -> Mapping[int, Mapping[str, str]]:
    return MappingProxyType({int(code): names for code, names in json.loads(states).items()} if states else {})


def _thing(row: sqlite3.Row) -> ThingNow:
    state, reason = row["state"], row["reason"]
    if row["gateway_state"] == "offline":
        state, reason = "offline", "gateway offline"
    return ThingNow(row["id"], row["gateway"], row["kind"], row["model"], row["maker"], _name(row), state, reason)


def _stream(row: tuple[Any, ...]) -> StreamNow:
    stream, thing, metric, unit, en, zh, states, time_ms, value, exponent, quality, backfill, stored = row
    latest = None if time_ms is None else Point(time_ms, value, exponent, quality, bool(backfill))
    return StreamNow(stream, thing, metric, unit, _named(en, zh), _states(states), latest, stored or 0)
