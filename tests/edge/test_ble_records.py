"""Stored records: fetched once each, whatever happens to the connection, the device or the gateway."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from edge.links.base import Attached
from edge.links.ble_records import RecordMemory
from hardware.catalogue import catalogue
from hardware.sim.ble_meters import Glucometer, SpotOximeter, glucose_record
from protocols.reading import GOOD, TIME_ESTIMATED, DecimalFraction, Reading
from tests.edge.ble_room import CUFF, CUFF_HERE, DATED, MODELS, NOW_MS, QuietCuff, Room, radio_room, running

METER = "C0:00:00:00:00:10"
MODELS[Glucometer] = catalogue()["accu-chek-guide"]
MODELS[SpotOximeter] = catalogue()["plx-spot-check"]
METER_HERE = Attached("meter", catalogue()["accu-chek-guide"], METER)
SPOT_HERE = Attached("spot", catalogue()["plx-spot-check"], METER)
# SpO2 97 %, pulse rate 72 /min, 2026-03-04 05:06 and so many seconds.
SPOT_CHECK = "0161004800ea070304050 6".replace(" ", "")


def now() -> datetime:
    return datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(tzinfo=None)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


def values(room: Room, thing: str, metric: str) -> list[object]:
    return [each.value for each in room.told.of(thing, metric)]


async def test_a_meters_records_come_with_their_own_times(room: Room):
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.fill([90, 99])
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) == 2)
    # 90 mg/dL / 18.0156 = 4.996, 99 / 18.0156 = 5.495; mg/dL without places are mmol/L with one
    assert [each for _, each in room.told.readings] == [
        Reading("glucose", DecimalFraction(50, -1), "mmol/L", GOOD, NOW_MS - 120_000),
        Reading("glucose", DecimalFraction(55, -1), "mmol/L", GOOD, NOW_MS - 60_000),
    ]


async def test_only_newer_records_are_asked_for_after_a_restart(room: Room):
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.fill(range(90, 100))
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) == 10)
        meter.measure(180)
        meter.requests.clear()
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) > 10)
            await room.told.until(lambda: "online" in room.told.states_of("meter"))
        assert meter.requests[0] == bytes.fromhex("0103010900")  # report those from number 9 on
        assert len(meter.requests) == 1
    assert values(room, "meter", "glucose")[10:] == [DecimalFraction(100, -1)]
    assert room.told.counts["repeated_records", "meter"] == 0


async def test_a_meter_that_counts_anew_is_asked_for_everything(room: Room):
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.fill([90, 91, 92])
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) == 3)
        meter.records.clear()  # by its owner
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: room.told.states_of("meter").count("online") == 2)
            meter.measure(180)
            await meter.disconnect()
            await room.told.until(lambda: len(room.told.readings) == 4)
        meter.fill([100, 101])  # numbers 0 to 2 again by now, number 2 another one than before
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) == 6)
    assert values(room, "meter", "glucose")[3:] == [
        DecimalFraction(100, -1), DecimalFraction(56, -1), DecimalFraction(56, -1),
    ]  # fmt: skip


async def test_a_meter_that_cannot_choose_gives_all_and_what_is_known_is_left_out(room: Room):
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.refused = frozenset({"at_least"})
        meter.fill([90, 91])
        for expected in (2, 3):
            async with running(room.gateway(METER_HERE).run()):
                await room.told.until(lambda expected=expected: len(room.told.readings) == expected)
            meter.measure(180)
    assert room.told.counts["repeated_records", "meter"] == 2
    assert room.told.counts["records_refused", "meter"] == 1


@pytest.mark.parametrize("seed", range(2))
async def test_records_arrive_once_each_whatever_happens_to_the_connection(room: Room, seed: int):
    random = Random(seed)
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.records = [(n, glucose_record(n, "2026-09-01T08:00:00", 50 + n)) for n in range(400)]
        for _ in range(4):  # gateways one after another
            async with running(room.gateway(METER_HERE).run()):
                for _ in range(4):
                    seen = len(room.told.readings)
                    await room.told.until(lambda seen=seen: len(room.told.readings) > seen or seen == 400)
                    await asyncio.sleep(random.uniform(0, 0.03))
                    await meter.disconnect()
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) >= 400, within_s=20)
            await asyncio.sleep(0.2)
    want = [50 + n for n in range(400)]
    got = [each.value for each in room.told.of("meter", "glucose")]
    assert len(got) == 400
    assert [round(value.mantissa * 1.80156) for value in got] == pytest.approx(want, abs=1)
    assert got == sorted(got, key=lambda value: value.mantissa)


async def test_spot_checks_without_numbers_are_known_again_by_their_dates(room: Room):
    async with room.device(SpotOximeter, METER, clock=now) as oximeter:
        for second in range(5):
            oximeter.store(bytes.fromhex(SPOT_CHECK) + bytes([second]))
        async with running(room.gateway(SPOT_HERE).run()):
            await room.told.until(lambda: len(room.told.of("spot", "oxygen_saturation")) == 5)
        oximeter.store(bytes.fromhex(SPOT_CHECK) + bytes([5]))
        async with running(room.gateway(SPOT_HERE).run()):
            await room.told.until(lambda: len(room.told.of("spot", "oxygen_saturation")) == 6)
            await room.told.until(lambda: room.told.counts["repeated_records", "spot"] == 5)
    made = datetime(2026, 3, 4, 5, 6, tzinfo=UTC).timestamp() * 1000
    times = [each.time_ms for each in room.told.of("spot", "pulse_rate")]
    assert times == [made + 1000 * second for second in range(6)]


async def test_spot_checks_arrive_once_each_whatever_happens_to_the_connection(room: Room):
    random = Random(5)
    async with room.device(SpotOximeter, METER, clock=now) as oximeter:
        for number in range(150):
            oximeter.store(bytes.fromhex("0161004800ea070304") + bytes([5, number // 60, number % 60]))
        for _ in range(2):  # gateways one after another
            async with running(room.gateway(SPOT_HERE).run()):
                for _ in range(4):
                    seen = len(room.told.of("spot", "pulse_rate"))
                    await room.told.until(
                        lambda seen=seen: len(room.told.of("spot", "pulse_rate")) > seen or seen == 150
                    )
                    await asyncio.sleep(random.uniform(0, 0.05))
                    await oximeter.disconnect()
        async with running(room.gateway(SPOT_HERE).run()):
            await room.told.until(lambda: len(room.told.of("spot", "pulse_rate")) >= 150, within_s=20)
            await asyncio.sleep(0.3)
    times = [each.time_ms for each in room.told.of("spot", "pulse_rate")]
    assert len(times) == len(set(times)) == 150
    assert room.told.counts["repeated_records", "spot"] > 0


async def test_what_a_cuff_repeats_after_a_restart_of_the_gateway_is_known(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff:
        for _ in range(2):
            cuff.store(DATED)
            room.told.states.clear()
            async with running(room.gateway(CUFF_HERE).run()):
                await room.told.until(lambda: room.told.states_of("cuff")[-2:] == ["online", "waiting"])
    assert values(room, "cuff", "systolic") == [120]
    assert room.told.counts["repeated_records", "cuff"] == 1


async def test_a_wrong_clock_is_set_at_last_and_what_it_stamped_is_timed_anew(room: Room):
    async with room.device(Glucometer, METER, clock=now) as meter:
        meter.clock_off = timedelta(hours=-3)
        meter.fill([90])
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: room.told.readings)
            while meter.clock_off:
                await asyncio.sleep(0.01)
            meter.measure(180)
            await meter.disconnect()
            await room.told.until(lambda: len(room.told.readings) == 2)
    [old, new] = [each for _, each in room.told.readings]
    assert (old.time_ms, old.quality) == (NOW_MS - 60_000, TIME_ESTIMATED)
    assert (new.time_ms, new.quality) == (NOW_MS, GOOD)
    assert room.told.counts["clocks_wrong", "meter"] == 1


async def test_the_clock_is_not_set_before_the_records_are_here(room: Room):
    """Else those that are left would seem to carry the time of a clock that is right."""

    class Leaving(Glucometer):
        async def _deliver(self, characteristic, value: bytes) -> None:
            await super()._deliver(characteristic, value)
            if len(self.requests) < 3:
                await self.disconnect()

    MODELS[Leaving] = catalogue()["accu-chek-guide"]
    async with room.device(Leaving, METER, clock=now) as meter:
        meter.clock_off = timedelta(days=-1)
        meter.fill(range(90, 95))
        async with running(room.gateway(METER_HERE).run()):
            await room.told.until(lambda: len(room.told.readings) == 5)
    assert [each.time_ms for _, each in room.told.readings] == [NOW_MS - 60_000 * back for back in (5, 4, 3, 2, 1)]


def test_the_memory_is_bounded_and_outlives_the_process():
    cursors: dict[tuple[str, str], dict[int, int]] = {}
    memory = RecordMemory("cuff", cursors, size=3)
    for number in range(10):
        origin = memory.take(b"record %d" % number)
        cursors.setdefault((origin.sender, origin.lane), {})[origin.epoch] = origin.seq
    assert len(cursors["cuff", "records"]) == 3
    for each in (memory, RecordMemory("cuff", cursors, size=3)):
        assert [each.knows(b"record %d" % number) for number in range(6, 10)] == [False, True, True, True]
    assert not RecordMemory("scale", cursors, size=3).knows(b"record 9")
    shrunk = RecordMemory("cuff", cursors, size=2)
    assert [shrunk.knows(b"record %d" % number) for number in range(7, 10)] == [False, True, True]
