"""Rules that the hub evaluates itself: on what it stores, in the same transaction, through restarts; and on history."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hub import alarm_rules
from hub.deed_work import DeedWork
from hub.deeds import Deeds
from hub.replay import replay, told
from hub.store.alarm_book import AlarmBook
from hub.store.writing import Writer
from protocols.alarm import HUB, read_rule
from protocols.custody import Header
from protocols.pack import Body, Row
from protocols.reading import BAD_TIMEOUT, DecimalFraction, reading
from runtime.process import free_port
from tests.hub.conftest import EPOCH, ROOT, end_hub, parsed, start_hub
from tests.hub.gateway import ID, Gateway, aliases, birth, body

T = 1_900_000_000_000
HEAD = {"version": 1, "priority": "high", "at": HUB}
FAST = HEAD | {
    "id": "fast",
    "name": {"en": "Pulse high", "zh": "心率过高"},
    "when": {"metric": "heart_rate", "unit": "/min", "above": 120, "delay_on_s": 10},
    "escalation": [{"after_s": 0, "to": ["nurse"]}],
}
SILENT = HEAD | {
    "id": "silent",
    "name": {"en": "No pulse", "zh": "无心率"},
    "when": {"metric": "heart_rate", "silent_s": 60},
}
POWER = HEAD | {
    "id": "power",
    "name": {"en": "Power", "zh": "功率"},
    "things": ["meter-1"],
    "when": {"metric": "active_power", "unit": "W", "above": 2000},
}


class Rig:
    """A store with a writer on a clock of its own, which may be killed between any two transactions."""

    def __init__(self, data: Path):
        self.data = data
        self.now_ms = T
        self.steady_ms = 0
        self.seq = 0
        self.book = AlarmBook(data)
        self.writer: Writer | None = None

    def start(self, *rules: dict[str, Any]) -> None:
        if self.writer:
            self.writer.close()
        self.writer = Writer(self.data, clock=lambda: self.now_ms, rules=[read_rule(rule) for rule in rules])
        assert self.writer._evaluating is not None
        self.writer._evaluating._steady_ms = lambda: self.steady_ms
        self.writer._evaluating._ahead_ms = self.now_ms - self.steady_ms

    def go(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)
        self.steady_ms += int(seconds * 1000)

    def do(self, *calls: Callable[[Writer], None]) -> None:
        """A transaction."""
        assert self.writer is not None
        with self.writer.transaction():
            for call in calls:
                call(self.writer)

    def born(self) -> None:
        self.do(lambda writer: writer.write_birth(parsed(birth(time_ms=self.now_ms))))

    def store(self, made: Body, *, backfill: bool = False) -> None:
        self.seq += 1
        header = Header(EPOCH, self.seq, 1, EPOCH, backfill, self.seq)
        self.do(lambda writer: writer.write_pack(ID, "bulk", header, made))

    def pulse(self, value: Any, *, age_s: float = 0, quality: int = 0, backfill: bool = False) -> None:
        at_ms = self.now_ms - int(age_s * 1000)
        self.store(body([("wearable-1", reading("heart_rate", value, "/min", quality, at_ms))]), backfill=backfill)

    def settle(self) -> None:
        """What ingest does while nothing comes."""
        assert self.writer is not None
        if self.writer.alarms_due():
            self.do()

    def states(self) -> list[tuple[str, str, str]]:
        return [(alarm.rule, alarm.thing, alarm.state) for alarm in self.book.open()]


@pytest.fixture
def rig(data: Path) -> Iterator[Rig]:
    made = Rig(data)
    yield made
    if made.writer:
        made.writer.close()


def test_a_rule_finds_what_comes_and_the_time_that_goes_by(rig: Rig) -> None:
    rig.start(FAST)
    rig.born()
    rig.pulse(DecimalFraction(1305, -1))
    began_ms = rig.now_ms
    rig.go(11)
    rig.settle()
    assert rig.states() == [], "a reading may be on its way"
    rig.go(2)
    rig.settle()
    [alarm] = rig.book.open()
    assert (alarm.onset_ms, alarm.origin, alarm.name["zh"], alarm.value) == (began_ms, "", "心率过高", 130.5)
    found = rig.book.one("fast", "wearable-1", began_ms)
    assert found is not None
    assert found[2][0].to == ["nurse"]
    rig.pulse(70)
    assert rig.states() == []


def test_history_bad_readings_and_other_metrics_raise_nothing(rig: Rig) -> None:
    rig.start(FAST)
    rig.born()
    rig.pulse(140, backfill=True)
    rig.pulse(140, age_s=400)
    rig.pulse(None, quality=BAD_TIMEOUT)
    rig.store(body([("cuff-1", reading("pulse_rate", 140, "/min", 0, rig.now_ms))]))
    rig.go(60)
    rig.settle()
    assert rig.states() == []


def test_rows_are_heard_as_columns_are(rig: Rig) -> None:
    rig.start(POWER)
    rig.born()
    known = aliases()
    chosen = [known["meter-1", "voltage"], known["meter-1", "active_power"]]
    steps = [chosen[0], chosen[1] - chosen[0]]
    rig.store(Body([], [Row(rig.now_ms, steps, [230.0, 2500.0])], {}, {}))
    assert rig.states() == [("power", "meter-1", "active")]


def test_a_restart_goes_on_wherever_it_was_and_time_that_nobody_observed_does_not_count(rig: Rig) -> None:
    rig.start(FAST, SILENT)
    rig.born()
    rig.pulse(140)
    rig.go(5)
    rig.start(FAST, SILENT)
    rig.go(3600)
    rig.born()
    rig.settle()
    assert rig.states() == [], "an hour without ingest is no silence"
    rig.go(13)
    rig.pulse(141)
    assert rig.states() == [("fast", "wearable-1", "active")]
    assert rig.book.open()[0].onset_ms == T
    rig.start(FAST, SILENT)
    rig.pulse(142, age_s=-1)
    assert len(rig.states()) == 1


def test_what_was_undone_is_found_again(rig: Rig) -> None:
    rig.start(POWER)
    rig.born()

    def fail(writer: Writer) -> None:
        made = body([("meter-1", reading("active_power", 2500.0, "W", 0, rig.now_ms))])
        writer.write_pack(ID, "bulk", Header(EPOCH, 77, 1, EPOCH, False, 77), made)
        writer._db.execute("INSERT INTO nothing VALUES (1)")

    with pytest.raises(Exception, match="nothing"):
        rig.do(fail)
    assert rig.states() == []
    rig.store(body([("meter-1", reading("active_power", 2500.0, "W", 0, rig.now_ms))]))
    assert rig.states() == [("power", "meter-1", "active")]
    assert len(rig.book.all(thing=None, before_ms=1 << 53, limit=9)) == 1


def test_a_gateway_that_is_away_is_an_alarm_of_the_hub(rig: Rig) -> None:
    rig.start(*(rule.document for rule in alarm_rules.load(rig.data)))
    rig.born()
    rig.do(lambda writer: writer.write_death(ID))
    rig.go(60)
    rig.settle()
    rig.born()
    rig.go(70)
    rig.do(lambda writer: writer.write_death(ID))
    rig.go(121)
    rig.settle()
    assert rig.states() == []
    rig.go(2)
    rig.settle()
    assert rig.states() == [("gateway-away", ID, "active")]
    rig.born()
    rig.go(13)
    rig.settle()
    assert rig.states() == []


def test_rules_of_gateways_are_theirs_and_the_alarms_of_a_rule_that_is_no_more_end(rig: Rig) -> None:
    rig.start(POWER | {"at": "gateway"}, FAST)
    rig.born()
    rig.store(body([("meter-1", reading("active_power", 2500.0, "W", 0, rig.now_ms))]))
    rig.pulse(140)
    rig.go(13)
    rig.settle()
    assert rig.states() == [("fast", "wearable-1", "active")]
    rig.start(POWER)
    rig.settle()
    assert rig.states() == []


def test_a_thing_that_comes_later_is_watched_too(rig: Rig) -> None:
    rig.start(SILENT | {"when": {"thing": "meter-1", "metric": "active_power", "silent_s": 60}, "things": ["cuff-1"]})
    rig.go(100)
    rig.settle()
    rig.born()
    rig.go(55)
    rig.store(body([("meter-1", reading("active_power", 5.0, "W", 0, rig.now_ms))]))
    rig.go(61)
    rig.settle()
    assert rig.states() == []
    rig.go(2)
    rig.settle()
    assert rig.states() == [("silent", "cuff-1", "active")]


def test_the_clock_of_the_hub_may_be_set(rig: Rig) -> None:
    rig.start(SILENT)
    rig.born()
    rig.pulse(70)
    rig.now_ms += 3_600_000
    rig.settle()
    rig.go(30)
    rig.settle()
    assert rig.states() == []


def test_people_answer_alarms_of_the_hub(rig: Rig) -> None:
    rig.start(POWER)
    rig.born()
    rig.store(body([("meter-1", reading("active_power", 2500.0, "W", 0, rig.now_ms))]))
    deeds = Deeds(rig.data)
    assert rig.writer is not None
    work = DeedWork(deeds, rig.writer)
    alarm = ("power", "meter-1", rig.now_ms)
    for what, seconds, state in (
        ("acknowledge", 0, "acknowledged"),
        ("shelve", 60, "shelved"),
        ("shelve", 0, "acknowledged"),
    ):
        rig.go(1)
        deeds.add(what, alarm, who="wang", time_ms=rig.now_ms, seconds=seconds)
        assert work.due(rig.now_ms) == []
        assert rig.states() == [("power", "meter-1", state)]
    found = rig.book.one(*alarm)
    assert found is not None
    assert [(each.state, each.who) for each in found[1]] == [
        ("active", ""), ("acknowledged", "wang"), ("shelved", "wang"), ("acknowledged", "wang"),
    ]  # fmt: skip
    assert {deed.state for deed in deeds.about(*alarm)} == {"done"}
    rig.start(POWER)
    rig.settle()
    assert rig.states() == [("power", "meter-1", "acknowledged")]


def test_a_rule_is_tried_on_history(rig: Rig) -> None:
    rig.start(POWER)
    rig.born()
    for minute, value in enumerate((70, 130, 131, 90, 140, 141, 142)):
        rig.now_ms = T + minute * 60_000
        rig.pulse(value, backfill=minute > 3)
    tried = read_rule(FAST | {"at": "gateway", "when": FAST["when"] | {"delay_on_s": 60}})  # type: ignore[operator]
    trial = replay(rig.data, tried, T, T + 420_000)
    assert (trial.things, trial.readings) == (["wearable-1"], 7)
    changes = [(each.identity.onset_ms - T, each.state) for each in trial.following if hasattr(each, "state")]
    assert changes == [(60_000, "active"), (60_000, "cleared"), (240_000, "active")]
    assert rig.states() == [], "it is only a trial"
    assert replay(rig.data, tried, T, T + 100_000).following == []
    begin, end = (datetime.fromtimestamp(each / 1000) for each in (T, T + 420_000))
    lines = list(told(rig.data, tried, begin, end))
    assert lines[0] == "1 things, 7 readings"
    assert lines[1].endswith("wearable-1  active (heart_rate 130)")
    assert lines[2].endswith("wearable-1  tell nurse")


RULES = """
[[rules]]
id = "fast"
version = 3
name = { en = "Pulse high", zh = "心率过高" }
priority = "high"
when = { metric = "heart_rate", unit = "/min", above = 120 }
"""


def test_the_command_line_checks_and_tries_rules(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    rig.born()
    rig.pulse(130)
    assert rig.writer is not None
    file = tmp_path / "rules.toml"
    file.write_text(RULES, encoding="utf-8")
    end = datetime.fromtimestamp(T / 1000 + 60).isoformat()

    def rules(*words: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "hub", "rules", *words, "--data", str(rig.data)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    done = rules("test", str(file), "--to", end)
    assert done.returncode == 0, done.stderr
    assert "fast, version 3: Pulse high, high, at the gateway\n  1 things, 1 readings\n" in done.stdout
    assert "wearable-1  active (heart_rate 130)" in done.stdout
    file.write_text(RULES.replace("120", '"hot"'), encoding="utf-8")
    wrong = rules("check", str(file))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "rules.toml:7: rules.0.when.above: must be a number" in wrong.stderr


def test_the_folder_of_rules_replaces_what_is_built_in_by_its_id(data: Path) -> None:
    assert [rule.id for rule in alarm_rules.load(data)] == ["gateway-away"]
    before = alarm_rules.signature(data)
    (data / "rules").mkdir(parents=True)
    (data / "rules" / "own.toml").write_text(RULES.replace('"fast"', '"gateway-away"'), encoding="utf-8")
    assert [rule.version for rule in alarm_rules.load(data)] == [3]
    assert alarm_rules.signature(data) != before


async def test_ingest_evaluates_and_takes_over_rules_that_are_changed(tmp_path: Path) -> None:
    data, port, mqtt_port = tmp_path / "hub", free_port(), free_port()
    (data / "rules").mkdir(parents=True)
    file = data / "rules" / "own.toml"
    at_hub = RULES.replace("[[rules]]", '[[rules]]\nat = "hub"')
    file.write_text(at_hub, encoding="utf-8")
    process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
    book = AlarmBook(data)

    async def until(want: list[tuple[str, int, str]]) -> None:
        async with asyncio.timeout(20):
            while [(alarm.rule, alarm.version, alarm.state) for alarm in book.open()] != want:
                await asyncio.sleep(0.05)

    try:
        gateway = Gateway(data, mqtt_port)
        running = asyncio.create_task(gateway.run())
        for number, (value, want) in enumerate(((130, [("fast", 3, "active")]), (90, []), (110, []))):
            at_ms = time.time_ns() // 1_000_000 + number
            gateway.put(body([("wearable-1", reading("heart_rate", value, "/min", time_ms=at_ms))]))
            await gateway.emptied()
            await until(want)
        file.write_text(at_hub.replace("120", '"hot"'), encoding="utf-8")  # leaves them as they were
        file.write_text(at_hub.replace("120", "100").replace("version = 3", "version = 4"), encoding="utf-8")
        async with asyncio.timeout(20):
            while not book.open():
                at_ms = time.time_ns() // 1_000_000
                gateway.put(body([("wearable-1", reading("heart_rate", 110, "/min", time_ms=at_ms))]))
                await asyncio.sleep(0.5)
        await until([("fast", 4, "active")])
        file.unlink()
        await until([])
        running.cancel()
        await asyncio.wait((running,))
    finally:
        await asyncio.to_thread(end_hub, process)
