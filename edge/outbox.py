"""The outbox: commits packs in groups on a thread of its own, and tells when there is something to send or to answer.

What may be sent when, and what goes to disk together, is decided by `outbox_state`. A pack that takes over devices' own
packs is made when the commit begins (`before_commit`), so that it holds up no other.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from edge.links.base import Origin
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Content
from edge.outbox_state import OutboxState
from edge.outbox_tables import DamagedError
from protocols.custody import Header
from protocols.pack import Body
from protocols.topics import LANES
from runtime.metrics import DISK_S, Histogram

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_RETRY_S = 1.0
_SAID_AGAIN_MS = 60_000
_DEVICE_WAITS_MS = 250  # at most, for a commit: what a device entrusts to us is sent after that


def monotonic_ms() -> int:
    """Milliseconds on a clock that never steps."""
    return time.monotonic_ns() // 1_000_000


class Outbox:
    """Custody of what goes to the hub. `run` commits; all calls come from its event loop, and none blocks.

    date: makes, of an epoch and a pack's body as it is kept, the body as it is to be sent. now_ms: a clock that never
    steps, that of the event loop.
    """

    def __init__(
        self,
        file: OutboxFile,
        *,
        commit_ms: int = 1000,
        date: Callable[[int, bytes], bytes] = lambda _, body: body,
        now_ms: Callable[[], int] = monotonic_ms,
    ):
        self._state = OutboxState(
            file.next_epoch(),
            held={lane: file.held(lane) for lane in LANES},
            holdings=file.holdings(),
            tallies=file.tallies(),
            commit_ms=commit_ms,
        )
        self.tally = self._state.tally
        self.tally.remember(file.former_tallies(), over=file.tallies_over)
        self.senders = self._state.senders
        self.holdings = self._state.holdings
        # alias -> (thing, metric, unit) of every stream that held packs may speak of, also of devices since removed
        self.streams = {alias: (thing, metric, unit) for alias, thing, metric, unit in file.streams()}
        self.due = asyncio.Event()  # set when there may be something to send
        self.commit_s = Histogram("kerb_gateway_outbox_commit_seconds", "Commits", buckets=DISK_S, registry=None)
        self.failure = ""  # why the last commit failed, empty if it did not
        self._file = file
        self._date = date
        self._commit_ms = commit_ms
        self._now_ms = now_ms
        self._asked_ms: int | None = None  # when to commit what is not appended yet
        self._damaged: DamagedError | None = None
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self._on_committed: list[Callable[[Sequence[Origin]], None]] = []
        self._before_commit: list[Callable[[], None]] = []
        self._epoch_wanted = False
        self._said_ms: dict[str, int] = {}  # when each thing was last said in the log
        self._given_up = 0  # readings that the log has not told of
        self._changed = asyncio.Event()  # when to commit may have changed
        self._pressed = asyncio.Event()  # too much waits for a disk that fails

    def on_committed(self, call: Callable[[Sequence[Origin]], None]) -> None:
        """Have this called with the origins of each commit: their devices may be answered now."""
        self._on_committed.append(call)

    def before_commit(self, call: Callable[[], None]) -> None:
        """Have this called when a commit begins: what it appends belongs to that commit's group."""
        self._before_commit.append(call)

    def commit_soon(self, *, urgent: bool) -> None:
        """A device waits for the commit of something that is not appended yet."""
        self._commit_within(0 if urgent else min(_DEVICE_WAITS_MS, self._commit_ms))

    def commit_in_turn(self) -> None:
        """There is something that is not appended yet: it becomes durable as if it were."""
        self._commit_within(self._commit_ms)

    def ready(self, lane: str) -> bool:
        """Whether a pack that is appended now would be sent at once."""
        return self.senders[lane].ready()

    @property
    def full(self) -> bool:
        """Whether so much waits for a disk which fails that whoever can keep his readings shall keep them."""
        return self._state.full

    @property
    def damages(self) -> int:
        """How many times something on disk was found damaged, and set aside."""
        return self._file.damages

    @property
    def epoch(self) -> int:
        """The newest epoch."""
        return self._state.epoch

    def buffered(self) -> dict[str, int]:
        """Readings of each thing that we hold and the hub has not confirmed."""
        return self._state.buffered()

    @property
    def bytes_held(self) -> int:
        """The size of what is held on disk."""
        return self._file.bytes_held

    @property
    def max_bytes(self) -> int:
        """How large that may become before the oldest packs give way."""
        return self._file.max_bytes

    def uncommitted(self) -> int:
        """How many packs wait for the disk."""
        return self._state.uncommitted()

    async def oldest_ms(self, lane: str) -> int | None:
        """When the oldest reading held on a lane was made, None if there is none."""
        on_disk = await self._on_disk(self._file.oldest_ms, lane)
        return min((time for time in (on_disk, self._state.oldest_ms(lane)) if time is not None), default=None)

    def alias(self, thing: str, metric: str, unit: str) -> int:
        """The number of this stream in packs. Waits for the disk, which happens once in a stream's life."""
        alias = self._disk.submit(self._file.alias, thing, metric, unit).result()
        self.streams[alias] = (thing, metric, unit)
        return alias

    def line_up(self, *, after_outage: bool) -> None:
        """The line is up. After an outage a new epoch begins: live readings go before what has piled up."""
        if after_outage:
            self.open_epoch()
        self._state.line_up(after_outage=after_outage)
        self.due.set()

    def line_down(self) -> None:
        """The line is down: nothing is due until it is up again."""
        self._state.line_down()

    @property
    def incarnation(self) -> int:
        """The number of this outbox's file: aliases belong to it."""
        return self._file.incarnation

    def recall(self, epoch: int, lanes: Mapping[str, Mapping[str, tuple[int, int]]]) -> None:
        """The hub's tallies of an epoch before this one, where those on disk may lack what was sent at last."""
        if self.tally.recall(epoch, lanes):
            self._commit_within(self._commit_ms)

    def append(self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = ()) -> None:
        """Take custody of a pack; it becomes durable with the next group, an urgent one at once."""
        if self._state.append(lane, body, content, origins, now_ms=self._now_ms()):
            self.due.set()
        self._changed.set()
        if self._state.full:
            self._pressed.set()

    def keep(self, key: str, value: str | None) -> None:
        """Have this remembered, in one transaction with the packs appended so far; None: forgotten."""
        self._state.keep(key, value)
        self.commit_in_turn()

    def cursor(self, lane: str, session: str, stored: dict[int, int]) -> None:
        """The hub's cursor: what it has is let go, and where it was away what comes now goes before what piled up."""
        if self._state.cursor(lane, session, stored, self._now_ms()):
            self.open_epoch()
        self._changed.set()
        self.due.set()

    def release(self, lane: str, epoch: int, upto: int) -> None:
        """The hub has these packs."""
        self._state.release(lane, epoch, upto, self._now_ms())
        self._changed.set()

    def open_epoch(self) -> None:
        """Soon what is appended is live, and what is held by then is history to be sent behind it.

        As long as the disk gives no number for it the present epoch goes on: what comes may be late, but it comes.
        """
        self._epoch_wanted = True
        self._commit_within(0)

    def at_hand(self, lane: str, header: Header) -> bool:
        """Whether the body of this pack can be had without the disk."""
        return self._state.body((lane, header.epoch, header.first, header.seq)) is not None

    async def body(self, lane: str, header: Header) -> bytes | None:
        """The body of this pack, or None if it has been released meanwhile, or cannot be had now."""
        key = (lane, header.epoch, header.first, header.seq)
        body = self._state.body(key)
        try:
            if body is None:
                body = await self._on_disk(self._file.body, *key)
        except (sqlite3.Error, DamagedError) as error:
            logger.error("pack %d/%d of %s cannot be read: %s", header.epoch, header.seq, lane, error)
        return None if body is None else self._date(header.epoch, body)

    async def run(self) -> None:
        """Commit groups until cancelled; then what is left. Raises DamagedError if the file must be opened anew."""
        try:
            while True:
                await self._until_due()
                await self._commit()
        finally:
            self._write_last_groups()

    def _commit_within(self, time_ms: int) -> None:
        at_ms = self._now_ms() + time_ms
        self._asked_ms = at_ms if self._asked_ms is None else min(self._asked_ms, at_ms)
        self._changed.set()

    async def _until_due(self) -> None:
        while True:
            self._changed.clear()
            if self._damaged:
                raise self._damaged
            times = [time for time in (self._asked_ms, self._state.commit_due_ms()) if time is not None]
            wait_s = (min(times) - self._now_ms()) / 1000 if times else None
            if wait_s is not None and wait_s <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _commit(self) -> None:
        self._asked_ms = None
        await self._open_epoch()
        for call in self._before_commit:
            call()
        batch = self._state.begin()
        started = time.monotonic()
        try:
            freed = await self._on_disk(self._file.write, batch)
        except sqlite3.Error as error:
            self._state.failed(batch)
            self.due.set()
            self._report_failure(str(error))
            await self._pause()
            return
        self.failure = ""
        self.commit_s.observe(time.monotonic() - started)
        self._state.committed(batch, freed)
        self.due.set()
        if origins := batch.origins:
            for tell in self._on_committed:
                tell(origins)
        await self._make_room()

    async def _open_epoch(self) -> None:
        if not self._epoch_wanted:
            return
        try:
            epoch = await self._on_disk(self._file.next_epoch)
        except sqlite3.Error as error:
            logger.warning("no new epoch can begin before the next commit: %s", error)
            return
        self._epoch_wanted = False
        self._state.open(epoch)

    async def _pause(self) -> None:
        """After a commit that failed: not if packs gave way for the next one, and shorter if soon some will have to."""
        self._pressed.clear()
        full = self._state.full
        if await self._make_room():
            return
        if full:
            await asyncio.sleep(_RETRY_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_S):
                await self._pressed.wait()

    async def _make_room(self) -> bool:
        """Whether any packs had to give way for it."""
        try:
            evicted = await self._on_disk(self._file.evict, pressed=self._state.full)
        except (sqlite3.Error, OSError) as error:  # what was committed stays so; room is made after the next commit
            self._report_failure(str(error))
            return False
        if evicted.packs:
            self._given_up += sum(sum(content.counts.values()) for _, content in evicted.packs)
            if self._seldom("full"):
                logger.warning("the outbox is full: gave up %s readings, declared as lost", self._given_up)
                self._given_up = 0
        self._state.gave_way(evicted)
        return bool(evicted.runs)

    def _report_failure(self, reason: str) -> None:
        if reason != self.failure and self._seldom(reason):
            logger.error("the outbox cannot be written, and will be tried again each second: %s", reason)
        self.failure = reason

    def _seldom(self, what: str) -> bool:
        """Whether this may be said in the log: each thing once a minute, since a full disk comes and goes."""
        now_ms = self._now_ms()
        if now_ms - self._said_ms.get(what, -_SAID_AGAIN_MS) < _SAID_AGAIN_MS:
            return False
        self._said_ms[what] = now_ms
        return True

    def _write_last_groups(self) -> None:
        """At the end of the program, which may have come in the middle of a commit: write that group again."""
        for call in self._before_commit:
            call()
        try:
            for batch in self._state.last():
                self._disk.submit(self._file.write, batch).result()
        except (sqlite3.Error, DamagedError) as error:
            logger.error("the last packs could not be written: %s", error)
        self._disk.shutdown()

    async def _on_disk(self, call: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, partial(call, *arguments, **options))
        except DamagedError as error:
            self._damaged = error
            self._changed.set()
            raise
