"""When doses are due: against Python's own calendar and time zones, minute by minute around each change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import schedule
from protocols.schedule import DAY, EVERY_DAY, Entry, Plan

EPOCH = datetime(1970, 1, 1)


def zone_of(name: str, year: int) -> list[list[int]]:
    """The offsets of a zone in a year, as a hub would send them: half an hour is fine enough for its changes."""
    zone: list[list[int]] = []
    for half_hour in range(366 * 48):
        at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * half_hour)
        offset = at.astimezone(ZoneInfo(name)).utcoffset()
        assert offset is not None
        minutes = int(offset.total_seconds()) // 60
        if not zone or zone[-1][1] != minutes:
            zone.append([int(at.timestamp()) if zone else 0, minutes])
    return zone


def shown(name: str, unix_s: int) -> int:
    """What Python says that the wall clock shows, as minutes since 1970."""
    wall = datetime.fromtimestamp(unix_s, ZoneInfo(name)).replace(tzinfo=None)
    return (wall - EPOCH) // timedelta(minutes=1)


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"])
def test_around_each_change_of_the_clocks(name: str) -> None:
    """Each local minute of the hours around a change is due at the first instant that shows it or a later one."""
    zone = zone_of(name, 2026)
    for change, _ in zone[1:] or [[1_789_999_980, 0]]:
        instants = range(change - 4 * 3600, change + 4 * 3600, 60)
        local = [shown(name, at) for at in instants]
        assert local == [schedule.local_minute(zone, at) for at in instants]
        for minute in range(local[0], max(local)):
            first = next(at for at, showing in zip(instants, local, strict=True) if showing >= minute)
            assert schedule.instant(zone, minute) == first


def test_the_clocks_of_berlin() -> None:
    zone = zone_of("Europe/Berlin", 2026)
    night = (datetime(2026, 3, 29, 2, 30) - EPOCH) // timedelta(minutes=1)
    assert datetime.fromtimestamp(schedule.instant(zone, night), UTC) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    twice = (datetime(2026, 10, 25, 2, 30) - EPOCH) // timedelta(minutes=1)
    assert datetime.fromtimestamp(schedule.instant(zone, twice), UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_journey() -> None:
    """From Berlin to New York at noon: the evening's dose is due at 21 h there; the past stays where it was."""
    noon = int(datetime(2026, 6, 1, 10, tzinfo=UTC).timestamp())
    zone = schedule.travelled([[0, 120]], noon, [[0, -240]])
    assert zone == [[0, 120], [noon, -240]]
    evening = (datetime(2026, 6, 1, 21) - EPOCH) // timedelta(minutes=1)
    assert datetime.fromtimestamp(schedule.instant(zone, evening), UTC) == datetime(2026, 6, 2, 1, tzinfo=UTC)
    morning = (datetime(2026, 6, 1, 8) - EPOCH) // timedelta(minutes=1)
    assert datetime.fromtimestamp(schedule.instant(zone, morning), UTC) == datetime(2026, 6, 1, 6, tzinfo=UTC)


entries = st.lists(st.tuples(st.integers(0, DAY - 1), st.integers(1, EVERY_DAY)), min_size=1, max_size=4)


@given(entries, st.integers(29_000_000, 31_000_000))
def test_the_next_occurrence_is_that_of_the_calendar(found: list[tuple[int, int]], after: int) -> None:
    plan = Plan(1, tuple(Entry(*entry) for entry in sorted(dict(found).items())), 60, 0, 1 << 40)
    expected = None
    for minute in range(after + 1, after + 1 + 7 * DAY + DAY):
        wall = EPOCH + timedelta(minutes=minute)
        of_day = wall.hour * 60 + wall.minute
        if any(entry.minute == of_day and entry.weekdays >> wall.weekday() & 1 for entry in plan.entries):
            expected = minute
            break
    assert schedule.next_after(plan, after) == expected


GOOD = Plan(1, (Entry(480, EVERY_DAY), Entry(1200, EVERY_DAY)), 3600, 7200, 1 << 40)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entries": ()}, "minutes"),
        ({"entries": (Entry(1200, 1), Entry(480, 1))}, "minutes"),
        ({"entries": (Entry(480, 1), Entry(480, 2))}, "minutes"),
        ({"entries": (Entry(1440, 1),)}, "minutes"),
        ({"entries": (Entry(480, 0),)}, "weekday"),
        ({"entries": (Entry(480, 128),)}, "weekday"),
        ({"window_s": 0}, "window"),
        ({"window_s": 720 * 60}, "window"),
        ({"least_gap_s": -1}, "gap"),
        ({"least_gap_s": 721 * 60}, "gap"),
    ],
)
def test_a_bad_plan(change: dict[str, object], said: str) -> None:
    assert schedule.problem_of(GOOD) == ""
    assert said in schedule.problem_of(GOOD._replace(**change))  # type: ignore[arg-type]
