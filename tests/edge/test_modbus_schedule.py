"""When a Modbus line asks whom, on a virtual clock: no drift, fair shares, and what silent devices may cost."""

from collections.abc import Collection
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.links.modbus_schedule import PROBE_MOST_S, PROBE_SHARE, Poll, Schedule, Unit


class Bus:
    """A line on which each poll and each probe takes its time."""

    def __init__(self, units: list[Unit], *, dead: Collection[int] = (), timeout_s: float = 0.1, apart_s: float = 0.0):
        self.units = units
        self.dead = set(dead)
        self.now_s = 100.0
        self.polled: dict[Poll, list[float]] = {poll: [] for unit in units for poll in unit.polls}
        self.probed: dict[int, list[float]] = {at: [] for at in range(len(units))}
        self.missed = 0
        self.dead_s = 0.0
        self._timeout_s = timeout_s
        self._schedule = Schedule(units, apart_s)
        self.open()

    def open(self) -> None:
        self.opened_s = self.now_s
        self._schedule.start(self.now_s)

    def run(self, seconds: float, poll_s: float, probe_s: float) -> None:
        until = self.now_s + seconds
        while self.now_s < until:
            at_s, what = self._schedule.next(self.now_s)
            if at_s > self.now_s:
                self.now_s = at_s
                continue
            began_s = self.now_s
            if isinstance(what, Poll):
                self.polled[what].append(self.now_s)
                index = self.units.index(what.unit)
                if index in self.dead:
                    self.now_s += self._timeout_s
                    what.unit.probe_takes_s = probe_s
                    self._schedule.fell_silent(what.unit, began_s, self.now_s)
                else:
                    self.now_s += poll_s
                    self.missed += self._schedule.polled(what, self.now_s)
                continue
            index = self.units.index(what)
            self.probed[index].append(self.now_s)
            self.now_s += probe_s if index in self.dead else poll_s
            self._schedule.probed(what, began_s, self.now_s, answered=index not in self.dead)
            if index in self.dead:
                self.dead_s += self.now_s - began_s


def units(count: int, period_s: float, phase_s: float = 0.0) -> list[Unit]:
    made = []
    for _ in range(count):
        unit = Unit()
        unit.polls = [Poll(unit, period_s, phase_s)]
        made.append(unit)
    return made


@given(st.integers(1, 20), st.floats(0.0005, 0.049), st.floats(0, 0.9))
def test_a_line_with_time_enough_keeps_every_raster(count: int, poll_s: float, phase_s: float) -> None:
    bus = Bus(units(count, 1.0, phase_s))
    bus.run(60, poll_s, 0.01)
    assert bus.missed == 0
    for times in bus.polled.values():
        assert 59 <= len(times) <= 61
        assert all(at == pytest.approx(100 + phase_s + number, abs=count * poll_s) for number, at in enumerate(times))


@given(st.integers(2, 12), st.floats(0.3, 2.0))
def test_a_line_without_time_enough_is_shared_fairly_and_counts_what_it_misses(count: int, poll_s: float) -> None:
    bus = Bus(units(count, 0.25))
    bus.run(100 * poll_s, poll_s, 0.01)
    made = [len(times) for times in bus.polled.values()]
    assert max(made) - min(made) <= 1
    assert sum(made) + bus.missed == pytest.approx(count * 100 * poll_s / 0.25, abs=count * (count * poll_s / 0.25 + 2))


@given(st.integers(1, 31), st.integers(1, 16), st.floats(0.001, 0.03), st.floats(0.005, 0.2))
def test_silent_devices_cost_their_share_and_are_still_found(
    healthy: int, silent: int, poll_s: float, probe_s: float
) -> None:
    bus = Bus(units(healthy + silent, 1.0), dead=set(range(healthy, healthy + silent)))
    bus.run(20, poll_s, probe_s)
    bus.dead_s = 0.0
    for times in (*bus.polled.values(), *bus.probed.values()):
        times.clear()
    seconds = 100
    began_s = bus.now_s
    bus.run(seconds, poll_s, probe_s)
    assert bus.dead_s <= seconds * PROBE_SHARE + probe_s
    room = healthy * poll_s + probe_s <= 1.0
    for unit in bus.units[:healthy]:
        made = len(bus.polled[unit.polls[0]])
        assert made >= seconds - 1 if room else made >= seconds * (1 - 1 / PROBE_MOST_S) - 1
    waits_s = 1.0 if room else PROBE_MOST_S
    longest_s = PROBE_MOST_S + silent * (probe_s / PROBE_SHARE + waits_s)
    for index in bus.dead:
        times = [began_s, *bus.probed[index], bus.now_s]
        assert max(after - before for before, after in pairwise(times)) <= longest_s


@given(st.integers(1, 31), st.floats(0.005, 0.5))
def test_where_nobody_answers_there_is_nobody_to_leave_the_time_to(count: int, probe_s: float) -> None:
    bus = Bus(units(count, 1.0), dead=set(range(count)))
    bus.run(100, 0.01, probe_s)
    for times in bus.probed.values():
        assert max(after - before for before, after in pairwise(times)) <= PROBE_MOST_S + count * probe_s + 0.01


def test_a_silent_device_is_left_alone_until_no_late_answer_can_come() -> None:
    bus = Bus(units(1, 1.0), dead={0}, apart_s=1.5)
    bus.run(20, 0.01, 0.04)
    asked = bus.polled[bus.units[0].polls[0]] + bus.probed[0]
    assert min(after - before for before, after in pairwise(asked)) >= 1.5


def test_who_was_silent_before_the_line_was_opened_anew_is_probed_at_once() -> None:
    bus = Bus(units(2, 1.0), dead={1})
    bus.run(10, 0.01, 0.02)
    bus.open()
    bus.run(0.5, 0.01, 0.02)
    assert bus.probed[1][-1] - bus.opened_s <= 0.03
    assert len(bus.polled[bus.units[1].polls[0]]) == 1


def test_a_revived_device_is_polled_at_once_and_on_its_old_raster() -> None:
    bus = Bus(units(2, 1.0), dead={1})
    bus.run(10, 0.01, 0.02)
    bus.dead.clear()
    bus.run(5, 0.01, 0.02)
    answered_s = bus.probed[1][-1]
    (first, second, *_) = [at for at in bus.polled[bus.units[1].polls[0]] if at > answered_s]
    assert first - answered_s <= 0.03
    assert second % 1.0 == pytest.approx(0.0, abs=0.05)


def test_a_line_that_is_always_late_still_probes() -> None:
    bus = Bus(units(3, 0.05), dead={2})
    bus.run(60, 0.04, 0.02)
    assert len(bus.probed[2]) >= 60 / (2 * PROBE_MOST_S + 0.1) - 1
    assert bus.missed > 0


def test_phases_and_periods_of_one_device() -> None:
    unit = Unit()
    fast, slow = Poll(unit, 1.0), Poll(unit, 10.0, 0.5)
    unit.polls = [fast, slow]
    bus = Bus([unit])
    bus.run(31, 0.01, 0.01)
    assert len(bus.polled[fast]) == 31
    assert bus.polled[slow] == pytest.approx([100.5, 110.5, 120.5, 130.5])
