"""Readings in, packs out: deadband, tallies, closing of packs, streams in another unit."""

import asyncio
import contextlib

import pytest

from edge.deadband import HEARTBEAT_MS, Deadband
from edge.links.base import Origin
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from hardware.catalogue import catalogue
from protocols.deflated import inflate
from protocols.pack import decode_body
from protocols.reading import BAD_TIMEOUT, GOOD, DecimalFraction, Reading
from tests.edge.commits import commits


def volts(value, time_ms, quality=GOOD):
    return Reading("voltage", value, "V", quality, time_ms)


@pytest.mark.parametrize(
    ("width", "second", "passes"),
    [
        (0.2, volts(230.1, 1000), False),
        (0.2, volts(230.21, 1000), True),
        (0.2, volts(229.7, 1000), True),
        (0.2, volts(None, 1000, BAD_TIMEOUT), True),
        (0.2, volts(230.1, HEARTBEAT_MS), True),
        (0.2, volts(230.1, -3_600_000), True),
        (0, volts(230.0, 1000), False),
        (0, volts(DecimalFraction(2300, -1), 1000), False),
        (0, volts(230.001, 1000), True),
        (None, volts(230.0, 1000), True),
    ],
)
def test_deadband(width, second, passes):
    band = Deadband(width)
    assert band.passes(volts(230.0, 0))
    assert band.passes(second) is passes


def test_deadband_compares_with_what_was_kept_so_that_creeping_values_get_through():
    band = Deadband(1.0)
    kept = [band.passes(volts(230 + step * 0.3, step * 1000)) for step in range(8)]
    assert kept == [True, False, False, False, True, False, False, False]


@pytest.fixture
def outbox(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    yield Outbox(file)
    file.close()


def make(outbox, **options):
    models = {"meter-1": catalogue()["eastron-sdm120"], "cuff-1": catalogue()["and-ua-651ble"]}
    return Pipeline(outbox, models, clock=lambda: 5000, **options)


async def packs(outbox, lane="bulk"):
    outbox.senders[lane].connected()
    headers = outbox.senders[lane].due(0)
    return [decode_body(inflate(await outbox.body(lane, header) or b"")) for header in headers]


async def test_readings_of_a_moment_share_a_pack(outbox):
    pipeline = make(outbox, linger_ms=5)
    outbox.line_up(after_outage=False)
    outbox.due.clear()
    pipeline.take("meter-1", [volts(230.0, 1000)])
    pipeline.take("cuff-1", [Reading("systolic", 138, "mm[Hg]", GOOD, 1001)])
    assert pipeline.pending() == {"meter-1": 1, "cuff-1": 1}
    async with asyncio.timeout(2):
        await outbox.due.wait()
    (body,) = await packs(outbox)
    assert sorted(value for column in body.columns for value in column.values) == [138, 230.0]
    assert body.tallies == {"meter-1": (1, 0), "cuff-1": (1, 0)}
    assert not pipeline.pending()


async def test_what_is_suppressed_is_counted(outbox):
    pipeline = make(outbox)
    for time_ms in range(0, 5000, 1000):
        pipeline.take("meter-1", [volts(230.0, time_ms)])
    pipeline.close_packs()
    assert outbox.tally.totals() == {"meter-1": (5, 4)}
    assert outbox.buffered() == {"meter-1": 1}
    (body,) = await packs(outbox)
    assert body.tallies == {"meter-1": (5, 4)}


async def test_what_was_suppressed_counts_in_the_epoch_of_the_pack_that_tells_of_it(outbox):
    """Else the hub would never hear of it: no pack of the epoch before speaks of the thing again."""
    pipeline = make(outbox)
    pipeline.take("meter-1", [volts(230.0, 0)])
    pipeline.close_packs()
    for seq, time_ms in enumerate((1000, 2000, 3000), 1):
        pipeline.take("meter-1", [volts(230.0, time_ms)], origin=Origin("meter-1", "bulk", 77, seq))
    assert (pipeline.pending(), pipeline.suppressed()) == ({}, {"meter-1": 3})
    outbox._state.open(outbox._file.next_epoch())
    pipeline.close_packs()
    before, now = (decode_body(inflate(row.body)) for batch in outbox._state.last() for row in batch.rows)
    assert before.tallies == {"meter-1": (1, 0)}
    assert now.tallies == {"meter-1": (3, 3)}
    assert outbox.tally.totals() == {"meter-1": (4, 3)}


async def test_another_unit_is_another_stream(outbox):
    pipeline = make(outbox)
    before = len(pipeline.streams)
    pipeline.announced.clear()
    pipeline.take("cuff-1", [Reading("systolic", DecimalFraction(184, -1), "kPa", GOOD, 1000)])
    assert len(pipeline.streams) == before + 1
    assert pipeline.announced.is_set()


async def test_a_gap_record_of_a_device_counts_as_read_and_lost(outbox):
    pipeline = make(outbox)
    pipeline.lose("meter-1", 12, Origin("meter-1", "bulk", 77, 3))
    pipeline.close_packs()
    assert outbox.tally.totals() == {"meter-1": (12, 0)}
    assert outbox.buffered() == {}


async def test_what_devices_entrusted_to_us_holds_up_no_reading_of_our_own(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    outbox = Outbox(file, commit_ms=100)
    pipeline = make(outbox, linger_ms=0)
    running = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    pipeline.take("cuff-1", [Reading("systolic", 138, "mm[Hg]", GOOD, 1000)], origin=Origin("cuff-1", "bulk", 77, 1))
    pipeline.take("meter-1", [volts(230.0, 1000)])
    async with asyncio.timeout(2):
        await outbox.due.wait()
        assert commits(outbox) == 0
        (first,) = await packs(outbox)
        assert [column.values for column in first.columns] == [[230.0]]
        outbox.due.clear()
        await outbox.due.wait()
        assert commits(outbox) == 1
        (_, second) = await packs(outbox)
        assert [column.values for column in second.columns] == [[138]]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    file.close()


async def test_urgent_readings_do_not_linger(outbox):
    pipeline = make(outbox, linger_ms=10_000)
    pipeline.take("meter-1", [volts(230.0, 1000)], lane="urgent")
    assert [row.lane for batch in outbox._state.last() for row in batch.rows] == ["urgent"]


async def test_states_are_announced_when_they_change(outbox):
    pipeline = make(outbox)
    pipeline.announced.clear()
    pipeline.state("meter-1", "offline", "no answer")
    assert pipeline.announced.is_set()
    pipeline.announced.clear()
    pipeline.state("meter-1", "offline", "no answer")
    assert not pipeline.announced.is_set()
    pipeline.state("meter-1", "offline", "no answer " * 100)
    assert len(pipeline.things["meter-1"].reason) == 200  # what the hub takes
    pipeline.count("timeouts", "meter-1")
    pipeline.count("connect_failures")
    assert pipeline.things["meter-1"].counters == {"timeouts": 1}
    assert pipeline.counters == {"connect_failures": 1}


async def test_packs_stay_small_however_much_devices_entrust_to_us_at_once(outbox):
    pipeline = make(outbox)
    for seq in range(1, 11):
        readings = [volts(float(100 * seq + value), 1000 * seq + value) for value in range(1000)]
        pipeline.take("meter-1", readings, origin=Origin("meter-1", "bulk", 77, seq))
    pipeline.close_packs()
    batches = list(outbox._state.last())
    sizes = [row.readings for batch in batches for row in batch.rows]
    assert sum(sizes) == 10_000 - outbox.tally.totals()["meter-1"][1]
    assert max(sizes) <= 3000
    assert [origin.seq for batch in batches for origin in batch.origins] == list(range(1, 11))


async def test_what_waits_for_its_pack_at_the_end_of_the_program_is_kept(tmp_path):
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    outbox = Outbox(file, commit_ms=10)
    pipeline = make(outbox, linger_ms=10_000)
    running = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    pipeline.take("meter-1", [volts(230.0, 1000)])
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert file.holdings().by_thing() == {"meter-1": 1}
    file.close()
