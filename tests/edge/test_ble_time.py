"""A device's own clock: what its dates mean, whether it is right or wrong."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.links.ble_time import DeviceClock
from protocols import gatt
from protocols.reading import TIME_ESTIMATED

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z, a day of summer time in Berlin
HOUR_MS = 3_600_000


def clock(zone: ZoneInfo = SHANGHAI, now_ms: int = NOW_MS) -> DeviceClock:
    return DeviceClock(lambda: now_ms, zone)


def test_a_right_clock_is_believed_in_its_zone() -> None:
    here = clock()
    here.read("2026-09-21T22:13:50")  # 30 s ahead
    assert not here.wrong
    assert here.time_of("2026-09-21T21:13:20") == (NOW_MS - HOUR_MS, 0)
    assert clock(BERLIN).time_of("2026-09-21T15:13:20") == (NOW_MS - HOUR_MS, 0)


def test_while_ours_is_unknown_nothing_is_known_of_its_clock_and_it_is_not_set() -> None:
    here = clock(now_ms=40_000)  # since the machine's start
    here.read("2020-01-01T02:00:00")
    assert not here.wrong
    assert not here.may_be_set
    assert here.time_of("2026-09-21T21:13:20") == (NOW_MS - HOUR_MS, TIME_ESTIMATED)
    assert here.time_of(None) == (40_000, 0)
    assert clock().may_be_set


def test_a_glucose_meters_offset_is_added() -> None:
    assert clock().time_of("2026-09-21T20:13:20", offset_min=60) == (NOW_MS - HOUR_MS, 0)


def test_a_wrong_clock_is_reckoned_with() -> None:
    here = clock()
    here.read("2020-01-01T02:00:00")
    assert here.wrong
    assert here.time_of("2020-01-01T01:00:00") == (NOW_MS - HOUR_MS, TIME_ESTIMATED)


def test_what_is_made_after_the_clock_was_set_is_right() -> None:
    here = clock()
    here.read("2026-09-22T00:13:20")  # two hours ahead
    here.was_set()
    assert here.time_of("2026-09-21T22:13:25") == (NOW_MS, 0)
    assert here.time_of("2026-09-21T23:13:20") == (NOW_MS - HOUR_MS, TIME_ESTIMATED)


@pytest.mark.parametrize("text", ["0000-00-00T00:00:00", "2026-00-21T21:00:00", "2026-02-30T00:00:00", ""])
def test_a_date_that_is_none_gives_the_time_of_arrival(text: str) -> None:
    assert clock().time_of(text) == (NOW_MS, TIME_ESTIMATED)


def test_a_record_without_a_date_was_made_now_unless_it_was_stored() -> None:
    assert clock().time_of(None) == (NOW_MS, 0)
    assert clock().time_of(None, stored=True) == (NOW_MS, TIME_ESTIMATED)


@pytest.mark.parametrize("text", ["2026-09-21T22:15:00", "2036-09-21T22:13:20", "2010-01-01T00:00:00"])
def test_a_date_that_cannot_be_right_gives_the_time_of_arrival(text: str) -> None:
    assert clock().time_of(text) == (NOW_MS, TIME_ESTIMATED)


def test_old_records_are_believed_where_the_clock_is_seen_to_be_right() -> None:
    here = clock()
    here.read("2026-09-21T22:13:20")
    assert here.time_of("2023-09-21T22:13:20") == (NOW_MS - 1096 * 24 * HOUR_MS, 0)


def test_the_hour_that_comes_twice_is_marked() -> None:
    after = 1_792_900_000_000  # 2026-10-25T03:46:40Z; Berlin's summer time ended at 01:00Z
    assert clock(BERLIN, after).time_of("2026-10-25T02:30:00") == (1_792_888_200_000, TIME_ESTIMATED)
    assert clock(BERLIN, after).time_of("2026-10-25T03:30:00") == (1_792_895_400_000, 0)


def test_what_is_written_is_our_local_time() -> None:
    # 2026-09-21 22:13:20, a Monday, no fraction, external reference
    assert clock().current_time().hex() == "ea070915160d14" + "01" + "00" + "02"
    assert clock().date_time().hex() == "ea070915160d14"


@given(st.integers(1, 9999), st.integers(1, 12), st.integers(1, 28), st.integers(-1500, 1500))
def test_no_date_gives_a_time_after_now(year: int, month: int, day: int, offset: int) -> None:
    for zone in (SHANGHAI, None):
        here = DeviceClock(lambda: NOW_MS, zone)
        time_ms, mark = here.time_of(f"{year:04}-{month:02}-{day:02}T12:00:00", offset_min=offset)
        assert time_ms <= NOW_MS
        assert mark in (0, TIME_ESTIMATED)


def test_the_current_time_is_what_the_codec_reads() -> None:
    assert gatt.decode(gatt.CURRENT_TIME, clock().current_time())[0].value == "2026-09-21T22:13:20"
