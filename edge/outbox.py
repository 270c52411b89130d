"""The outbox: numbers packs, commits them in groups, and tells when they may be sent and when a device may be answered.

A pack of readings that only we have heard is sent at once, and committed with the next group. A pack that takes over a
device's own packs is sent after its commit: were it sent before and we died, the device would send the same readings
again, and the hub would have them under two identities. So that it holds up no other, it is made when the commit
begins. A pack that the hub has stored before its group's turn came is never written at all.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from edge.links.base import Origin
from edge.outbox_file import Batch, Content, OutboxFile, Row, add_counts
from edge.tally import Tally
from protocols.custody import Header, Sender
from protocols.deflated import deflate
from protocols.pack import Body, encode_body
from protocols.topics import LANES, URGENT

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_HOT = 512  # bodies kept in memory for sending; any other is read from the disk
_MAX_WAITING = 4096  # packs that wait for a disk which fails; beyond it the oldest of the bulk lane give way
_RETRY_S = 1.0


def monotonic_ms() -> int:
    """Milliseconds on a clock that never steps."""
    return time.monotonic_ns() // 1_000_000


@dataclass
class _Pack:
    """A pack that is not committed yet."""

    row: Row
    origins: Sequence[Origin]
    sent: bool  # given to its lane's sender


class Outbox:
    """Custody of what goes to the hub. `run` commits; all calls come from its event loop, and none blocks."""

    def __init__(self, file: OutboxFile, *, commit_ms: int = 250):
        self.epoch = file.next_epoch()
        self.tally = Tally(file.tallies(), self.epoch)
        self.senders = {lane: Sender() for lane in LANES}
        # alias -> (thing, metric, unit) of every stream that held packs may speak of, also of devices since removed
        self.streams = {alias: (thing, metric, unit) for alias, thing, metric, unit in file.streams()}
        self.due = asyncio.Event()  # set when there may be something to send
        self.evicted: dict[str, int] = {}
        self.commits = 0
        self.commit_ms = 0.0  # how long the last commit took
        self.failure = ""  # why the last commit failed, empty if it did not
        self._file = file
        self._group_s = commit_ms / 1000
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self._on_committed: list[Callable[[Sequence[Origin]], None]] = []
        self._before_commit: list[Callable[[], None]] = []
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting: list[_Pack] = []  # one group: what comes within commit_ms; more only while the disk fails
        self._committing: list[_Pack] = []
        self._group_done = asyncio.Event()
        self._releases: dict[tuple[str, int], int] = {}
        self._hot: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._seqs = dict.fromkeys(LANES, 0)
        self._buffered = file.buffered()
        for lane, sender in self.senders.items():
            for epoch, first, last in file.held(lane):
                sender.restore(epoch, first - 1, last)
            sender.open(self.epoch)

    def on_committed(self, call: Callable[[Sequence[Origin]], None]) -> None:
        """Have this called with the origins of each commit: their devices may be answered now."""
        self._on_committed.append(call)

    def before_commit(self, call: Callable[[], None]) -> None:
        """Have this called when a commit begins: what it appends belongs to that commit's group."""
        self._before_commit.append(call)

    def commit_soon(self, *, urgent: bool) -> None:
        """There is something to commit, though it may not be appended yet; urgent: without waiting for a group."""
        if urgent:
            self._urgent.set()
        self._work.set()

    def buffered(self) -> dict[str, int]:
        """Readings of each thing that we hold and the hub has not confirmed."""
        return {thing: count for thing, count in self._buffered.items() if count}

    @property
    def bytes_held(self) -> int:
        """The size of what is held on disk."""
        return self._file.bytes_held

    def alias(self, thing: str, metric: str, unit: str) -> int:
        """The number of this stream in packs. Waits for the disk, which happens once in a stream's life."""
        alias = self._disk.submit(self._file.alias, thing, metric, unit).result()
        self.streams[alias] = (thing, metric, unit)
        return alias

    async def line_up(self, *, after_outage: bool) -> None:
        """The line is up. After an outage a new epoch begins: live readings go before what has piled up."""
        if after_outage:
            await self.open_epoch()
        for sender in self.senders.values():
            sender.connected()
        self.due.set()

    def line_down(self) -> None:
        """The line is down: nothing is due until it is up again."""
        for sender in self.senders.values():
            sender.disconnected()

    @property
    def incarnation(self) -> int:
        """The number of this outbox's file: aliases belong to it."""
        return self._file.incarnation

    def append(self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = ()) -> None:
        """Take custody of a pack; it becomes durable with the next group, an urgent one at once."""
        self._seqs[lane] += 1
        row = Row(lane, self.epoch, self._seqs[lane], deflate(encode_body(body)), content)
        pack = _Pack(row, origins, sent=False)
        self._waiting.append(pack)
        self._hot[lane, row.epoch, row.seq] = row.body
        if len(self._hot) > _HOT:
            self._hot.popitem(last=False)
        add_counts(self._buffered, content.counts)
        self._send_what_may()
        if len(self._waiting) > _MAX_WAITING:
            self._give_way()
        self.commit_soon(urgent=lane == URGENT)

    def release(self, lane: str, epoch: int, upto: int) -> None:
        """The hub has these packs."""
        self._releases[lane, epoch] = upto
        self._leave_out_released()
        self._work.set()

    async def open_epoch(self) -> None:
        """What is appended from now on is live; what is held is history to be sent behind it."""
        epoch = await self._on_disk(self._file.next_epoch)
        while any(not pack.sent and pack.row.epoch != self.epoch for pack in (*self._committing, *self._waiting)):
            self._group_done.clear()  # a sender takes packs of its two newest epochs only
            await self._group_done.wait()
        self.epoch = epoch
        self._seqs = dict.fromkeys(LANES, 0)
        self.tally.open_epoch(epoch)
        for sender in self.senders.values():
            sender.open(epoch)

    async def bodies(self, lane: str, headers: Sequence[Header]) -> dict[Header, bytes]:
        """The bodies of these packs; one that has been released meanwhile is left out."""
        found = {}
        for header in headers:
            key = (lane, header.epoch, header.seq)
            body = self._hot.get(key) or self._uncommitted(key)
            if body is None:
                body = await self._on_disk(self._file.body, lane, header.epoch, header.seq)
            if body is not None:
                found[header] = body
        return found

    def _uncommitted(self, key: tuple[str, int, int]) -> bytes | None:
        """The body of a pack that the disk has not: where it fails, more of them wait than are hot."""
        rows = (pack.row for pack in (*self._committing, *self._waiting))
        return next((row.body for row in rows if (row.lane, row.epoch, row.seq) == key), None)

    async def run(self) -> None:
        """Commit groups until cancelled; then commit what is left."""
        try:
            while True:
                await self._work.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._group_s):
                        await self._urgent.wait()
                await self._commit()
        finally:
            self._write_last_group()

    async def _commit(self) -> None:
        self._work.clear()
        self._urgent.clear()
        for call in self._before_commit:
            call()
        self._committing, self._waiting = self._waiting, []
        releases, self._releases = self._releases, {}
        batch = Batch(
            rows=[pack.row for pack in self._committing],
            releases=releases,
            tallies=self.tally.unwritten(),
            origins=[origin for pack in self._committing for origin in pack.origins],
        )
        started = time.monotonic()
        try:
            freed = await self._on_disk(self._file.write, batch)
        except sqlite3.Error as error:
            self._waiting = self._committing + self._waiting
            self._committing = []
            self._releases = {**releases, **self._releases}
            self._leave_out_released()
            self._work.set()
            self._report_failure(str(error))
            await asyncio.sleep(_RETRY_S)
            return
        self.failure = ""
        self.commits += 1
        self.commit_ms = (time.monotonic() - started) * 1000
        self._settle(batch, freed)
        await self._make_room()

    async def _make_room(self) -> None:
        try:
            lost = await self._on_disk(self._file.evict)
        except sqlite3.Error as error:  # what was committed stays so; room is made after the next commit
            self._report_failure(str(error))
            return
        if lost:
            logger.warning("the outbox is full: gave up %s readings, declared as lost", sum(lost.values()))
            add_counts(self._buffered, lost, -1)
            add_counts(self.evicted, lost)

    def _settle(self, batch: Batch, freed: dict[str, int]) -> None:
        self.tally.written(batch.tallies)
        add_counts(self._buffered, freed, -1)
        group, self._committing = self._committing, []
        for pack in group:
            if not pack.sent:
                self._send(pack)
        self._send_what_may()
        self._group_done.set()
        if batch.origins:
            for call in self._on_committed:
                call(batch.origins)

    def _send_what_may(self) -> None:
        """Give the senders, in order, the packs that need not wait for a commit: theirs or one before them."""
        blocked = {pack.row.lane for pack in self._committing if not pack.sent}
        for pack in self._waiting:
            if pack.origins and not pack.sent:
                blocked.add(pack.row.lane)
            elif not pack.sent and pack.row.lane not in blocked:
                self._send(pack)

    def _send(self, pack: _Pack) -> None:
        pack.sent = True
        self.senders[pack.row.lane].appended(pack.row.epoch, pack.row.seq)
        self.due.set()

    def _leave_out_released(self) -> None:
        """What the hub has need not be written; none of it has origins, since those are sent after their commit."""
        kept = []
        for pack in self._waiting:
            if pack.row.seq > self._releases.get((pack.row.lane, pack.row.epoch), 0):
                kept.append(pack)
            else:
                add_counts(self._buffered, pack.row.content.counts, -1)
        self._waiting = kept

    def _give_way(self) -> None:
        for pack in self._waiting:
            row = pack.row
            if row.lane != URGENT and row.content.counts:
                pack.row = row.as_gap()
                self._hot.pop((row.lane, row.epoch, row.seq), None)
                add_counts(self._buffered, row.content.counts, -1)
                add_counts(self.evicted, row.content.counts)
                return

    def _report_failure(self, reason: str) -> None:
        if reason != self.failure:
            logger.error("the outbox cannot be written, and will be tried again each second: %s", reason)
        self.failure = reason

    def _write_last_group(self) -> None:
        """At the end of the program, which may have come in the middle of a commit: write that group again."""
        for call in self._before_commit:
            call()
        packs = self._committing + self._waiting
        batch = Batch(
            [pack.row for pack in packs],
            self._releases,
            self.tally.unwritten(),
            [origin for pack in packs for origin in pack.origins],
        )
        try:
            self._disk.submit(self._file.write, batch).result()
        except sqlite3.Error as error:
            logger.error("the last packs could not be written: %s", error)
        self._disk.shutdown()

    async def _on_disk(self, call: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, partial(call, *arguments, **options))
