"""The gateway's local page: what a technician sees, in both languages, and metrics that Prometheus can read."""

from edge.metrics import exposition
from edge.page import quality_of, render
from edge.pipeline import ThingState
from hardware.catalogue import catalogue
from protocols.reading import GOOD, STALE, UNCERTAIN, reading
from runtime import metrics
from runtime.metrics import Histogram

STATUS = {
    "gateway": "gw-1",
    "things": {
        "meter-1": {
            "name": {"en": "Energy meter", "zh": "电能表"},
            "state": "offline",
            "reason": 'no answer from <10.0.0.1> & "port"',
            "read": 10,
            "suppressed": 4,
            "stored": 0,
            "buffered": 6,
            "declared_lost": 0,
            "counters": {"timeouts": 3},
            "last": {
                "voltage": {
                    "name": {"en": "Voltage", "zh": "电压"},
                    "text": "230.20",
                    "state": None,
                    "unit": "V",
                    "quality": "good",
                    "time_ms": 0,
                },
                "current": {
                    "name": {"en": "Current", "zh": "电流"},
                    "text": "",
                    "state": None,
                    "unit": "A",
                    "quality": "bad: timeout",
                    "time_ms": 0,
                },
                "frequency": {
                    "name": {"en": "Frequency", "zh": "频率"},
                    "text": "50.01",
                    "state": None,
                    "unit": "Hz",
                    "quality": "stale",
                    "time_ms": 0,
                },
                "relay": {
                    "name": {"en": "Relay", "zh": "继电器"},
                    "text": "1",
                    "state": {"en": "closed", "zh": "闭合"},
                    "unit": "1",
                    "quality": "good",
                    "time_ms": 0,
                },
            },
        }
    },
    "updates": {
        "meter-1": {"version": 1, "wanted": 2, "state": "taking", "percent": 40, "reason": "<b>"},
    },
    "counters": {"connect_failures": 2},
    "lanes": {"urgent": {"readings": 0, "oldest_age_ms": 0}, "bulk": {"readings": 6, "oldest_age_ms": 1500}},
    "uplink": {
        "online": False,
        "reason": "connection refused",
        "sessions": 1,
        "packs_sent": 7,
        "backfill_sent": 0,
        "refusals": 0,
        "dropped": 0,
    },
    "outbox": {
        "epoch": 1,
        "bytes": 512,
        "max_bytes": 1024,
        "disk_free": 1 << 30,
        "uncommitted": 2,
        "failing": False,
        "failure": "",
        "damages": 0,
    },
    "alarms": [
        {
            "rule": "undervoltage",
            "name": {"en": "Voltage <low>", "zh": "电压过低"},
            "thing": "meter-1",
            "onset_ms": 1_900_000_000_000,
            "state": "active",
            "priority": "high",
            "metric": "voltage",
            "text": "189.50",
        }
    ],
    "outputs": {"failures": 1},
    "commands": {"pending": 1, "limit": 2048},
    "parts": {"uplink": {"running": True, "restarts": 2, "reason": ""}},
}
NAME = {"en": "Home", "zh": "家"}


def test_the_page_in_each_language_and_in_both():
    english = render(STATUS, NAME, ["en"])
    chinese = render(STATUS, NAME, ["zh"])
    both = render(STATUS, NAME, ["en", "zh"])
    for text in ("Energy meter", "Voltage", "230.20 V", "bad: timeout", "closed", "offline", "connection refused"):
        assert text in english
    for text in ("电能表", "电压", "230.20 V", "闭合", "离线", "家"):
        assert text in chinese
        assert text in both
    assert "电" not in english
    assert "50.01 (stale) Hz" in english
    assert "50.01 (已过时) Hz" in chinese


def test_alarms_are_told_in_both_languages():
    assert (
        "Voltage &lt;low&gt;</b> · meter-1 · active · high · since <time>2030-03-17 17:46:40Z</time> voltage 189.50"
        in render(STATUS, NAME, ["en"])
    )
    assert "电压过低</b> · meter-1 · 激活 · 高 · 始于" in render(STATUS, NAME, ["zh"])


def test_what_a_device_said_last_is_stale_once_it_is_gone():
    oximeter = ThingState(catalogue()["nonin-3230"])
    pulse, doubtful = reading("pulse_rate", 71, "/min"), reading("pulse_rate", 71, "/min", UNCERTAIN)
    for state, quality in (("waiting", GOOD), ("online", GOOD), ("offline", STALE)):
        oximeter.state = state
        assert quality_of(oximeter, pulse) == quality
        assert quality_of(oximeter, doubtful) == UNCERTAIN


def test_how_much_waits_and_since_when():
    assert "Held for the hub: 6 (oldest: 0:00:01)" in render(STATUS, NAME, ["en"])
    assert "等待送达: 6 (最早: 0:00:01)" in render(STATUS, NAME, ["zh"])
    lane = {"readings": 0, "oldest_age_ms": 0}
    assert "Held for the hub: 0</p>" in render({**STATUS, "lanes": {"urgent": lane, "bulk": lane}}, NAME, ["en"])


def test_a_storage_that_fails_is_told_first():
    failing = {**STATUS, "outbox": {**STATUS["outbox"], "failure": "database or disk is full"}}
    assert "cannot be written: database or disk is full" in render(failing, NAME, ["en"])
    assert "存储无法写入" in render(failing, NAME, ["zh"])
    assert "cannot be written" not in render(STATUS, NAME, ["en"])
    damaged = {**STATUS, "outbox": {**STATUS["outbox"], "damages": 2}}
    assert "was damaged" in render(damaged, NAME, ["en"])
    assert "存储曾损坏" in render(damaged, NAME, ["zh"])
    assert "was damaged" not in render(STATUS, NAME, ["en"])


def test_what_comes_from_outside_is_escaped():
    page = render(STATUS, NAME, ["en"])
    assert "<10.0.0.1>" not in page
    assert "&lt;10.0.0.1&gt; &amp;" in page


def test_every_figure_is_told_to_prometheus():
    commit_s = Histogram("kerb_gateway_outbox_commit_seconds", "Commits", buckets=(0.1, 1.0), registry=None)
    commit_s.observe(0.5)
    text = exposition(STATUS, commit_s)
    for line in (
        'kerb_gateway_readings_read_total{thing="meter-1"} 10.0',
        'kerb_gateway_readings_buffered{thing="meter-1"} 6.0',
        'kerb_gateway_events_total{event="timeouts",thing="meter-1"} 3.0',
        'kerb_gateway_alarms{priority="high",state="active"} 1.0',
        'kerb_gateway_alarms{priority="low",state="shelved"} 0.0',
        "kerb_gateway_outputs_failures_total 1.0",
        'kerb_gateway_events_total{event="connect_failures",thing=""} 2.0',
        'kerb_gateway_thing_online{thing="meter-1"} 0.0',
        'kerb_gateway_held_readings{lane="bulk"} 6.0',
        'kerb_gateway_oldest_held_age_seconds{lane="bulk"} 1.5',
        "kerb_gateway_uplink_online 0.0",
        "kerb_gateway_uplink_packs_sent_total 7.0",
        'kerb_gateway_outbox_commit_seconds_bucket{le="0.1"} 0.0',
        'kerb_gateway_outbox_commit_seconds_bucket{le="1.0"} 1.0',
        "kerb_gateway_outbox_failing 0.0",
        "kerb_gateway_outbox_uncommitted_packs 2.0",
        'kerb_gateway_part_restarts_total{part="uplink"} 2.0',
        "kerb_gateway_commands_pending 1.0",
    ):
        assert line in text.splitlines()
    assert metrics.parsed(text)["kerb_gateway_process_open_fds"].samples[0].value > 2
