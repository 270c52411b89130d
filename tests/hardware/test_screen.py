"""The demo's screen: every device a line, in the person's language."""

import pytest

from hardware.sim.block import THINGS
from hardware.sim.screen import rows, word

GATEWAY = {
    "things": {
        "wearable-1": {
            "model": "kerb-wearable",
            "state": "online",
            "read": 26,
            "suppressed": 12,
            "buffered": 0,
            "last": {"heart_rate": {"text": "72.4", "unit": "/min", "quality": "good", "time_ms": 0}},
        },
        "cuff-1": {
            "model": "and-ua-651ble",
            "state": "waiting",
            "last": {"systolic": {"text": "", "unit": "mm[Hg]", "quality": "bad: invalid", "time_ms": 0}},
        },
    }
}
HUB = [{"thing": "wearable-1", "stored": 14}]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "在线"),
        ({"LANG": "en_GB.UTF-8"}, "online"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "online"),
        ({}, "online"),
    ],
)
def test_words_follow_the_locale(environ, expected):
    assert word("online", environ=environ) == expected


def test_every_device_has_a_line_even_before_anybody_answers():
    assert [row.thing for row in rows(None, None)] == list(THINGS)
    assert {row.state for row in rows(None, None)} == {"starting"}


def test_a_line_shows_value_state_and_the_terms_of_the_equation(monkeypatch):
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    shown = {row.thing: row for row in rows(GATEWAY, HUB)}
    assert shown["wearable-1"].last == "Heart rate 72.4 /min"
    assert shown["wearable-1"].counts == ("26", "12", "0", "14")
    assert shown["cuff-1"].last == "Systolic pressure bad: invalid"
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert rows(GATEWAY, HUB)[0].last == "心率 72.4 /min"
