"""The gateway's clock: order and intervals through whatever is done to the wall clock."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import BOOT_CLOCK_END_MS, SteadyClock, is_unix, kernel_synchronized

UNIX_MS = 1_790_000_000_000  # when the machine was started
HOUR_MS = 3_600_000


class Machine:
    """A machine's two clocks, in ms since its start; the wall clock is off by `off_ms` and drifts."""

    def __init__(self, *, now_ms: int = 0, off_ms: int = 0, synchronized: bool = False, offset_ms: int | None = None):
        self.now_ms = float(now_ms)
        self.off_ms = float(off_ms)
        self.synchronized = synchronized
        self.clock = SteadyClock(
            lambda: round(self.now_ms * 1e6),
            lambda: round((self.now_ms + UNIX_MS + self.off_ms) * 1e6),
            lambda: self.synchronized,
            offset_ms=offset_ms,
        )

    def passes(self, ms: float, *, every_ms: float = 100, drift_ppm: float = 0) -> Iterator[tuple[float, int]]:
        """(ms since the start, what the clock says) of each reading until so much time has passed."""
        until = self.now_ms + ms
        while self.now_ms < until:
            self.now_ms += every_ms
            self.off_ms += every_ms * drift_ppm / 1e6
            yield self.now_ms, self.clock()


def check(readings: list[tuple[float, int]]) -> None:
    """In order, and no interval off by more than 10 ms."""
    for (before, first), (after, second) in pairwise(readings):
        assert second >= first
        assert abs((second - first) - (after - before)) <= 10


def test_a_machine_that_is_in_time() -> None:
    machine = Machine(now_ms=HOUR_MS)
    assert machine.clock.settled
    assert machine.clock() == UNIX_MS + HOUR_MS


def test_boot_in_1970() -> None:
    machine = Machine(off_ms=-UNIX_MS)
    early = list(machine.passes(2 * HOUR_MS, every_ms=10_000))
    assert all(not is_unix(said) for _, said in early)
    assert [said for _, said in early] == [now for now, _ in early]  # it counts from the start
    machine.off_ms = 0
    assert [said for _, said in machine.passes(2000)][-1] == UNIX_MS + machine.now_ms
    assert machine.clock.unix_ms(1000) == UNIX_MS + 1000
    assert machine.clock.unix_ms(UNIX_MS) == UNIX_MS


def test_a_clock_that_looks_right_is_believed_when_nobody_has_set_it_within_a_minute() -> None:
    machine = Machine(off_ms=-HOUR_MS)  # the time at which it was switched off
    assert not any(is_unix(said) for _, said in machine.passes(59_000))
    assert is_unix([said for _, said in machine.passes(3_000)][-1])


def test_the_kernels_word_is_enough() -> None:
    machine = Machine()
    assert not machine.clock.settled
    machine.synchronized = True
    assert [said for _, said in machine.passes(1500)][-1] == UNIX_MS + machine.now_ms


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
def test_an_hour_back_and_forth_changes_nothing(step_ms: int) -> None:
    machine = Machine(now_ms=HOUR_MS)
    readings = list(machine.passes(60_000))
    for off_ms in (step_ms, 0, step_ms, 0):
        machine.off_ms = off_ms
        readings += machine.passes(500_000)
    check(readings)
    assert readings[-1][1] == UNIX_MS + machine.now_ms


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
def test_a_step_that_stands_is_followed(step_ms: int) -> None:
    machine = Machine(now_ms=HOUR_MS)
    machine.off_ms = step_ms
    readings = list(machine.passes(700_000))
    assert readings[-1][1] == UNIX_MS + machine.now_ms + step_ms
    check([(now, said) for now, said in readings if now < HOUR_MS + 600_000])
    assert machine.clock.offset_ms == UNIX_MS + step_ms


def test_back_to_1970_is_never_followed() -> None:
    machine = Machine(now_ms=HOUR_MS)
    machine.off_ms = -UNIX_MS
    check(list(machine.passes(2 * HOUR_MS, every_ms=1000)))


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_drift_is_made_up_for_slowly(drift_ppm: float) -> None:
    machine = Machine(now_ms=HOUR_MS)
    readings = list(machine.passes(HOUR_MS, drift_ppm=drift_ppm))
    check(readings)
    assert abs(readings[-1][1] - (UNIX_MS + machine.now_ms + machine.off_ms)) <= 1
    every_ten_s = readings[::100]
    check(every_ten_s)


def test_a_program_that_is_started_again_does_not_fall_for_a_step() -> None:
    machine = Machine(now_ms=HOUR_MS, off_ms=-HOUR_MS, offset_ms=UNIX_MS)
    assert machine.clock() == UNIX_MS + HOUR_MS
    check(list(machine.passes(500_000)))


@given(
    st.lists(
        st.tuples(
            st.integers(-2 * HOUR_MS, 2 * HOUR_MS), st.floats(0, 300_000), st.floats(-200, 200), st.floats(50, 2000)
        ),
        max_size=8,
    )
)
def test_whatever_is_done_to_the_wall_clock_for_less_than_ten_minutes_nothing_changes_places(
    phases: list[tuple[int, float, float, float]],
) -> None:
    """Each phase: a step, how long it stands, drift meanwhile, and the poll period. In between all is well again."""
    machine = Machine(now_ms=HOUR_MS)
    readings: list[tuple[float, int]] = []
    for step_ms, stands_ms, drift_ppm, every_ms in phases:
        for off_ms, ms in ((step_ms, stands_ms), (0, 3000)):
            machine.off_ms = off_ms
            readings += machine.passes(ms, every_ms=every_ms, drift_ppm=drift_ppm)
    check(readings)


def test_times_before_2000_are_no_unix_times() -> None:
    assert is_unix(BOOT_CLOCK_END_MS)
    assert not is_unix(BOOT_CLOCK_END_MS - 1)


def test_the_kernel_has_an_opinion() -> None:
    assert kernel_synchronized() in (True, False)
