"""Alarms beyond what the model says: one identity for all observers, clocks that step, changed rules, many machines."""

import datetime as dt
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.alarm import (
    ACTIVE,
    CLEARED,
    SHELVED,
    Change,
    Escalation,
    Identity,
    Machine,
    Watch,
    decode_following,
    encode_following,
    read_rule,
    withdrawn,
)
from protocols.alarm.calendar import Calendar, date_of
from protocols.errors import DecodeError
from protocols.reading import DecimalFraction, reading
from runtime.rules import offset_s
from tests.protocols.test_alarm_model import CONDITIONS, HEAD

T = 1_900_000_000_000
ABOVE = {"metric": "temperature", "unit": "Cel", "above": 38.5}


def rule(when: dict[str, Any] = ABOVE, **more: Any) -> Any:
    return read_rule(HEAD | {"when": when} | more)


def warm(value: Any, time_ms: int) -> Any:
    return reading("temperature", value, "Cel", time_ms=time_ms)


def states(following: list[Any]) -> list[str]:
    return [each.state for each in following if isinstance(each, Change)]


class Observer:
    """One who evaluates a rule: readings come to it on its own way."""

    def __init__(self, when: dict[str, Any], *, wait_s: int, grace_ms: int):
        self.rule = rule(when, wait_s=wait_s, lateness_s=60)
        self.grace_ms = grace_ms
        self.machine = Machine(self.rule, "t", grace_ms=grace_ms)
        self.found: list[Change] = []
        self.machine.start(T)

    def hear(self, given: tuple[str, int, int], now_ms: int) -> None:
        metric, time_ms, value = given
        self.machine.take("t", reading(metric, value, "V", time_ms=time_ms), now_ms)
        self.settle(now_ms)

    def settle(self, now_ms: int) -> None:
        self.found += [each for each in self.machine.settle(now_ms) if isinstance(each, Change)]

    def restart(self) -> None:
        dumped = json.loads(json.dumps(self.machine.dump()))
        self.machine = Machine(self.rule, "t", grace_ms=self.grace_ms)
        self.machine.load(dumped)


@settings(max_examples=150, deadline=None)
@given(
    CONDITIONS,
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.integers(0, 9)), min_size=5, max_size=30),
    st.integers(0, 1 << 32),
)
def test_a_near_and_a_far_observer_come_to_the_same_alarms(when, steps, seed):
    """The far one hears each reading up to four seconds late, out of order, some twice, and is restarted."""
    chance = random.Random(seed)
    near, far = Observer(when, wait_s=0, grace_ms=0), Observer(when, wait_s=4, grace_ms=0)
    now_ms = T
    deliveries: list[tuple[int, int, tuple[str, int, int]]] = []
    for metric, seconds, value in steps:
        now_ms += seconds * 1000
        given = (metric, now_ms, value)
        near.hear(given, now_ms)
        for _ in range(chance.choice((1, 1, 2))):
            deliveries.append((now_ms + chance.randrange(4000), chance.getrandbits(20), given))
    for at_ms, _, given in sorted(deliveries):
        far.hear(given, at_ms)
        if chance.random() < 0.2:
            far.restart()
    near.settle(now_ms + 30_000)
    far.settle(now_ms + 34_000)
    assert far.found == near.found


@settings(max_examples=100, deadline=None)
@given(
    CONDITIONS,
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.integers(0, 9), st.sampled_from([0, 0, 0, 3600, -7200])),
        min_size=5,
        max_size=25,
    ),
)
def test_a_clock_that_is_set_changes_no_alarm_but_its_times(when, steps):
    if any(word in json.dumps(when) for word in ("calendar", "rises", "falls", "changes")):
        return  # a calendar says of a time what that time is; changes are looked at in steps that have a raster
    steady, stepped = Observer(when, wait_s=0, grace_ms=0), Observer(when, wait_s=0, grace_ms=0)
    now_ms, ahead_ms = T, 0
    for metric, seconds, value, step_s in steps:
        now_ms += seconds * 1000
        for observer, by_ms in ((steady, 0), (stepped, ahead_ms)):
            observer.settle(now_ms - 500 + by_ms)
        by_ms = step_s * 1000
        stepped.machine.stepped(by_ms)
        ahead_ms += by_ms
        for observer, by_ms in ((steady, 0), (stepped, ahead_ms)):
            observer.hear((metric, now_ms + by_ms, value), now_ms + by_ms)
    assert [(each.state, each.number, each.value) for each in stepped.found] == [
        (each.state, each.number, each.value) for each in steady.found
    ]


def test_a_change_is_seen_across_a_step_of_the_clock():
    machine = Machine(rule({"metric": "temperature", "unit": "Cel", "rises": 2, "within_s": 16}), "t")
    machine.start(T)
    machine.take("t", warm(36, T), T)
    machine.settle(T)
    machine.stepped(3_600_000)
    machine.take("t", warm(39, T + 3_610_000), T + 3_610_000)
    assert states(machine.settle(T + 3_610_000)) == [ACTIVE]


def test_two_alarms_have_two_identities_though_the_clock_is_set_back_to_the_same_millisecond():
    machine = Machine(rule(), "t")
    machine.start(T)
    found = []
    for time_ms, value in ((T + 1000, 39), (T + 2000, 37)):
        machine.take("t", warm(value, time_ms), time_ms)
        found += machine.settle(time_ms)
    machine.stepped(-2000)
    machine.take("t", warm(39, T + 1000), T + 1000)
    found += machine.settle(T + 1000)
    assert [each.identity.onset_ms for each in found] == [T + 1000, T + 1000, T + 1001]


def test_a_version_with_other_conditions_goes_on_with_the_alarm_that_there_is():
    machine = Machine(rule(), "t")
    machine.start(T)
    machine.take("t", warm(39, T), T)
    machine.settle(T)
    newer = Machine(rule({"any": [ABOVE, {"metric": "sos", "equals": True}]}, version=2), "t")
    newer.load(json.loads(json.dumps(machine.dump())))
    newer.resume(T + 5000)
    assert newer.settle(T + 5000) == []
    assert newer.state == ACTIVE, "what is not known holds"
    newer.take("t", warm(37, T + 6000), T + 6000)
    newer.take("t", reading("sos", False, "", time_ms=T + 6000), T + 6000)
    [over] = newer.settle(T + 6000)
    assert (over.state, over.number, over.version, over.identity) == (CLEARED, 2, 2, Identity("r", "t", T))


def test_a_restart_with_a_clock_that_is_not_set_yet_keeps_nobody_from_hearing():
    night = {"calendar": {"between": ["00:00", "23:59"]}}
    machine = Machine(rule({"any": [ABOVE, {"all": [night, {"metric": "open", "equals": True}]}]}), "t")
    machine.start(T)
    machine.take("t", warm(37, T), T)
    machine.settle(T)
    again = Machine(machine.rule, "t")
    again.load(json.loads(json.dumps(machine.dump())))
    again.resume(60_000)
    again.take("t", reading("open", True, "", time_ms=61_000), 61_000)
    assert again.settle(61_000) == [], "what time of day it is is not known"
    again.take("t", warm(39, 62_000), 62_000)
    [raised] = again.settle(62_000)
    again.stepped(T)
    again.take("t", warm(37, T + 63_000), T + 63_000)
    [still] = [*again.settle(T + 63_000), again.present()]
    assert (raised.state, still.state, still.identity) == (ACTIVE, ACTIVE, raised.identity), "it is night now"


def test_what_was_so_lately_outlasts_a_restart():
    doors = [{"metric": f"door_{number}", "equals": True} for number in (1, 2)]
    machine = Machine(rule({"at_least": 2, "of": doors, "within_s": 10}), "t")
    machine.start(T)
    for step, (metric, value) in enumerate((("door_1", True), ("door_1", False), ("door_2", True))):
        time_ms = T + step * 4000
        machine.take("t", reading(metric, value, "", time_ms=time_ms), time_ms)
        found = machine.settle(time_ms)
        dumped = json.loads(json.dumps(machine.dump()))
        machine = Machine(machine.rule, "t")
        machine.load(dumped)
    assert states(found) == [ACTIVE]
    assert states(machine.settle(T + 14_000)) == [CLEARED]


def test_what_waits_to_be_put_in_order_is_bounded():
    machine = Machine(rule(wait_s=60), "t")
    machine.start(T)
    for place in range(1000):
        machine.take("t", warm(39, T + place), T + place)
        machine.settle(T + place)
        assert len(machine.dump()["held"]) <= 256
    assert machine.state == ACTIVE, "what could wait no longer was taken, not dropped"


def test_a_decimal_fraction_is_a_number_and_what_is_none_counts_for_nothing():
    machine = Machine(rule(), "t")
    machine.start(T)
    for place, value in enumerate((float("nan"), float("inf"), "39", None)):
        machine.take("t", warm(value, T + place), T + place)
        assert machine.settle(T + place) == []
    machine.take("t", warm(DecimalFraction(3851, -2), T + 10), T + 10)
    [raised] = machine.settle(T + 10)
    assert (raised.state, raised.value) == (ACTIVE, 38.51)


def test_a_shelf_lasts_at_most_a_day_and_ends_when_taken_back():
    machine = Machine(rule(), "t")
    machine.start(T)
    machine.shelve(T + 10 * 86_400_000, "wang", T)
    assert machine.shelved_until_ms == T + 86_400_000
    machine.take("t", warm(39, T), T)
    assert states(machine.settle(T)) == [SHELVED]
    assert states(machine.shelve(T, "wang", T + 1000)) == [ACTIVE]


def test_a_rule_that_is_withdrawn_ends_its_alarm():
    machine = Machine(rule(), "t")
    machine.start(T)
    assert withdrawn("r", "t", machine.dump(), T) is None
    machine.take("t", warm(39, T), T)
    [raised] = machine.settle(T)
    ended = withdrawn("r", "t", json.loads(json.dumps(machine.dump())), T + 5)
    assert ended == raised._replace(state=CLEARED, number=2, time_ms=T + 5)


TEXTS = st.text("abc_-9", min_size=1, max_size=9)


@given(
    TEXTS,
    st.integers(0, 2**52),
    st.sampled_from(["active", "acknowledged", "cleared", "inhibited", "shelved"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    st.one_of(st.just(""), TEXTS),
)
def test_a_change_comes_back_from_its_text(name, number, state, value, by):
    change = Change(Identity(name, "t", number), 3, state, 5, "low", 1, by, "m", value)
    assert decode_following("t", 5, encode_following(change)) == change


@given(TEXTS, st.integers(0, 2**52), st.integers(0, 7), st.lists(TEXTS, max_size=16).map(tuple))
def test_an_escalation_comes_back_from_its_text(name, onset_ms, step, to):
    escalation = Escalation(Identity(name, "t", onset_ms), step, to, 5)
    assert decode_following("t", 5, encode_following(escalation)) == escalation


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text):
    with pytest.raises(DecodeError):
        decode_following("t", 5, text)


def watch_of(*rules: Any, things: int = 1) -> Watch:
    watch = Watch()
    for number in range(things):
        for each in rules:
            watch.add(each, f"t{number}", T)
    return watch


def test_a_reading_goes_to_all_that_are_about_it_and_to_no_other():
    other = {"metric": "open", "thing": "door", "equals": True}
    watch = watch_of(rule(), rule(other | {"delay_on_s": 1}, id="door"), things=2)
    assert watch.hears("t1", "temperature")
    assert watch.hears("door", "open")
    assert not watch.hears("t1", "open")
    assert watch.take("door", reading("open", True, "", time_ms=T), T)
    assert watch.take("t1", warm(39, T), T)
    assert not watch.take("t2", warm(39, T), T)
    found = watch.settle(T)
    assert [each.identity[:2] for each in found] == [("r", "t1")]
    assert watch.next_due_ms() == T + 1000
    assert [each.identity[:2] for each in watch.settle(T + 1000)] == [("door", "t0"), ("door", "t1")]
    assert watch.present() == [
        *[Change(Identity("door", t, T), 1, ACTIVE, T + 1000, "high", 1, "", "open", True) for t in ("t0", "t1")],
        Change(Identity("r", "t1", T), 1, ACTIVE, T, "high", 1, "", "temperature", 39),
    ]


def test_what_changed_is_told_and_goes_on_after_a_restart():
    watch = watch_of(rule(ABOVE | {"delay_on_s": 60}), things=3)
    for time_ms, value in ((T, 37), (T + 1000, 37), (T + 2000, 39)):
        watch.take("t1", warm(value, time_ms), time_ms)
        watch.settle(time_ms)
        changed, watch.changed = watch.changed, set()
        assert changed == ({("r", "t1")} if value == 39 or time_ms == T else set())
    again = Watch()
    for thing in ("t0", "t1"):
        kept = json.loads(json.dumps(watch.machines["r", thing].dump()))
        again.add(rule(ABOVE | {"delay_on_s": 60}), thing, T + 12_000, kept)
    assert again.next_due_ms() is not None
    assert again.settle(T + 71_999) == []  # ten seconds went by that nobody observed
    assert states(again.settle(T + 72_000)) == [ACTIVE]


def test_the_queue_of_what_is_due_stays_small():
    """Each reading puts off the silence, and each second one begins a delay that the next one ends."""
    watch = watch_of(
        rule({"metric": "temperature", "silent_s": 86_400}), rule(ABOVE | {"delay_on_s": 60}, id="hot"), things=5
    )
    for step in range(5000):
        time_ms = T + step * 1000
        watch.take(f"t{step % 5}", warm(39 if step % 2 else 37, time_ms), time_ms)
        watch.settle(time_ms)
        assert len(watch._due) <= 2 * 10 + 64
    assert states(watch.settle(T + 5000_000 + 86_400_000)).count(ACTIVE) >= 5


def test_people_reach_the_machine_that_they_mean():
    watch = watch_of(rule(), things=2)
    watch.take("t1", warm(39, T), T)
    watch.settle(T)
    assert watch.acknowledge("r", "t0", T, "wang", T + 1) == []
    assert watch.acknowledge("x", "t1", T, "wang", T + 1) == []
    [seen] = watch.acknowledge("r", "t1", T, "wang", T + 1)
    assert (seen.state, seen.by, seen.time_ms) == ("acknowledged", "wang", T + 1)
    assert watch.acknowledge("r", "t1", T, "wang", T + 2) == []
    assert states(watch.shelve("r", "t1", T + 5000, "wang", T + 3)) == [SHELVED]
    assert states(watch.settle(T + 5000)) == ["acknowledged"]


def test_dates_are_those_of_the_calendar():
    first = dt.date(1970, 1, 1)
    for day in range(-800, 60_000, 1):
        date = first + dt.timedelta(days=day)
        assert date_of(day) == (date.year, date.month, date.day)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai"])
def test_the_night_is_the_local_one_also_when_the_clocks_are_set(zone):
    """Every minute of two weeks around each change of the clocks, and no look between two that are due is missed."""
    said = read_rule(HEAD | {"when": {"calendar": {"between": ["02:15", "01:45"]}}, "timezone": zone}).when["calendar"]
    calendar = Calendar(said, zone, offset_s)
    for start in (dt.datetime(2030, 3, 8, tzinfo=dt.UTC), dt.datetime(2030, 10, 1, tzinfo=dt.UTC)):
        time_ms = int(start.timestamp() * 1000)
        due_ms, held = time_ms, None
        for minute in range(40 * 1440):
            now_ms = time_ms + minute * 60_000
            wall = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC) + dt.timedelta(seconds=offset_s(zone, now_ms))
            so = not (1, 45) <= (wall.hour, wall.minute) < (2, 15)
            assert calendar.holds(now_ms) is so
            if now_ms == due_ms:
                due_ms, held = calendar.due(now_ms), so
            assert so == held, "it changed, and was not due"
            assert due_ms > now_ms
