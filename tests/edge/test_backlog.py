"""What a gateway tells of what it holds: the equation at any moment, the oldest reading, how often the hub is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import backlog as backlog_module
from edge.backlog import Backlog
from edge.holdings import Holdings
from edge.links.base import Origin
from edge.outbox import Outbox
from edge.outbox_disk import OutboxDisk
from edge.outbox_eviction import Evicted
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Row, gap_of
from edge.outbox_state import OutboxState
from edge.packing import Packing
from edge.tally import Tally
from edge.uplink.report import worth_telling
from protocols.custody import epoch_number
from protocols.reading import reading
from protocols.status import Lane, Status
from protocols.topics import BULK, LANES, URGENT

EPOCHS = [epoch_number(3, count, 0) for count in range(1, 64)]
NOW_MS = 1_795_382_519_412


class Gateway:
    """An outbox without a disk; `declared_lost` is counted here by what becomes of each reading."""

    def __init__(self, lane: str):
        self.state = OutboxState(
            EPOCHS[0], held=dict.fromkeys(LANES, ()), holdings=Holdings(), tallies={}, commit_ms=1000
        )
        self.state.line_up()
        self.declared_lost = 0
        self._lane = lane
        self._packing = Packing(self.state.tally, self.state.append)
        self._on_disk: list[Row] = []
        self._serial = 0

    def do(self, action: str) -> None:
        """One of ACTIONS."""
        self._serial += 1
        getattr(self, action)()

    def read(self) -> None:
        made = [(1, reading("voltage", 230.0, "V", 0, self._serial))] * 3
        self._packing.put(self._lane, "meter", made)
        self._packing.close_all()

    def suppress(self) -> None:
        self.state.tally.suppressed(self._lane, "meter", 2)

    def lose(self) -> None:
        """A device tells that readings gave way in its own journal."""
        self._packing.lose(self._lane, "meter", 4, NOW_MS, Origin("meter", self._lane, 1, self._serial))
        self._packing.close_all()
        self.declared_lost += 4

    def commit(self) -> None:
        batch = self.state.begin()
        self._on_disk += batch.rows
        freed = [row for row in self._on_disk if row.seq <= batch.releases.get((row.lane, row.epoch), 0)]
        self._on_disk = [row for row in self._on_disk if row not in freed]
        self.state.committed(batch, [(row.lane, row.content) for row in freed])

    def fail(self) -> None:
        self.state.failed(self.state.begin())

    def confirm(self) -> None:
        now_ms = self._serial * 10_000
        for header in self.state.senders[self._lane].due(now_ms):
            self.state.cursor(self._lane, "s", {header.epoch: header.seq}, now_ms)

    def give_way(self) -> None:
        if self._on_disk:
            victim = self._on_disk[0]
            self.declared_lost += sum(victim.content.counts.values())
            self.state.gave_way(Evicted([(victim.lane, victim.content)]))
            self._on_disk[0] = gap_of([victim])

    def open(self) -> None:
        self.state.open(EPOCHS[self._serial])


ACTIONS = ("read", "suppress", "lose", "commit", "fail", "confirm", "give_way", "open")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ACTIONS), max_size=60), st.sampled_from(LANES))
def test_at_any_moment_what_was_read_is_suppressed_stored_held_or_declared_lost(done: list[str], lane: str) -> None:
    gateway = Gateway(lane)
    holdings = gateway.state.holdings
    for action in done:
        gateway.do(action)
        read, suppressed = gateway.state.tally.totals().get("meter", (0, 0))
        held = holdings.of_lane(lane)
        assert read == suppressed + holdings.stored["meter"] + held + holdings.declared_lost["meter"]
        assert (gateway.state.buffered().get("meter", 0), holdings.declared_lost["meter"]) == (
            held,
            gateway.declared_lost,
        )
        assert held >= 0 <= holdings.lost[lane] <= gateway.declared_lost


@contextlib.asynccontextmanager
async def opened(path: Path, **options: int) -> AsyncIterator[Outbox]:
    file = OutboxFile(path, max_bytes=options.pop("max_bytes", 1 << 20))
    outbox = Outbox(file, commit_ms=10)
    task = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    try:
        yield outbox
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        file.close()


def put(outbox: Outbox, lane: str, time_ms: int) -> None:
    packing = Packing(outbox.tally, outbox.append)
    packing.put(lane, "meter", [(1, reading("voltage", 230.0, "V", 0, time_ms))])
    packing.close_all()


async def settled(outbox: Outbox) -> None:
    async with asyncio.timeout(5):
        while outbox.uncommitted():
            await asyncio.sleep(0.005)


async def test_the_oldest_reading_is_found_on_disk_and_off_it_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    async with opened(path) as outbox:
        told = Backlog(outbox, clock=lambda: NOW_MS)
        first = outbox.epoch
        empty = Lane([(first, 0, 0)], 0, None)
        assert (await told.status(past=False)).lanes == {URGENT: empty, BULK: empty}
        put(outbox, BULK, NOW_MS - 5000)
        put(outbox, BULK, NOW_MS - 4000)
        assert (await told.status(past=False)).lanes[BULK][1:] == (2, NOW_MS - 5000)
        await settled(outbox)
        assert (await told.status(past=False)).lanes[BULK] == Lane([(first, 2, 0)], 2, NOW_MS - 5000)
        before = outbox.epoch
        outbox.open_epoch()
        async with asyncio.timeout(5):
            while outbox.epoch == before:
                await asyncio.sleep(0.005)
        put(outbox, BULK, NOW_MS - 100)
        put(outbox, URGENT, NOW_MS - 50)
        await settled(outbox)
        second = outbox.epoch
        lanes = (await told.status(past=False)).lanes
        assert lanes[URGENT] == Lane([(first, 0, 0), (second, 1, 0)], 1, NOW_MS - 50)
        assert lanes[BULK] == Lane([(first, 2, 0), (second, 1, 0)], 3, NOW_MS - 5000)
    async with opened(path) as outbox:
        lanes = (await Backlog(outbox, clock=lambda: NOW_MS).status(past=False)).lanes
        assert lanes[URGENT] == Lane([(second, 1, 0), (outbox.epoch, 0, 0)], 1, NOW_MS - 50)
        assert lanes[BULK] == Lane([(first, 2, 0), (second, 1, 0), (outbox.epoch, 0, 0)], 3, NOW_MS - 5000)


def test_the_hub_is_told_what_a_power_cut_would_not_undo() -> None:
    tally = Tally({}, EPOCHS[0])
    tally.packed(BULK, "meter", 5)
    tally.packed(BULK, "clock", 1)
    tally.packed(URGENT, "meter", 3)
    assert tally.durable(BULK, [EPOCHS[0]]) == [(EPOCHS[0], 0, 0)]
    batch = tally.unwritten()
    tally.suppressed(BULK, "meter", 2)
    tally.written(batch)
    assert tally.durable(BULK, [EPOCHS[0]]) == [(EPOCHS[0], 6, 0)]
    tally.open_epoch(EPOCHS[1])
    tally.packed(BULK, "meter", 1)
    tally.written(tally.unwritten())
    assert tally.durable(BULK, EPOCHS[:2]) == [(EPOCHS[0], 8, 2), (EPOCHS[1], 1, 0)]
    assert tally.durable(BULK, EPOCHS[1:2]) == [(EPOCHS[1], 1, 0)]
    assert tally.durable(URGENT, EPOCHS[:2]) == [(EPOCHS[0], 3, 0), (EPOCHS[1], 0, 0)]


async def test_what_gave_way_is_lost_until_the_hub_has_heard_so_also_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "o.db"
    async with opened(path) as outbox:
        monkeypatch.setattr(OutboxDisk, "room", lambda *_: 0)
        put(outbox, BULK, NOW_MS - 5000)
        async with asyncio.timeout(5):
            while not outbox.holdings.lost[BULK]:
                await asyncio.sleep(0.005)
        status = await Backlog(outbox, clock=lambda: NOW_MS).status(past=False)
        assert (status.lanes[BULK], status.lost) == (Lane([(outbox.epoch, 1, 0)], 0, None), 1)
    monkeypatch.undo()
    async with opened(path) as outbox:
        told = Backlog(outbox, clock=lambda: NOW_MS)
        assert (await told.status(past=False)).lost == 1
        outbox.line_up(after_outage=False)
        (header,) = outbox.senders[BULK].due(0)
        outbox.release(BULK, header.epoch, header.seq)
        async with asyncio.timeout(5):
            while (await told.status(past=False)).lost:
                await asyncio.sleep(0.005)


async def test_a_sample_a_minute_is_kept_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "_SAMPLE_S", 0.001)
    async with opened(tmp_path / "o.db") as outbox:
        put(outbox, BULK, NOW_MS - 7000)
        told = Backlog(outbox, clock=lambda: NOW_MS)
        task = asyncio.create_task(told.run())
        async with asyncio.timeout(10):
            while not (past := (await told.status(past=True)).past):
                await asyncio.sleep(0.005)
        task.cancel()
        assert past[0] == (NOW_MS, 1, NOW_MS - 7000)
        assert (await told.status(past=False)).past == []


def status(
    time_ms: int, *, readings: int = 0, oldest_ms: int | None = None, lost: int = 0, failure: str = ""
) -> Status:
    lanes = {URGENT: Lane([], 0, None), BULK: Lane([], readings, oldest_ms)}
    return Status(time_ms, lanes, lost, 0, 1, failure, [])


@pytest.mark.parametrize(
    ("now", "worth"),
    [
        (status(10_000), False),
        (status(10_000, readings=9, oldest_ms=9_000), False),  # under way
        (status(10_000, readings=9, oldest_ms=1_000), True),  # it waits
        (status(10_000, failure="full"), True),
        (status(10_000, lost=3), True),
        (status(60_000), True),
        (status(-5), True),  # the clock was set back
    ],
)
def test_the_hub_is_told_often_while_something_waits_and_each_minute_otherwise(now: Status, worth: bool) -> None:
    assert worth_telling(now, status(0)) is worth


def test_the_hub_is_told_once_more_when_nothing_waits_any_longer() -> None:
    assert worth_telling(status(20_000), status(10_000, readings=9, oldest_ms=0))
    assert not worth_telling(status(30_000), status(20_000))
