"""The hub's figures: those of a running hub, and what is told when nothing can be stored."""

import asyncio
import contextlib
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from hub import ingest_metrics
from hub.ingest_metrics import SOCKET, IngestMetrics
from hub.intake import Intake
from hub.store.querying import Querying
from hub.store.writing import Writer
from runtime import metrics
from runtime.metrics import Metric
from runtime.mqtt import Message
from runtime.process import free_port
from tests.hub.conftest import RunningHub, end_hub, processes, start_hub
from tests.hub.gateway import ID, birth


def figures(url: str) -> dict[str, Metric]:
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return metrics.parsed(answer.text)


def value(found: dict[str, Metric], name: str, suffix: str = "", **labels: str) -> float:
    (one,) = [each.value for each in found[name].samples if (each.name, each.labels) == (name + suffix, labels)]
    return one


def test_every_term_of_the_equation_is_told(running_hub: RunningHub) -> None:
    found = figures(running_hub.url)
    counted = {
        term: value(found, f"kerb_hub_readings_{term}", "_total", gateway=ID)
        for term in ("read", "suppressed", "stored", "declared_lost")
    }
    held = {term: value(found, f"kerb_hub_readings_{term}", gateway=ID) for term in ("buffered", "missing", "twice")}
    assert counted == {"read": 490, "suppressed": 121, "stored": 360, "declared_lost": 4}
    assert held == {"buffered": 5, "missing": 0, "twice": 0}
    assert value(found, "kerb_hub_gateway_held_readings", gateway=ID, lane="bulk") == 5
    assert value(found, "kerb_hub_gateway_oldest_held_age_seconds", gateway=ID) == 90
    assert value(found, "kerb_hub_lag_seconds", "_count") == 360
    assert value(found, "kerb_hub_messages", "_total", outcome="packs_store") == 120


def test_ingest_tells_its_own_figures_through_web(running_hub: RunningHub) -> None:
    found = figures(running_hub.url)
    assert value(found, "kerb_hub_storing") == value(found, "kerb_ingest_online") == 1
    assert value(found, "kerb_ingest_sessions", "_total") >= 1
    assert value(found, "kerb_ingest_batch_messages", "_sum") >= 121  # the packs and the birth
    assert value(found, "kerb_ingest_commit_seconds", "_count") == value(found, "kerb_ingest_batch_messages", "_count")
    assert (
        0
        < value(found, "kerb_ingest_commit_seconds", "_sum")
        <= value(found, "kerb_ingest_transaction_seconds", "_sum")
    )
    assert value(found, "kerb_ingest_dropped", "_total") == 0
    assert value(found, "kerb_ingest_process_open_fds") > 2


@contextlib.asynccontextmanager
async def served(told: IngestMetrics, data: Path) -> AsyncIterator[None]:
    task = asyncio.create_task(told.serve(data))
    async with asyncio.timeout(5):
        while not (data / SOCKET).exists():
            await asyncio.sleep(0.01)
        yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_why_nothing_is_stored(tmp_path: Path) -> None:
    told = IngestMetrics(512)
    assert (await ingest_metrics.ask(tmp_path)).failure == "ingest does not answer"
    async with served(told, tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
        assert (await ingest_metrics.ask(tmp_path)).failure == "ingest has no session with the broker"
        told.online.set(1)
        assert (await ingest_metrics.ask(tmp_path)).failure == ""
        told.failed('database or disk is "full"')
        now = await ingest_metrics.ask(tmp_path)
        assert now.failure == 'database or disk is "full"'
        assert value(metrics.parsed(now.text), "kerb_ingest_failing") == 1
        told.stored(1, transaction_s=0.1, commit_s=0.1)
        now = await ingest_metrics.ask(tmp_path)
        assert (now.failure, value(metrics.parsed(now.text), "kerb_ingest_failures", "_total")) == ("", 1)


def test_a_full_disk_is_the_reason_that_intake_gives(writer: Writer, querying: Querying) -> None:
    """A file that may not grow is what SQLite sees on a full disk."""
    intake = Intake(writer, "one")
    writer._db.execute("PRAGMA max_page_count = 1")  # not below what there is
    answer = intake.take(
        [Message(f"g/gateway-{number}/birth", birth(gateway=f"gateway-{number}"), True) for number in range(64)]
    )
    assert answer.failure == "database or disk is full"
    writer._db.execute("PRAGMA max_page_count = 100000")
    answer = intake.take([Message(f"g/{ID}/birth", birth(), True)])
    assert (answer.failure, len(querying.gateways())) == ("", 1)
    assert 0 < answer.commit_s <= answer.transaction_s


@pytest.mark.timeout(60)
def test_health_says_when_ingest_is_away(tmp_path: Path) -> None:
    port = free_port()
    process = start_hub(tmp_path / "hub", port, free_port())
    try:
        (ingest,) = processes("hub", "ingest", "--data", str(tmp_path / "hub"))
        os.kill(ingest, signal.SIGSTOP)
        answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.json()["detail"] == "ingest: ingest does not answer"
        assert "kerb_hub_storing 0" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        os.kill(ingest, signal.SIGCONT)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == 200
    finally:
        end_hub(process)
