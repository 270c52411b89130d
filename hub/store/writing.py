"""The store's writing side: births and packs, all of a batch in one transaction."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hub.birth import Birth
from hub.deeds import Deed
from hub.errors import StoreError, UnknownAliasError
from hub.store import accounts, hot, tallies
from hub.store.alarms import Alarms
from hub.store.batch import Batch, aliases_of
from hub.store.evaluating import Evaluating
from hub.store.events import Events
from hub.store.expiry import Expiry
from hub.store.lag import buckets_of
from hub.store.latest import Latest
from hub.store.readings import RECORD, Readings
from hub.store.registry import Registry
from hub.store.schema import connect, prepare
from hub.store.sealing import Sealing
from hub.store.tallies import ByLane, Numbering, Tallies
from protocols.alarm import Rule
from protocols.custody import Header, incarnation_of
from protocols.pack import Body
from protocols.status import Status

_HOT = "INSERT INTO hot (shelf, id, data, texts) VALUES (?, ?, ?, ?)"
_CURSOR = """
INSERT INTO cursor (gateway, lane, epoch, seq) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)
"""
_LOST = "INSERT INTO lost (gateway, lane, epoch, seq, thing, count, from_ms, to_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SET_ASIDE = "INSERT INTO set_aside VALUES (?, ?, ?, ?, ?, ?, ?)"
_SKIPPED = "INSERT OR REPLACE INTO skipped VALUES (?, ?, ?, ?, ?, ?)"
_LAG = """
INSERT INTO lag (thing, bucket, count) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count
"""
_COUNTER = """
INSERT INTO counter (name, count) VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count
"""
_BUCKETS = 1024  # more than a latency can have


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Writer:
    """The one connection that writes; `write_...` must be called within a `transaction`.

    rules: alarm rules, of which it evaluates those of the hub; None: it leaves the hub's alarms alone. Raises
    StoreError if the store cannot be used, SetupError if it is of a newer version.
    """

    def __init__(self, data: Path, *, clock: Callable[[], int] = now_ms, rules: Iterable[Rule] | None = None):
        self._db = connect(prepare(data))
        self._clock = clock
        self._commit_ms = 0.0
        self._undone = False
        self._added_up: dict[tuple[str, str], int] = {}  # below which epoch, by gateway and lane
        try:
            events = Events(self._db, clock)
            self._registry = Registry(self._db, events)
            self._alarms = Alarms(self._db, events)
            self.use_rules(rules)
            self._latest = Latest(self._db)
            self._sealing = Sealing(self._db)
            self._expiry = Expiry(self._db, data)
            self._arrival_us: int = self._db.execute("SELECT coalesce(max(id), 0) FROM hot").fetchone()[0]
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(str(error)) from error
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch()
        self._cursors: dict[tuple[str, str, int], int] = {}
        self._tallies = Tallies()
        self._oldest: dict[tuple[str, str], int] = {}  # open epoch, by gateway and lane
        self._statuses: list[tuple[str, Status, bool]] = []
        self._counts: Counter[str] = Counter()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is committed together, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if self._undone:
                self._recall()
            yield
            readings = self._batch.readings()
            self._write_readings(readings)
            if self._evaluating:
                self._evaluating.evaluate(readings)
            self._db.executemany(_CURSOR, ((*key, seq) for key, seq in self._cursors.items()))
            self._tallies.write(self._db)
            self._add_up()
            for gateway, status, retained in self._statuses:  # at last: they are set against the packs of the batch
                accounts.write_status(self._db, gateway, status, now_ms=self._clock(), retained=retained)
            self._db.executemany(_COUNTER, self._counts.items())
            started = time.perf_counter()
            self._db.execute("COMMIT")
            self._commit_ms = (time.perf_counter() - started) * 1000
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._undone = True
            raise
        finally:
            self._begin()

    def _recall(self) -> None:
        """What is known in memory is that of a transaction that was undone: read it from the tables again."""
        self._added_up.clear()
        self._alarms.forget()
        if self._evaluating:
            self._evaluating.forget()
        self._registry.forget()
        self._latest.forget()
        self._sealing.forget()
        self._undone = False

    def use_rules(self, rules: Iterable[Rule] | None) -> None:
        """Evaluate these alarm rules from the next transaction on."""
        self._evaluating = None if rules is None else Evaluating(self._db, self._alarms, rules, clock=self._clock)

    def alarms_due(self) -> bool:
        """Whether a transaction would change alarms though nothing comes; to be asked between transactions."""
        return self._evaluating is not None and self._evaluating.due()

    def origin_of_alarm(self, rule: str, thing: str, onset_ms: int) -> str | None:
        """Who evaluates the rule of this alarm, a gateway or, empty, the hub; None if there was none such."""
        return self._alarms.origin(rule, thing, onset_ms)

    def act_on_alarm(self, deed: Deed) -> bool:
        """Have done what somebody wants done about an alarm of the hub's, in a transaction; False: not now."""
        if self._evaluating is None:
            return False
        with self.transaction():
            self._evaluating.act(deed)
        return True

    def tidy(self) -> bool:
        """Seal what has been hot for long enough, and let go what has expired: some milliseconds' work.

        False if there is nothing left to do. Raises SetupError if the policies are damaged.
        """
        sealed = self._sealing.seal_one(self._now_us())
        return sealed or self._expiry.expire_some(self._clock())

    def seal_all(self) -> None:
        """Seal all that is hot."""
        self._sealing.seal_all()

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
        self._registry.write_birth(birth, self._clock())
        self._alarms.write_birth(birth)
        if self._evaluating:
            self._evaluating.born(birth)

    def write_death(self, gateway: str) -> None:
        """The gateway is offline, and with it all its things."""
        self._registry.write_death(gateway, self._clock())
        if self._evaluating:
            self._evaluating.died(gateway)

    def write_status(self, gateway: str, status: Status, *, retained: bool) -> None:
        """Take over what a gateway says that it holds; retained: it was said before we listened."""
        self._statuses.append((gateway, status, retained))

    def newest_tallies(self, gateway: str, incarnation: int) -> tuple[int, ByLane] | None:
        """See hub.store.tallies.newest; to be asked between transactions."""
        return tallies.newest(self._db, gateway, incarnation)

    def check_pack(self, gateway: str, header: Header, body: Body) -> None:
        """Raises UnknownAliasError if the pack speaks of an alias that no birth has announced."""
        incarnation = incarnation_of(header.epoch)
        known = self._registry.aliases(gateway, incarnation)
        spoken_of = [column.alias for column in body.columns]
        for row in body.rows:
            spoken_of += aliases_of(row)
        for alias in spoken_of:
            if alias not in known:
                raise UnknownAliasError(gateway, incarnation, alias)

    def write_pack(self, gateway: str, lane: str, header: Header, body: Body) -> None:
        """Take over a pack's readings, counts and gap records, and move the cursor past it."""
        known = self._registry.aliases(gateway, incarnation_of(header.epoch))
        thing_of = self._registry.things.__getitem__
        stored: Counter[str] = Counter()
        for column in body.columns:
            stream = known[column.alias]
            self._batch.add_column(stream, column, backfill=header.backfill)
            stored[thing_of(stream)] += len(column.times_ms)
            if self._alarms.are_in(stream):
                self._alarms.take(gateway, thing_of(stream), column)
        for row in body.rows:
            streams = [known[alias] for alias in aliases_of(row)]
            self._batch.add_row(streams, row, backfill=header.backfill)
            stored.update(map(thing_of, streams))
        if body.lost:
            self._write_losses((gateway, lane, header.epoch), header, body)
        self._tallies.add((gateway, lane, header.epoch), body.tallies, stored)
        self._cursors[gateway, lane, header.epoch] = header.seq
        self._oldest[gateway, lane] = header.oldest

    def _add_up(self) -> None:
        for (gateway, lane), oldest in self._oldest.items():
            if oldest > self._added_up.get((gateway, lane), 0):
                tallies.add_up(self._db, gateway, lane, oldest)
                self._added_up[gateway, lane] = oldest

    def _write_losses(self, numbering: Numbering, header: Header, body: Body) -> None:
        lost = body.lost
        if lost and not (body.columns or body.rows):
            self._tallies.write(self._db)  # it is reckoned against those of the packs before it
            lost = tallies.not_stored(self._db, numbering, body)
        self._db.executemany(_LOST, [(*numbering, header.seq, thing, *loss) for thing, loss in lost.items()])

    def set_aside(self, gateway: str, lane: str, header: Header, message: bytes, reason: str) -> None:
        """Keep a pack that cannot be read, as it came, and move the cursor past it."""
        row = (gateway, lane, header.epoch, header.seq, self._clock(), reason, message)
        self._db.execute(_SET_ASIDE, row)
        self._cursors[gateway, lane, header.epoch] = header.seq

    def write_skip(self, gateway: str, lane: str, epoch: int, *, first: int, last: int) -> None:
        """Packs of an epoch that were acknowledged by a store that is no more are passed over."""
        self._db.execute(_SKIPPED, (gateway, lane, epoch, first, last, self._clock()))

    def _now_us(self) -> int:
        return self._clock() * 1000

    def _write_readings(self, readings: Readings) -> None:
        if not len(readings.records):
            return
        self._arrival_us = max(self._arrival_us + 1, self._now_us())
        for shelf, row in hot.rows(readings):
            self._db.execute(_HOT, (shelf, self._arrival_us, *row))
            self._sealing.added(shelf, len(row[0]) // RECORD.itemsize, self._arrival_us)
        self._latest.take(readings)
        self._write_lags(readings)

    def _write_lags(self, readings: Readings) -> None:
        """Latency counts up to the end of the commit, which is still ahead: the last one's duration stands for it."""
        live = readings.records[~readings.records["backfill"]]
        stored_ms = self._clock() + self._commit_ms
        keys = live["stream"].astype(np.int64) * _BUCKETS + buckets_of(stored_ms - live["time_ms"])
        counts: Counter[tuple[str, int]] = Counter()
        for key, count in zip(*(each.tolist() for each in np.unique(keys, return_counts=True)), strict=True):
            counts[self._registry.things[key // _BUCKETS], key % _BUCKETS] += count
        self._db.executemany(_LAG, ((*key, count) for key, count in counts.items()))
