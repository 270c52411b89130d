"""The page's words and numbers, and the chart's options: pure functions."""

import pytest

from hub.page import backlog, chart
from hub.page.accounts import at_least, by_trouble
from hub.page.numbers import number, shown, size, span
from hub.page.texts import language_of, quality_text, unit_text, word
from hub.store.accounts import Account, Backlog, Heard
from hub.store.querying import Point, StreamNow
from hub.store.readings import Stored
from hub.store.steps import Step
from hub.values import exact_text
from protocols.reading import BAD_REFUSED, refused
from tests.hub.gateway import status_of


@pytest.mark.parametrize(
    ("accept", "chosen", "language"),
    [
        ("", None, "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", None, "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", None, "en"),
        ("fr-FR,zh;q=0.5,en;q=0.4", None, "zh"),
        ("de", None, "en"),
        ("zh;q=x,en", None, "en"),
        ("zh-CN", "en", "en"),
        ("en", "zh", "zh"),
        ("en", "klingon", "en"),
    ],
)
def test_language(accept: str, chosen: str | None, language: str) -> None:
    assert language_of(accept, chosen) == language


def test_units_for_people() -> None:
    assert [unit_text(unit, "en") for unit in ("mm[Hg]", "Cel", "/min", "%", "V.A", "kW.h", "1")] == [
        "mmHg", "°C", "/min", "%", "VA", "kWh", "",
    ]  # fmt: skip
    assert unit_text("/min", "zh") == "次/分"
    assert unit_text("mol/(m2.s)", "zh") == "mol/(m2.s)"


def test_words_and_qualities() -> None:
    assert word("offline", "zh") == "离线"
    assert word("no answer from 10.0.0.7", "zh") == "no answer from 10.0.0.7"
    assert quality_text(0x80, "en") == ""  # good, at an estimated time
    assert quality_text(0x80 | 19, "zh") == "校验错误"
    assert quality_text(BAD_REFUSED, "en") == "refused"
    assert quality_text(refused(2), "zh") == "被拒绝 (2)"


@pytest.mark.parametrize(
    ("value", "exponent", "unit", "text"),
    [
        (37.6, -2, "Cel", "37.60"),
        (2.0, -2, "mmol/L", "2.00"),
        (1200.0, 2, "1", "1200"),
        (-0.05, -2, "1", "-0.05"),
        (230.1999969482422, None, "V", "230.2"),
        (-0.001, None, "A", "0.00"),
        (12345.6, None, "W", "12,346"),
        (97, None, "%", "97"),
        (b"\x01", None, "1", "yes"),
        ("open", None, "1", "open"),
        (None, None, "V", "–"),
    ],
)
def test_a_value_shows_the_decimals_it_is_worth(value: Stored, exponent: int | None, unit: str, text: str) -> None:
    stream = StreamNow(1, "t", "m", unit, {}, {}, Point(0, value, exponent, 0, False), 1)
    assert shown(stream, "en") == text


@pytest.mark.parametrize(
    ("value", "language", "text"),
    [(0, "en", "closed"), (1, "zh", "打开"), (b"\x01", "en", "open"), (7, "en", "7"), ("1", "en", "1")],
)
def test_a_state_has_its_name(value: Stored, language: str, text: str) -> None:
    states = {0: {"en": "closed", "zh": "关闭"}, 1: {"en": "open", "zh": "打开"}}
    stream = StreamNow(1, "t", "door", "1", {}, states, Point(0, value, None, 0, False), 1)
    assert shown(stream, language) == text


def test_a_converted_speed_is_shown_with_what_a_person_can_use() -> None:
    stream = StreamNow(1, "t", "speed", "m/s", {}, {}, Point(0, 1.43998, -5, 0, False), 1)
    assert shown(stream, "en") == "1.4"


def test_numbers_of_no_known_unit_have_four_digits() -> None:
    assert number(3.14159265, None) == "3.142"


def test_exact_text_survives_every_three_digit_fraction() -> None:
    for mantissa in range(-999, 1000):
        sign = "-" if mantissa < 0 else ""
        assert exact_text(mantissa / 100, -2) == f"{sign}{abs(mantissa) // 100}.{abs(mantissa) % 100:02d}"


def test_silence_breaks_the_line() -> None:
    steps = [Step(0, 1, 1, 1, 1, 1), Step(5_000, 2, 2, 2, 2, 1), Step(60_000, 3, 3, 3, 3, 1)]
    dots = chart.with_gaps(steps, 5_000, 15_000)
    assert [(time, step.mean if step else None) for time, step in dots] == [
        (2_500, 1), (7_500, 2), (12_500, None), (62_500, 3),
    ]  # fmt: skip


def test_the_summary_weighs_steps_by_their_counts() -> None:
    assert chart.summary([Step(0, 1, 2, 3, 2, 3), Step(5_000, 0, 10, 20, 10, 1)]) == (0, 4, 20)
    assert chart.summary([]) is None


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "< 1 s"), (52_300, "52 s"), (89_900, "90 s"), (90_000, "1.5 min"), (5_399_000, "90 min"), (5_400_000, "1.5 h"),
     (172_799_000, "48 h"), (172_800_000, "2.0 d"), (30 * 86_400_000, "30 d")],
)  # fmt: skip
def test_spans_of_time(ms: float, text: str) -> None:
    assert span(ms, "en") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4096, "4.0 kB"), (512 << 20, "512 MB"), (64 << 30, "64 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def made_account(
    gateway: str, *, buffered: int = 0, missing: int = 0, online: bool = True, failure: str = ""
) -> Account:
    status = status_of([], readings=buffered, oldest_ms=0, time_ms=10_000, failure=failure)
    terms = {"read": 100, "suppressed": 0, "stored": 100, "declared_lost": 0, "twice": 0}
    heard = Heard(10_000, status, buffered, 10_000)
    return Account(gateway, online, 0, **terms, buffered=buffered, missing=missing, heard=heard)


def test_gateways_that_need_a_person_come_first() -> None:
    accounts = [
        made_account("a"),
        made_account("b", buffered=5),
        made_account("c", online=False),
        made_account("d", failure="full"),
        made_account("e", missing=1),
        made_account("f", buffered=9),
    ]
    assert [account.gateway for account in by_trouble(accounts)] == ["e", "d", "c", "f", "b", "a"]


def test_while_a_gateway_is_off_line_what_it_holds_is_the_least_and_grows_older() -> None:
    online, away = made_account("a", buffered=5), made_account("a", buffered=5, online=False)
    assert (at_least("5", online), at_least("5", away)) == ("5", "≥ 5")
    assert (online.oldest_age_ms(70_000), away.oldest_age_ms(70_000)) == (10_000, 70_000)


def test_the_backlog_breaks_where_nothing_was_heard() -> None:
    rows = [Backlog(0, 5, 0), Backlog(60_000, 7, 0), Backlog(600_000, 9, 0)]
    assert backlog.dots(rows, 60_000) == [[0, 5], [60_000, 7], [120_000, None], [600_000, 9]]


def test_the_backlog_of_a_gateway_that_is_away_goes_on_dashed() -> None:
    rows = [Backlog(0, 5, 0)]
    drawn = {"buffered": 5, "heard_ms": 30_000, "language": "en", "now_ms": 90_000, "range_name": "1h"}
    known, least = backlog.options(rows, online=False, **drawn)["series"]
    assert (known["data"], least["data"]) == ([[0, 5]], [[30_000, 5], [90_000, 5]])
    known, least = backlog.options(rows, online=True, **drawn)["series"]
    assert (known["data"], least["data"]) == ([[0, 5], [90_000, 5]], [])
