"""What all open pages show: read once a second for all of them, however many there are."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub import ingest_metrics
from hub.errors import StoreError
from hub.store.accounts import Account
from hub.store.alarm_book import AlarmBook, AlarmNow
from hub.store.querying import Custody, GatewayNow, Querying, Restore, StreamNow, ThingNow
from protocols.alarm import METRIC

_FRESH_S = 0.8
_SLOW_S = 5.0  # for what is costlier to reckon and changes slowly


@dataclass(frozen=True)
class Snapshot:
    """The hub at one moment."""

    gateways: Sequence[GatewayNow]
    things: Sequence[ThingNow]
    streams: Mapping[str, Sequence[StreamNow]]  # by thing
    intervals_ms: Mapping[int, float]  # by stream
    custody: Sequence[Custody]
    accounts: Sequence[Account]
    alarms: Sequence[AlarmNow]  # what needs somebody first
    stored: int  # readings
    restores: Sequence[Restore]
    skipped: int  # packs that gateways have handed over and that are not here
    failure: str  # why nothing can be stored, empty if it can


class Snapshots:
    """Gives the newest snapshot, and reads the store again if that one is too old."""

    def __init__(self, store: Querying, data: Path):
        self._store = store
        self._book = AlarmBook(data)
        self._data = data
        self._lock = asyncio.Lock()
        self.failure = ""  # why the store could not be read when that was last so
        self._last: Snapshot | None = None
        self._read_at = 0.0
        self._slow_at = 0.0
        self._intervals: Mapping[int, float] = {}
        self._custody: Sequence[Custody] = []
        self._accounts: Sequence[Account] = []

    async def get(self) -> Snapshot | None:
        """The present snapshot, or None while the store cannot be read."""
        async with self._lock:
            if time.monotonic() - self._read_at > _FRESH_S:
                ingest = await ingest_metrics.ask(self._data)
                self._last = await asyncio.to_thread(self._read, ingest.failure)
                self._read_at = time.monotonic()
            return self._last

    def _read(self, failure: str) -> Snapshot | None:
        try:
            if time.monotonic() - self._slow_at > _SLOW_S:
                self._intervals, self._custody = self._store.intervals_ms(), self._store.custody()
                self._accounts = self._store.accounts()
                self._slow_at = time.monotonic()
            streams: dict[str, list[StreamNow]] = {}
            for stream in self._store.streams():
                if stream.metric != METRIC:  # the alarms are shown as such
                    streams.setdefault(stream.thing, []).append(stream)
            alarms = self._book.open()
            gateways, things, stored = self._store.gateways(), self._store.things(), self._store.stored()
            return Snapshot(
                gateways,
                things,
                streams,
                self._intervals,
                self._custody,
                self._accounts,
                alarms,
                stored,
                restores=self._store.restores(),
                skipped=sum(skip.last - skip.first + 1 for skip in self._store.skips()),
                failure=failure,
            )
        except StoreError as error:
            self.failure = error.reason
            return None
