"""Alarms of a gateway: before the deadband, through restarts, and what follows goes to the hub once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.alarms import MODEL, Alarms
from edge.config.alarms import THING, placed
from edge.errors import ActionRefused, Unrecorded
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.outputs import Outputs
from edge.pipeline import Pipeline
from hardware.catalogue import catalogue
from protocols.alarm import ACTIVE, METRIC, Change, Escalation, decode_following, read_rule
from protocols.command import DONE, EXPIRED, Request, Result
from protocols.deflated import inflate
from protocols.pack import decode_body
from protocols.reading import BAD_TIMEOUT, GOOD, Reading

T = 1_900_000_000_000
MODELS = {"meter-1": catalogue()["eastron-sdm120"], "cuff-1": catalogue()["and-ua-651ble"]}
HIGH = {
    "id": "high",
    "version": 1,
    "name": {"en": "Voltage high", "zh": "电压过高"},
    "priority": "high",
    "when": {"metric": "voltage", "unit": "V", "above": 230.1},
}


class Clock:
    """The wall clock and, beside it, one that never steps."""

    def __init__(self) -> None:
        self.ms = T
        self.steady = 5000

    def __call__(self) -> int:
        return self.ms

    def steady_ms(self) -> int:
        return self.steady

    def go(self, ms: int) -> None:
        self.ms += ms
        self.steady += ms


class RealClock:
    """The machine's own."""

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class Rig:
    """A gateway's outbox, pipeline and alarms on one file, without links and loops; `siren` is what outputs ask for."""

    def __init__(self, path: Path, clock: Clock | RealClock, *rules: dict[str, Any]):
        self.file = OutboxFile(path / "o.db", max_bytes=1 << 20)
        self.outbox = Outbox(self.file)
        self.clock = clock
        self.siren: list[Request] = []
        self.answers: list[str | None] = []  # None: the command cannot be put on record
        self.pipeline = Pipeline(self.outbox, MODELS, clock=clock)
        kept = self.file.kept()
        self.outputs = Outputs(self.submit, self.outbox.keep, clock=clock, kept=kept)
        self.alarms = Alarms(
            placed([read_rule(rule) for rule in rules], MODELS),
            memory=self.outbox,
            kept=kept,
            record=self.pipeline.record,
            outputs=self.outputs,
            clock=clock,
            steady_ms=clock.steady_ms,
        )
        self.pipeline.listen(self.alarms, records=self.alarms.records)

    async def submit(self, request: Request) -> Result:
        self.siren.append(request)
        answer = self.answers.pop(0) if self.answers else DONE
        if answer is None:
            raise Unrecorded("disk full")
        return Result(request.key, answer, "", None, 0)

    def volts(self, value: float, **more: Any) -> None:
        self.pipeline.take("meter-1", [Reading("voltage", value, "V", GOOD, self.clock())], **more)

    def commit(self) -> None:
        self.file.write(self.outbox._state.begin())

    def told(self) -> list[Any]:
        """All changes and escalations in the packs so far, that are on disk or not."""
        found = []
        for row in [row for batch in self.outbox._state.last() for row in batch.rows]:
            for column in decode_body(inflate(row.body)).columns:
                thing, metric, _ = self.outbox.streams[column.alias]
                if metric == METRIC:
                    assert row.lane == "urgent"
                    found += [
                        decode_following(thing, t, str(v)) for t, v in zip(column.times_ms, column.values, strict=True)
                    ]
        return found

    def states(self) -> list[str]:
        return [each.state if isinstance(each, Change) else "tell" for each in self.told()]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.contextmanager
def rig(path: Path, clock: Clock | RealClock, *rules: dict[str, Any]) -> Iterator[Rig]:
    made = Rig(path, clock, *rules)
    yield made
    made.outbox._disk.shutdown()
    made.file.close()


@contextlib.asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        async with asyncio.timeout(8):
            yield
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def until(seen: Any) -> None:
    while not seen():
        await asyncio.sleep(0.01)


async def test_what_the_deadband_leaves_out_raises_an_alarm_all_the_same(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH) as gateway:
        for value in (230.0, 230.15, 230.05):  # within 0.2 V of each other
            gateway.volts(value)
            clock.go(1000)
        assert gateway.outbox.tally.totals()["meter-1"][0] == 2, "two changes; the readings are in an open pack"
        assert gateway.pipeline.suppressed() == {"meter-1": 2}
        active, cleared = gateway.told()
        assert active.identity == ("high", "meter-1", T + 1000)
        assert (active.value, active.time_ms, cleared.state, cleared.number) == (230.15, T + 1000, "cleared", 2)


async def test_so_does_a_block_of_readings_and_what_is_bad_in_it_does_not(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH) as gateway:
        channel = gateway.pipeline.channel("meter-1", ["current", "voltage"])
        channel.take(np.array([1.0, 230.0], dtype=">f4"), T)
        channel.take(np.array([1.0, 230.15], dtype=">f4"), T + 1, np.array([True, False]))
        assert gateway.told() == []
        channel.take(np.array([1.0, 230.15], dtype=">f4"), T + 2, np.array([False, True]))
        assert gateway.states() == ["active"]
        gateway.pipeline.take("meter-1", [Reading("voltage", None, "V", BAD_TIMEOUT, T + 3)])
        assert gateway.states() == ["active"]


async def test_history_raises_nothing(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH) as gateway:
        gateway.volts(400, backfill=True)
        gateway.pipeline.take("meter-1", [Reading("voltage", 400, "V", GOOD, T - 301_000)])
        assert gateway.told() == []


async def test_an_alarm_goes_on_after_a_restart_and_is_told_once(tmp_path: Path, clock: Clock) -> None:
    delayed = HIGH | {"when": HIGH["when"] | {"delay_on_s": 60, "delay_off_s": 5}}  # type: ignore[operator]
    with rig(tmp_path, clock, delayed) as gateway:
        gateway.volts(240)
        gateway.commit()
    clock.go(1_000_000)  # it is off: nobody observes
    with rig(tmp_path, clock, delayed) as gateway:
        clock.go(59_999)
        gateway.volts(241)
        assert gateway.told() == []
        clock.go(1)
        gateway.volts(241)
        [raised] = gateway.told()
        assert raised.identity.onset_ms == T
        gateway.commit()
    with rig(tmp_path, clock, delayed) as gateway:
        assert [change for _, change in gateway.alarms.present()] == [raised]
        clock.go(1)
        gateway.volts(242)
        assert gateway.told() == []


async def test_an_alarm_that_is_not_on_disk_was_not_sent_either(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH) as gateway:
        gateway.outbox.senders["urgent"].connected()
        gateway.volts(240)
        assert gateway.states() == ["active"]
        assert gateway.outbox.senders["urgent"].due(0) == []
    with rig(tmp_path, clock, HIGH) as gateway:  # it was killed before the commit
        gateway.volts(240)
        assert gateway.states() == ["active"]


async def test_the_alarm_of_a_rule_or_a_thing_that_is_no_more_ends(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH) as gateway:
        gateway.volts(240)
        gateway.commit()
    with rig(tmp_path, clock) as gateway:
        async with running(gateway.alarms):
            await until(lambda: gateway.states() == ["cleared"])
        assert gateway.told()[0].number == 2
        gateway.commit()
        assert gateway.file.kept() == {}


async def test_time_alone_makes_alarms(tmp_path: Path) -> None:
    """On the real clock: silence begins, and with nobody there the second one is told."""
    silent = HIGH | {
        "when": {"metric": "voltage", "silent_s": 0.2},
        "escalation": [{"after_s": 0, "to": ["nurse"]}, {"after_s": 0.2, "to": ["doctor"]}],
    }
    with rig(tmp_path, RealClock(), silent) as gateway:
        async with running(gateway.alarms):
            await until(lambda: gateway.states() == ["active", "tell", "tell"])
        _, first, second = gateway.told()
        assert isinstance(second, Escalation)
        assert (first.to, second.to, second.time_ms - first.time_ms) == (("nurse",), ("doctor",), 200)


async def test_alarms_follow_a_clock_that_is_set(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, HIGH | {"when": {"metric": "voltage", "silent_s": 60}}) as gateway:
        gateway.volts(230)
        clock.ms += 3_600_000
        gateway.volts(230)
        assert gateway.told() == []
        clock.ms -= 7_200_000
        gateway.volts(230)
        clock.go(59_999)
        gateway.volts(230)
        assert gateway.told() == []


async def test_people_acknowledge_and_shelve(tmp_path: Path, clock: Clock) -> None:
    acknowledge, shelve = MODEL.commands["acknowledge"], MODEL.commands["shelve"]
    with rig(tmp_path, clock, HIGH) as gateway:
        act = gateway.alarms.act
        for command, value in (
            (acknowledge, "meter-1/high"),  # there is none yet
            (acknowledge, "meter-2/high"),
            (shelve, "meter-1"),
            (shelve, "meter-1/high/soon"),
            (shelve, None),
        ):
            with pytest.raises(ActionRefused):
                await act(THING, command, value)
        gateway.volts(240)
        with pytest.raises(ActionRefused):
            await act(THING, acknowledge, f"meter-1/high/{T + 1}")
        assert await act(THING, acknowledge, f"meter-1/high/{T}/wang") == T
        assert await act(THING, acknowledge, "meter-1/high") == T
        assert await act(THING, shelve, "meter-1/high/60/wang") == T + 60_000
        assert await act(THING, shelve, "meter-1/high/0") == 0
        assert [(change.state, change.by) for change in gateway.told()] == [
            ("active", ""),
            ("acknowledged", "wang"),
            ("shelved", "wang"),
            ("acknowledged", ""),
        ]


SIREN = HIGH | {"commands": [{"thing": "siren", "command": "sound", "on": 1, "off": 0}]}


def sounded(gateway: Rig) -> list[Any]:
    return [request.value for request in gateway.siren]


async def test_a_siren_sounds_as_long_as_any_alarm_is_active(tmp_path: Path, clock: Clock) -> None:
    higher = SIREN | {"id": "higher", "when": HIGH["when"] | {"above": 250}}  # type: ignore[operator]
    with rig(tmp_path, clock, SIREN, higher) as gateway:
        async with running(gateway.outputs):
            for value, want in ((240, [1]), (260, [1, 1]), (240, [1, 1, 1]), (220, [1, 1, 1, 0])):
                clock.go(1000)
                gateway.volts(value)
                await until(lambda want=want: sounded(gateway) == want)
            assert len({request.key for request in gateway.siren}) == 4
            clock.go(1000)
            gateway.volts(240)
            await until(lambda: sounded(gateway)[4:] == [1])
            await gateway.alarms.act(THING, MODEL.commands["acknowledge"], "meter-1/high")
            await until(lambda: sounded(gateway)[4:] == [1, 0])


async def test_the_first_alarm_is_told_though_the_disk_fails(tmp_path: Path, clock: Clock) -> None:
    """Its stream has a number since the start: to ask the disk for one now would be an error, and the alarm unheard."""
    with rig(tmp_path, clock, SIREN) as gateway:
        db = gateway.file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON stream BEGIN SELECT raise(ABORT, 'disk full'); END")
        gateway.volts(240)
        assert [change.state for change in gateway.told()] == [ACTIVE]
        db.execute("DROP TRIGGER full")


async def test_a_siren_that_did_not_answer_is_told_again(tmp_path: Path, clock: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr("edge.outputs._AGAIN_S", 0.01)
    with rig(tmp_path, clock, SIREN) as gateway:
        gateway.answers = [EXPIRED, None]
        async with running(gateway.outputs):
            gateway.volts(240)
            await until(lambda: len(gateway.siren) == 3)
        assert len({request.key for request in gateway.siren}) == 3
        assert gateway.outputs.failures == 2


async def test_a_restart_asks_for_the_siren_under_the_same_key_and_for_its_end_if_that_was_not_done(
    tmp_path: Path, clock: Clock
) -> None:
    with rig(tmp_path, clock, SIREN) as gateway:
        async with running(gateway.outputs):
            gateway.volts(240)
            await until(lambda: len(gateway.siren) == 1)
        gateway.commit()
    with rig(tmp_path, clock, SIREN) as again:
        async with running(again.outputs):
            await until(lambda: len(again.siren) == 1)
        assert again.siren[0].key == gateway.siren[0].key, "so it is answered as before, and not done again"
        clock.go(1000)
        again.volts(220)
        again.commit()  # and then the gateway is killed
    with rig(tmp_path, clock, SIREN) as third:
        async with running(third.outputs):
            await until(lambda: sounded(third) == [0])
        third.commit()
        assert not [key for key in third.file.kept() if key.startswith("output/")]


async def test_the_siren_of_a_rule_that_is_no_more_ends(tmp_path: Path, clock: Clock) -> None:
    with rig(tmp_path, clock, SIREN) as gateway:
        async with running(gateway.outputs):
            gateway.volts(240)
            await until(lambda: sounded(gateway) == [1])
        gateway.commit()
    with rig(tmp_path, clock) as gateway:
        async with running(gateway.alarms, gateway.outputs):
            await until(lambda: sounded(gateway)[-1:] == [0] and gateway.states() == ["cleared"])


async def test_nothing_is_said_at_the_end_where_a_rule_says_nothing(tmp_path: Path, clock: Clock) -> None:
    once = HIGH | {"commands": [{"thing": "siren", "command": "beep", "on": 3}]}
    with rig(tmp_path, clock, once) as gateway:
        async with running(gateway.outputs):
            for value in (240, 220, 240):
                clock.go(1000)
                gateway.volts(value)
                await asyncio.sleep(0)
            await until(lambda: 3 in sounded(gateway))
            clock.go(1000)
            gateway.volts(220)
            await until(lambda: not gateway.outputs._outputs)
        assert set(sounded(gateway)) == {3}
