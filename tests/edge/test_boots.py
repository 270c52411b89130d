"""Readings of before the time was known: dated once it is, in order, with their intervals, and marked."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.boots import Boot, Boots
from edge.clock import SteadyClock, is_unix
from edge.timekeeping import FILE, Timekeeper
from protocols.deflated import deflate, inflate
from protocols.pack import Body, Column, Row, columns, decode_body, encode_body
from protocols.reading import BAD, GOOD, TIME_ESTIMATED, Reading

UNIX_MS = 1_790_000_000_000
NOW_MS = UNIX_MS + 40_000


def body(*times_ms: int, quality: int = GOOD) -> Body:
    readings = [(1, Reading("m", number, "1", quality, time_ms)) for number, time_ms in enumerate(times_ms)]
    return Body(columns(readings), [], {"meter-1": (9, 3)}, {})


def times(dated: Body) -> list[int]:
    return [time_ms for column in dated.columns for time_ms in column.times_ms]


def test_readings_of_this_start_are_dated_by_it_and_marked() -> None:
    boots = Boots([Boot("now", [7], 50_000, UNIX_MS)], "now")
    assert boots.concern(7)
    assert not boots.concern(8)
    dated = boots.date(7, body(1000, 2500, quality=BAD))
    assert times(dated) == [UNIX_MS + 1000, UNIX_MS + 2500]
    assert dated.columns[0].qualities == [BAD | TIME_ESTIMATED] * 2
    assert dated.tallies == {"meter-1": (9, 3)}


def test_what_has_a_date_keeps_it() -> None:
    boots = Boots([Boot("now", [7], 50_000, UNIX_MS)], "now")
    dated = boots.date(7, body(1000, NOW_MS))
    assert times(dated) == [UNIX_MS + 1000, NOW_MS]
    assert dated.columns[0].qualities == [TIME_ESTIMATED, GOOD]
    row = Row(NOW_MS, (1, 1), (5, 6))
    assert boots.date(7, Body([], [row], {}, {})) == Body([], [row], {}, {})


def test_rows_become_columns_that_are_marked_and_gap_records_are_dated() -> None:
    boots = Boots([Boot("now", [7], 50_000, UNIX_MS)], "now")
    dated = boots.date(7, Body([], [Row(500, (3, 2), (1.5, 2.5))], {}, {"meter-1": (4, 100, 200)}))
    assert dated.columns == [
        Column(3, [UNIX_MS + 500], [TIME_ESTIMATED], [1.5]),
        Column(5, [UNIX_MS + 500], [TIME_ESTIMATED], [2.5]),
    ]
    assert dated.rows == []
    assert dated.lost == {"meter-1": (4, UNIX_MS + 100, UNIX_MS + 200)}


def test_a_start_whose_time_was_never_known_ended_before_the_next_one() -> None:
    boots = Boots([Boot("a", [1], 5000), Boot("b", [2], 9000), Boot("now", [3], 100, UNIX_MS)], "now")
    assert times(boots.date(2, body(0, 9000))) == [UNIX_MS - 9000, UNIX_MS]
    assert times(boots.date(2, body(9500))) == [UNIX_MS]  # after it was last seen, and never after the next start
    assert times(boots.date(1, body(0, 5000))) == [UNIX_MS - 14_000, UNIX_MS - 9000]


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.none() | st.integers(0, 10**6)), min_size=1, max_size=6),
    st.lists(st.integers(0, 10**9), min_size=2, max_size=10),
)
def test_order_is_kept_within_and_across_starts(
    starts: list[tuple[int, int | None]], since_start_ms: list[int]
) -> None:
    """starts: how long each lasted, and how long after its end the next one began, if its time was known."""
    at_ms = UNIX_MS
    made = []
    for number, (lasted_ms, pause_ms) in enumerate(starts):
        made.append(Boot(str(number), [number], lasted_ms, None if pause_ms is None else at_ms))
        at_ms += lasted_ms + (pause_ms or 0)
    boots = Boots([*made, Boot("now", [], 1, at_ms)], "now")
    before = 0
    for number, (lasted_ms, _) in enumerate(starts):
        given_ms = sorted(time_ms % (lasted_ms + 1) for time_ms in since_start_ms)
        dated = times(boots.date(number, body(*given_ms)))
        assert dated == sorted(dated)
        assert [b - a for a, b in pairwise(dated)] == [b - a for a, b in pairwise(given_ms)]
        assert dated[0] >= before
        assert dated[-1] <= at_ms
        before = dated[-1]


def test_starts_that_hold_nothing_are_forgotten() -> None:
    assert [boot.id for boot in Boots([Boot("a"), Boot("b", [2]), Boot("c")], "now").all] == ["b", "now"]


class Machine:
    """Its wall clock is `off_ms` off; what it was told outlasts its programs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.now_ms = 0
        self.off_ms = -UNIX_MS

    def start(self) -> Timekeeper:
        def clock(*, offset_ms: int | None) -> SteadyClock:
            wall = lambda: (self.now_ms + UNIX_MS + self.off_ms) * 1_000_000  # noqa: E731
            return SteadyClock(lambda: self.now_ms * 1_000_000, wall, lambda: True, offset_ms=offset_ms)

        return Timekeeper(self.folder, clock=clock)


async def test_a_program_that_is_killed_before_the_time_is_known_leaves_what_can_be_dated(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.start()
    first.begin(71)
    assert not first.settled.is_set()
    early = deflate(encode_body(body(1000)))
    machine.now_ms, machine.off_ms = 5000, 0
    second = machine.start()
    second.begin(72)
    assert second.settled.is_set()
    assert times(decode_body(inflate(second.date(71, early)))) == [UNIX_MS + 1000]
    assert second.date(72, early) == early  # nothing was made in it that counts from the start


async def test_the_time_that_was_found_outlasts_the_program_and_a_step(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.off_ms = 0
    machine.start().begin(71)
    machine.now_ms, machine.off_ms = 5000, -3_600_000
    assert machine.start().clock() == UNIX_MS + 5000


async def test_an_epoch_begins_once_the_time_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.timekeeping._LOOK_S", 0.01)
    monkeypatch.setattr("edge.timekeeping._GRACE_S", 0.01)
    machine = Machine(tmp_path)
    keeper = machine.start()
    keeper.begin(71)
    begun = asyncio.Event()

    async def next_epoch() -> None:
        begun.set()

    running = asyncio.create_task(keeper.run(next_epoch))
    machine.now_ms, machine.off_ms = 5000, 0
    async with asyncio.timeout(5):
        await keeper.settled.wait()
        await begun.wait()
    running.cancel()
    assert is_unix(keeper.clock())
    assert json.loads((tmp_path / FILE).read_text())[-1]["offset_ms"] == UNIX_MS


@pytest.mark.parametrize("content", ["", "[1]", '[{"id": 1, "wings": 2}]'])
def test_a_damaged_file_is_reported_and_worth_nothing(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(content)
    keeper = Machine(tmp_path).start()
    keeper.begin(1)
    assert "cannot be read" in caplog.text
    assert json.loads((tmp_path / FILE).read_text())[0]["epochs"] == [1]
