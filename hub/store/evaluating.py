"""Alarm rules that the hub evaluates itself, beside the data: within the writer's transaction, on what it brings.

What a rule found, and what it has to remember, is committed with the readings: wherever ingest is killed, it goes on as
if nothing had been. Rules of a gateway (`at = "gateway"`) are never evaluated here. That a gateway is silent, though,
only the hub can tell: each gateway is a thing of kind "gateway" with a metric "online".
"""

import json
import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hub.birth import Birth
from hub.deeds import ACKNOWLEDGE, Deed
from hub.store.alarms import Alarms
from hub.store.readings import Readings, values
from hub.values import plain
from protocols.alarm import HUB, Change, Escalation, Rule, Watch, covers, measured, withdrawn
from protocols.reading import GOOD, Reading
from runtime.rules import offset_s

logger = logging.getLogger(__name__)

GATEWAY_KIND = "gateway"
ONLINE = "online"
_GRACE_MS = 2000  # how long a reading may take to come here
_STEP_MS = 1000  # by which the wall clock may differ from the steady one and is not said to have been set
_KEPT = "INSERT OR REPLACE INTO alarm_kept (rule, thing, machine) VALUES (?, ?, ?)"


class Evaluating:
    """The hub's rules on one store. All calls belong to the writer's transaction; `forget` after one that failed."""

    def __init__(
        self,
        db: sqlite3.Connection,
        alarms: Alarms,
        rules: Iterable[Rule],
        *,
        clock: Callable[[], int],
        steady_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ):
        self._db = db
        self._alarms = alarms
        self._rules = [rule for rule in rules if rule.at == HUB]
        self._exact: dict[str, list[Rule]] = defaultdict(list)
        self._patterned = [rule for rule in self._rules if any("*" in thing for thing in rule.things)]
        for rule in self._rules:
            if rule not in self._patterned:
                for thing in rule.things:
                    self._exact[thing].append(rule)
        self._clock = clock
        self._steady_ms = steady_ms
        self._ahead_ms = clock() - steady_ms()
        self.forget()

    def forget(self) -> None:
        """The transaction was undone: what is known is read again from the tables."""
        self._watch: Watch | None = None
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}  # that is not watched yet
        self._streams: dict[int, tuple[str, str, str]] = {}  # that any rule is about: thing, metric, unit
        self._heard: set[tuple[str, str, str]] = set()  # the same
        self._wanted = np.zeros(0, np.uint32)  # the same, for numpy
        self._states: list[tuple[str, bool]] = []  # gateways, and whether they are on line, since the last evaluation

    def due(self) -> bool:
        """Whether there is something to evaluate though nothing comes; to be asked between transactions."""
        if self._watch is None:
            return True
        due_ms = self._watch.next_due_ms()
        return due_ms is not None and due_ms <= self._clock()

    def born(self, birth: Birth) -> None:
        """A gateway has announced its things."""
        self._states.append((birth.gateway, True))
        if self._watch is None:
            return
        watch, now_ms = self._watch, self._now(self._watch)
        metrics: dict[str, set[str]] = defaultdict(set)
        for stream in birth.streams:
            metrics[stream.thing].add(stream.metric)
        wanted = self._place(watch, birth.gateway, GATEWAY_KIND, {ONLINE}, now_ms)
        for thing in birth.things:
            wanted |= self._place(watch, thing.id, thing.kind, metrics[thing.id], now_ms)
        for stream in birth.streams:
            key = (stream.thing, stream.metric)
            if watch.hears(*key) and (*key, stream.unit) not in self._heard:
                wanted.add(key)
        self._listen(wanted)

    def died(self, gateway: str) -> None:
        """A gateway is off line."""
        self._states.append((gateway, False))

    def act(self, deed: Deed) -> None:
        """Somebody has acknowledged an alarm, or shelved its rule for its thing."""
        watch = self._watch or self._load()
        now_ms = self._now(watch)
        if deed.what == ACKNOWLEDGE:
            following = watch.acknowledge(deed.rule, deed.thing, deed.onset_ms, deed.who, now_ms)
        else:
            following = watch.shelve(deed.rule, deed.thing, deed.time_ms + deed.seconds * 1000, deed.who, now_ms)
        self._write(watch, following)

    def evaluate(self, readings: Readings) -> None:
        """Take what the transaction brings, and write what follows."""
        watch = self._watch or self._load()
        now_ms = self._now(watch)
        for gateway, online in self._states:
            watch.take(gateway, Reading(ONLINE, online, "", GOOD, now_ms), now_ms)
        self._states = []
        if len(self._wanted) and len(readings.records):
            self._take(watch, readings.of(np.isin(readings.records["stream"], self._wanted)), now_ms)
        self._write(watch, watch.settle(now_ms))

    def _write(self, watch: Watch, following: Iterable[Change | Escalation]) -> None:
        for each in following:
            if isinstance(each, Change):
                self._alarms.change("", each)
            else:
                self._alarms.escalate(each)
        if watch.changed:
            dumps = ((*key, json.dumps(watch.machines[key].dump())) for key in watch.changed)
            self._db.executemany(_KEPT, dumps)
            watch.changed.clear()

    def _take(self, watch: Watch, readings: Readings, now_ms: int) -> None:
        records = readings.records
        columns = (records[name].tolist() for name in ("stream", "time_ms", "quality", "backfill"))
        for (value, exponent), stream, time_ms, quality, backfill in zip(values(readings), *columns, strict=True):
            del exponent  # a decimal fraction comes as what it is worth
            thing, metric, unit = self._streams[stream]
            watch.take(thing, Reading(metric, plain(value), unit, quality, time_ms), now_ms, backfill=backfill)

    def _now(self, watch: Watch) -> int:
        now_ms = self._clock()
        ahead_ms = now_ms - self._steady_ms()
        step_ms, self._ahead_ms = ahead_ms - self._ahead_ms, ahead_ms
        if abs(step_ms) > _STEP_MS:
            logger.warning("the clock was set by %+.3f s: the alarms follow", step_ms / 1000)
            watch.stepped(step_ms)
        return now_ms

    def _load(self) -> Watch:
        """Begin with what the tables say."""
        self._watch = watch = Watch(offset=offset_s, grace_ms=_GRACE_MS)
        now_ms = self._clock()
        self._ahead_ms = now_ms - self._steady_ms()
        self._kept = {
            (rule, thing): json.loads(machine)
            for rule, thing, machine in self._db.execute("SELECT rule, thing, machine FROM alarm_kept")
        }
        metrics: dict[str, set[str]] = defaultdict(set)
        for thing, metric in self._db.execute("SELECT thing, metric FROM stream"):
            metrics[thing].add(metric)
        wanted: set[tuple[str, str]] = set()
        for (gateway,) in self._db.execute("SELECT id FROM gateway").fetchall():
            wanted |= self._place(watch, gateway, GATEWAY_KIND, {ONLINE}, now_ms)
        for thing, kind in self._db.execute("SELECT id, kind FROM thing").fetchall():
            wanted |= self._place(watch, thing, kind, metrics[thing], now_ms)
        for (rule, thing), dumped in self._kept.items():
            if change := withdrawn(rule, thing, dumped, now_ms):
                self._alarms.change("", change)
            self._db.execute("DELETE FROM alarm_kept WHERE rule = ? AND thing = ?", (rule, thing))
        self._kept = {}
        self._alarms.put_rules("", self._rules)
        self._listen(wanted)
        return watch

    def _place(self, watch: Watch, thing: str, kind: str, metrics: set[str], now_ms: int) -> set[tuple[str, str]]:
        """Watch a thing by all rules for it whose metrics it has; which (thing, metric) the new ones are about."""
        found: set[tuple[str, str]] = set()
        for rule in (*self._exact.get(thing, ()), *self._patterned):
            key = (rule.id, thing)
            if key in watch.machines or not covers(rule, thing, kind):
                continue
            if all(said["thing"] or said["metric"] in metrics for said in measured(rule)):
                watch.add(rule, thing, now_ms, self._kept.pop(key, None))
                found.update(watch.machines[key].sources)
        return found

    def _listen(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Hear the streams of these metrics of things, too."""
        query = "SELECT id, unit FROM stream WHERE thing = ? AND metric = ?"
        for thing, metric in wanted:
            for stream, unit in self._db.execute(query, (thing, metric)):
                self._streams[stream] = (thing, metric, unit)
        self._heard = set(self._streams.values())
        self._wanted = np.array(sorted(self._streams), np.uint32)
