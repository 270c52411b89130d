"""What the gateway tells of what it holds: now, for the hub's status message, and by the minute for the time before."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable

from edge.clock import is_unix
from edge.outbox import Outbox
from protocols.status import MAX_EPOCHS, MAX_PAST, Counts, Lane, Sample, Status
from protocols.topics import LANES

_SAMPLE_S = 60.0


class Backlog:
    """Watches the outbox. `run` takes a sample a minute; the oldest ones are forgotten after a day.

    date: makes Unix time of one that may count from the machine's start.
    """

    def __init__(
        self, outbox: Outbox, *, clock: Callable[[], int], date: Callable[[int], int] = lambda time_ms: time_ms
    ):
        self._outbox = outbox
        self._date = date
        self._clock = clock
        self._past: deque[Sample] = deque(maxlen=MAX_PAST)

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await asyncio.sleep(_SAMPLE_S)
            status = await self.status(past=False)
            if not is_unix(status.time_ms):
                continue
            times = [lane.oldest_ms for lane in status.lanes.values() if lane.oldest_ms is not None]
            readings = sum(lane.readings for lane in status.lanes.values())
            self._past.append(Sample(status.time_ms, readings, min(times, default=None)))

    async def status(self, *, past: bool) -> Status:
        """How it is now; with the past, also the samples."""
        outbox = self._outbox
        oldest = {lane: await self._oldest_ms(lane) for lane in LANES}
        # From here on without a pause, so that all of it is of one moment.
        return Status(
            time_ms=self._clock(),
            lanes={
                lane: Lane(
                    [Counts(*each) for each in outbox.tally.durable(lane, sender.open_epochs())[-MAX_EPOCHS:]],
                    readings := outbox.holdings.of_lane(lane),
                    oldest[lane] if readings else None,
                )
                for lane, sender in outbox.senders.items()
            },
            lost=sum(outbox.holdings.lost.values()),
            bytes_held=outbox.bytes_held,
            max_bytes=outbox.max_bytes,
            failure=outbox.failure,
            past=list(self._past) if past else [],
        )

    async def _oldest_ms(self, lane: str) -> int | None:
        try:
            oldest_ms = await self._outbox.oldest_ms(lane)
        except sqlite3.Error:
            return None  # the disk fails; `failure` says so
        return None if oldest_ms is None else self._date(oldest_ms)
