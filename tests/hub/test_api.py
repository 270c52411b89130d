"""The web API over HTTP, against a hub in processes of its own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.hub.conftest import RunningHub
from tests.hub.gateway import MODELS, aliases

PULSE = "/api/v1/things/wearable-1/streams/heart_rate/history"
POWER = "/api/v1/things/meter-1/streams/active_power/history"


@pytest.fixture
def http(running_hub: RunningHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running_hub.url) as client:
        yield client


def test_things_are_those_of_the_birth(http: httpx.Client) -> None:
    things = http.get("/api/v1/things").json()
    assert [thing["id"] for thing in things] == list(MODELS)
    assert things[1] == {
        "id": "cuff-1",
        "gateway": "block-1",
        "kind": "blood_pressure_cuff",
        "model": "and-ua-651ble",
        "maker": "A&D Medical",
        "name": {"en": "Blood-pressure cuff", "zh": "血压计"},
        "state": "online",
        "reason": "",
    }


def test_a_thing_comes_with_its_streams_and_their_latest_values(http: httpx.Client, running_hub: RunningHub) -> None:
    thing = http.get("/api/v1/things/wearable-1").json()
    assert [stream["metric"] for stream in thing["streams"]][:2] == ["heart_rate", "signal_quality"]
    assert thing["streams"][0] == {
        "thing": "wearable-1",
        "metric": "heart_rate",
        "unit": "/min",
        "name": {"en": "Heart rate", "zh": "心率"},
        "states": {},
        "stored": 120,
        "latest": {
            "time_ms": running_hub.now_ms,
            "value": 71.9,
            "text": "71.9",
            "quality": 0,
            "quality_name": "good",
            "backfill": False,
        },
    }
    assert thing["streams"][1]["latest"] is None


def test_latest_of_all_and_of_one(http: httpx.Client) -> None:
    assert len(http.get("/api/v1/latest").json()) == len(aliases())
    one = http.get("/api/v1/latest", params={"thing": "meter-1"}).json()
    assert {stream["thing"] for stream in one} == {"meter-1"}
    both = http.get("/api/v1/latest", params={"thing": ["meter-1", "wearable-1"]}).json()
    assert {stream["thing"] for stream in both} == {"meter-1", "wearable-1"}
    voltage = next(stream["latest"] for stream in one if stream["metric"] == "voltage")
    assert (voltage["value"], voltage["text"], voltage["quality_name"]) == (None, "", "bad: timeout")


def test_raw_history_keeps_every_decimal(http: httpx.Client, running_hub: RunningHub) -> None:
    end = running_hub.now_ms + 1
    history = http.get(PULSE, params={"from": end - 11_000, "to": end}).json()
    assert [row["text"] for row in history["readings"]] == [f"{70.9 + i / 10:.1f}" for i in range(11)]
    assert [row["text"] for row in history["readings"]][1] == "71.0"
    assert (history["unit"], history["truncated"], history["steps"]) == ("/min", False, None)


def test_the_span_holds_from_but_not_to(http: httpx.Client, running_hub: RunningHub) -> None:
    at = running_hub.now_ms
    for begin, end, count in ((at, at + 1, 1), (at - 1000, at, 1), (at + 1, at + 500, 0), (at, at, 0)):
        history = http.get(PULSE, params={"from": begin, "to": end}).json()
        assert len(history["readings"]) == count


def test_steps_have_min_mean_max_and_count(http: httpx.Client, running_hub: RunningHub) -> None:
    """Readings of 900.2 + 1.5 i W each second: a step of 10 s holds ten in a row, so its mean is that of its ends."""
    end = running_hub.now_ms + 1
    steps = http.get(POWER, params={"from": end - 120_000, "to": end, "step": 10_000}).json()["steps"]
    assert sum(step["count"] for step in steps) == 120
    assert len(steps) in (12, 13)
    for step in steps:
        assert step["time_ms"] % 10_000 == 0
        assert step["max"] - step["min"] == pytest.approx(1.5 * (step["count"] - 1))
        assert step["mean"] == pytest.approx((step["min"] + step["max"]) / 2)
    assert (min(s["min"] for s in steps), max(s["max"] for s in steps)) == (900.2, 900.2 + 1.5 * 119)


def test_custody_balances(http: httpx.Client) -> None:
    custody = {one["thing"]: one for one in http.get("/api/v1/custody").json()}
    assert set(custody) == set(MODELS)
    wearable = custody["wearable-1"]
    assert wearable["read"] == wearable["suppressed"] + wearable["stored"] + wearable["declared_lost"] == 240
    assert wearable["duplicates"] == 0
    assert 0 < wearable["p50_ms"] <= wearable["p99_ms"]
    assert custody["gps-1"]["p50_ms"] is None


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/things/nobody", 404, "thing"),
        ("/api/v1/things/a%20b", 422, "thing"),
        ("/api/v1/latest?thing=nobody", 404, "thing"),
        ("/api/v1/latest?thing=meter-1&thing=nobody", 404, "thing"),
        ("/api/v1/latest?thing=a%20b", 422, "thing.0"),
        (PULSE.replace("heart_rate", "wings"), 404, "metric"),
        (PULSE + "?from=abc", 422, "from"),
        (PULSE + "?from=-1", 422, "from"),
        (PULSE + "?from=20&to=10", 422, "from"),
        (PULSE + "?to=99999999999999999999", 422, "to"),
        (PULSE + "?step=0", 422, "step"),
        ("/api/v1/gateways/nobody/backlog", 404, "gateway"),
        ("/api/v1/gateways/block-1/backlog?from=20&to=10", 422, "from"),
        ("/api/v1/gateways/block-1/backlog?step=1000", 422, "step"),
        (PULSE + "?from=0&to=1000000000&step=1", 422, "step"),
    ],
)
def test_an_error_names_the_field(http: httpx.Client, path: str, status: int, field: str) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["reason"]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/api/v1/things"), ("GET", "/api/v1/wings")])
def test_a_wrong_path_or_method_is_a_problem_too(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert path in answer.json()["detail"]


def test_a_gateway_has_its_account(http: httpx.Client, running_hub: RunningHub) -> None:
    """250 + 240 were counted, 121 suppressed, 120 + 240 stored, 4 gave way: 5 are held."""
    (gateway,) = http.get("/api/v1/gateways").json()
    status = gateway.pop("status")
    assert 0 < gateway.pop("since_ms") - running_hub.now_ms < 60_000
    assert gateway == {
        "id": "block-1",
        "name": {"en": "Block 1", "zh": "一号楼"},
        "state": "online",
        "packs_set_aside": 0,
        "packs_skipped": 0,
        "equation": {
            "read": 490,
            "suppressed": 121,
            "stored": 360,
            "buffered": 5,
            "declared_lost": 4,
            "missing": 0,
            "twice": 0,
        },
    }
    assert 0 < status.pop("heard_ms") - running_hub.now_ms < 60_000
    assert status == {
        "oldest_age_ms": 90_000,
        "held": {"urgent": 0, "bulk": 5},
        "outbox_bytes": 4096,
        "outbox_limit_bytes": 512 << 20,
        "failure": "",
    }


def test_the_backlog_of_a_gateway(http: httpx.Client, running_hub: RunningHub) -> None:
    rows = http.get("/api/v1/gateways/block-1/backlog").json()
    assert [row["readings"] for row in rows] == [*range(300, 0, -10), 5]
    assert rows[0]["age_ms"] == 30_000
    halves = http.get("/api/v1/gateways/block-1/backlog", params={"step": 900_000}).json()
    assert max(row["readings"] for row in halves) == 300
    assert len(halves) in (3, 4)


def test_health_and_the_description_of_the_api(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok", "things": 5}
    described = http.get("/openapi.json").json()
    assert {"/api/v1/things", "/api/v1/latest", "/api/v1/custody", "/healthz"} <= set(described["paths"])
    history = described["paths"]["/api/v1/things/{thing}/streams/{metric}/history"]["get"]
    assert [one["name"] for one in history["parameters"]] == ["thing", "metric", "from", "to", "step"]
    assert "Problem" in described["components"]["schemas"]
    assert "://" not in http.get("/docs").text
