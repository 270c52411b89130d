"""Retention: what is old goes by policy, steps take its place, and what cannot be summed up stays."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub import retention
from hub.errors import DamagedBlockError, SetupError
from hub.retention import ALL, Policy
from hub.store.querying import Loss, Querying
from hub.store.readings import INTEGER, RECORD, Readings
from hub.store.steps import Step, decode, encode, merged, steps_of
from hub.store.writing import Writer
from protocols.pack import Body, Column
from tests.hub.conftest import ROOT, parsed, store_body
from tests.hub.gateway import aliases, birth

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
PULSE = ("wearable-1", "heart_rate")
POWER = ("meter-1", "active_power")


class Clock:
    """A clock that is set, to begin with to noon of the 100th day."""

    def __init__(self) -> None:
        self.now_ms = 100 * DAY_MS + 12 * HOUR_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(data: Path, clock: Clock):
    made = Writer(data, clock=clock)
    with made.transaction():
        made.write_birth(parsed(birth()))
    yield made
    made.close()


@pytest.fixture
def write(writer: Writer) -> Callable[..., None]:
    """Write values of a stream, a minute apart, and seal them."""
    seqs = iter(range(1, 1000))

    def call(stream: tuple[str, str], day: int, values: list[object], *, minute: int = 0) -> None:
        times = [day * DAY_MS + (minute + place) * MINUTE_MS for place in range(len(values))]
        column = Column(aliases()[stream], times, [0] * len(values), values)  # type: ignore[arg-type]
        store_body(writer, Body([column], [], {}, {}), next(seqs))
        writer.seal_all()

    return call


def stream_of(querying: Querying, stream: tuple[str, str]) -> int:
    return next(s.id for s in querying.streams(stream[0]) if s.metric == stream[1])


def days_of(querying: Querying, stream: tuple[str, str]) -> list[int]:
    """The days that readings are left of."""
    points, _ = querying.history(stream_of(querying, stream), 0, 1 << 53)
    return sorted({point.time_ms // DAY_MS for point in points})


def steps(querying: Querying, stream: tuple[str, str], day: int, minutes: int) -> list[Step]:
    return querying.steps(stream_of(querying, stream), day * DAY_MS, (day + 1) * DAY_MS, minutes * MINUTE_MS)


def tidied(writer: Writer) -> None:
    while writer.tidy():
        pass


def test_without_a_policy_everything_stays(writer, write, querying) -> None:
    write(PULSE, 1, [70])
    tidied(writer)
    assert days_of(querying, PULSE) == [1]


def test_a_day_goes_when_all_of_it_is_old_enough(writer, write, querying, clock: Clock, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=30))
    for day in (68, 69, 70, 99):
        write(PULSE, day, [70])
    tidied(writer)
    assert days_of(querying, PULSE) == [70, 99]  # the last moment of day 69 is 30.5 days ago, that of day 70 29.5
    clock.now_ms += 12 * HOUR_MS
    tidied(writer)
    assert days_of(querying, PULSE) == [99]
    assert querying.streams("wearable-1")[0].stored == 4  # custody counts what ever was


def test_each_metric_has_its_own_policy(writer, write, querying, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=50))
    retention.set_policy(data, "heart_rate", Policy(days=10))
    for stream in (PULSE, POWER):
        for day in (40, 60, 95):
            write(stream, day, [70])
    tidied(writer)
    assert days_of(querying, PULSE) == [95]
    assert days_of(querying, POWER) == [60, 95]


def test_steps_take_the_place_of_readings(writer, write, querying, data: Path) -> None:
    values = [float(60 + number * 7 % 13) for number in range(60)]
    write(PULSE, 50, values[:20])
    write(PULSE, 50, values[20:], minute=120)
    before = steps(querying, PULSE, 50, 5)
    retention.set_policy(data, "heart_rate", Policy(days=10, step_minutes=5))
    tidied(writer)
    assert days_of(querying, PULSE) == []
    assert steps(querying, PULSE, 50, 5) == before
    assert [step.time_ms // MINUTE_MS % 1440 for step in before] == [*range(0, 20, 5), *range(120, 160, 5)]  # a gap
    (whole,) = steps(querying, PULSE, 50, 1440)
    assert (whole.min, whole.max, whole.last, whole.count) == (60, 72, values[-1], 60)
    assert whole.mean == pytest.approx(sum(values) / 60)
    assert steps(querying, PULSE, 50, 1) == before  # finer ones are gone
    late = querying.steps(stream_of(querying, PULSE), 50 * DAY_MS + 5 * MINUTE_MS, 50 * DAY_MS + 10 * MINUTE_MS, 1)
    assert late == before[1:2]


def test_what_comes_late_joins_the_steps_of_its_day(writer, write, querying, clock: Clock, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=10, step_minutes=60))
    write(PULSE, 50, [60, 70])
    tidied(writer)
    write(PULSE, 50, [50], minute=1)
    (both,) = steps(querying, PULSE, 50, 60)
    assert (both.min, both.mean, both.max, both.count) == (50, 60, 70, 3)  # a step and a reading together
    clock.now_ms += HOUR_MS
    tidied(writer)
    assert days_of(querying, PULSE) == []
    assert steps(querying, PULSE, 50, 60) == [both]


def test_steps_expire_in_their_turn(writer, write, querying, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=10, step_minutes=60, step_days=60))
    for day in (30, 50):
        write(PULSE, day, [60])
    tidied(writer)
    assert steps(querying, PULSE, 30, 60) == []
    assert len(steps(querying, PULSE, 50, 60)) == 1


def test_texts_stay_for_as_long_as_the_steps(writer, write, querying, clock: Clock, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=10, step_minutes=60, step_days=60))
    write(PULSE, 50, [60, "loose contact", 70, None])
    tidied(writer)
    points, _ = querying.history(stream_of(querying, PULSE), 0, 1 << 53)
    assert [(point.time_ms - 50 * DAY_MS, point.value) for point in points] == [(MINUTE_MS, "loose contact")]
    assert steps(querying, PULSE, 50, 60)[0].count == 2
    write(PULSE, 50, ["late"], minute=7)
    for _ in range(2):
        clock.now_ms += HOUR_MS
        tidied(writer)
        points, _ = querying.history(stream_of(querying, PULSE), 0, 1 << 53)
        assert [point.value for point in points] == ["loose contact", "late"]
    clock.now_ms += 20 * DAY_MS
    tidied(writer)
    assert days_of(querying, PULSE) == []


def test_declared_losses_outlast_the_readings_beside_them(writer, write, querying, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=10))
    gap = Body([], [], {"wearable-1": (9, 0)}, {"wearable-1": (9, 50 * DAY_MS, 50 * DAY_MS + 5)})
    store_body(writer, gap, 999)
    tidied(writer)
    assert querying.losses("wearable-1", 50 * DAY_MS, 51 * DAY_MS) == [Loss(9, 50 * DAY_MS, 50 * DAY_MS + 5)]
    assert querying.losses("wearable-1", 51 * DAY_MS, 52 * DAY_MS) == []
    assert next(one.declared_lost for one in querying.custody() if one.thing == "wearable-1") == 9


def test_a_damaged_day_is_not_summed_up_but_left(writer, write, querying, data: Path) -> None:
    retention.set_policy(data, ALL, Policy(days=10, step_minutes=60))
    write(PULSE, 50, [60])
    writer._db.execute("UPDATE block SET data = x'00'")
    write(POWER, 50, [900])
    tidied(writer)
    assert writer._db.execute("SELECT count(*) FROM block").fetchone()[0] == 1
    assert len(steps(querying, POWER, 50, 60)) == 1
    with pytest.raises(DamagedBlockError):
        steps(querying, PULSE, 50, 60)


NUMBERS = st.lists(st.tuples(st.integers(0, 500), st.integers(-100, 100)), min_size=1, max_size=60)


def records_of(rows: list[tuple[int, int]]) -> Readings:
    made = Readings(np.zeros(len(rows), RECORD), ())
    made.records["time_ms"], made.records["number"] = zip(*rows, strict=True)
    made.records["kind"] = INTEGER
    return made


@settings(max_examples=50)
@given(NUMBERS, NUMBERS, st.sampled_from([1, 5, 25]))
def test_steps_of_steps_are_the_steps_of_the_readings(
    first: list[tuple[int, int]], second: list[tuple[int, int]], fine: int
) -> None:
    parts = [steps_of(records_of(sorted(rows, key=lambda row: row[0])).records, fine) for rows in (first, second)]
    stored = [decode(encode(part), 1, 0) for part in parts]
    rows = sorted([*first, *second], key=lambda row: row[0])
    for coarse in (fine, 50, 500):
        found = merged(stored, coarse).rows()
        for step in found:
            inside = [number for time, number in rows if step.time_ms <= time < step.time_ms + coarse]
            assert (step.min, step.max, step.count) == (min(inside), max(inside), len(inside))
            assert step.mean == pytest.approx(sum(inside) / len(inside))
            newest = max(time for time, _ in rows if step.time_ms <= time < step.time_ms + coarse)
            assert step.last in [number for time, number in rows if time == newest]
        assert sum(step.count for step in found) == len(rows)


def test_a_summary_that_was_damaged_is_not_believed() -> None:
    data = bytearray(encode(steps_of(records_of([(1, 2)]).records, 5)))
    data[-1] ^= 1
    with pytest.raises(DamagedBlockError):
        decode(bytes(data), 1, 0)


def retain(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hub", "retention", "--data", str(data), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def test_the_command_sets_and_shows_policies(data: Path) -> None:
    assert retain(data).stdout == "*: for ever\n"
    said = retain(data, "heart_rate", "--days", "30", "--step-minutes", "5", "--step-days", "730").stdout
    assert said == "heart_rate: 30 days, then steps of 5 min: 730 days\n"
    retain(data, "*", "--days", "400")
    assert retain(data).stdout == "*: 400 days\n" + said
    assert retain(data, "speed").stdout == "speed: 400 days\n"
    assert retain(data, "heart_rate", "--forever").stdout == "heart_rate: 400 days\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("heart_rate", "--days", "0"), "greater than or equal to 1"),
        (("--days", "5"), "name a metric"),
        (("heart rate", "--days", "5"), "is no metric"),
        (("heart_rate", "--days", "5", "--step-minutes", "7"), "do not divide a day"),
        (("heart_rate", "--days", "5", "--step-days", "70"), "of no use"),
        (("heart_rate", "--days", "5", "--step-minutes", "5", "--step-days", "4"), "no longer than"),
        (("heart_rate", "--days", "5", "--forever"), "name a metric"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_sentence(data: Path, words: tuple[str, ...], reason: str) -> None:
    said = retain(data, *words)
    assert said.returncode == 2
    assert reason in said.stderr
    assert said.stderr.count("\n") == 1


def test_damaged_policies_stop_expiry_and_say_so(writer, write, querying, data: Path) -> None:
    write(PULSE, 1, [70])
    (data / retention.FILE).write_text('{"*": {"days": "soon"}}')
    with pytest.raises(SetupError, match="days"):
        writer.tidy()
    assert days_of(querying, PULSE) == [1]
