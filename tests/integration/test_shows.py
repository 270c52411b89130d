"""A hub and a gateway show what they do: what waits at the gateway, that it adds up, and each documented figure."""

import asyncio
import contextlib
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bench.parts.lab import Lab
from bench.parts.numbered import NumberedDevice
from hardware.sim.block import GATEWAY
from runtime import metrics
from runtime.process import free_port

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTED = (
    "hub.md",
    "hub.zh.md",
    "gateway.md",
    "gateway.zh.md",
    "monitoring/alarms.yml",
    "monitoring/dashboard.json",
)
ONLY_WHEN_SOMETHING_FAILS = {"kerb_ingest_failure", "kerb_gateway_events_total"}

LINKS = """
[[links]]
name = "numbered"
kind = "mqtt"
port = {broker}
devices = [{{ thing = "numbered-1", model = "kerb-wearable" }}]
"""


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Lab, NumberedDevice]]:
    """Hub and gateway with one device."""
    broker = free_port()
    lab = Lab(folder, links=LINKS.format(broker=broker))
    lab.prepare()
    device = NumberedDevice("numbered-1", broker)
    device.admit(folder / "gateway")
    try:
        lab.start("hub")
        await asyncio.to_thread(lab.enrol)
        lab.start("gateway")
        device.start()
        yield lab, device
        await device.stop()
    finally:
        await asyncio.to_thread(lab.stop)


async def until(ask: Callable[[], Any]) -> Any:
    """The first answer that is true."""
    async with asyncio.timeout(40):
        while not (answer := await asyncio.to_thread(ask)):
            await asyncio.sleep(0.1)
        return answer


def figures(port: int) -> dict[str, float]:
    """name,labels -> value of what a program tells Prometheus; nothing while it does not answer."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = metrics.parsed(answer.read().decode()).values()
        return {",".join([one.name, *one.labels.values()]): one.value for each in found for one in each.samples}
    return {}


def gateway(lab: Lab) -> dict[str, Any]:
    """The gateway as the hub's API tells of it."""
    found: list[dict[str, Any]] = lab.hub("/api/v1/gateways") or []
    return found[0] if found else {"equation": {"stored": 0}, "status": None}


def not_told(told: set[str]) -> set[tuple[str, str]]:
    """(file, name) of what our documents name and no program tells, or no document explains."""
    told = told | {name.removesuffix("_bucket") for name in told} | ONLY_WHEN_SOMETHING_FAILS
    texts = {file: (DOCS / file).read_text(encoding="utf-8") for file in DOCUMENTED}
    found = {(file, name) for file, text in texts.items() for name in re.findall(r"\bkerb_[a-z_]+[a-z]\b", text)}
    alarms = re.findall(r"alert: (\w+)", texts["monitoring/alarms.yml"])
    unexplained = {
        (page, alarm) for page in ("hub.md", "hub.zh.md") for alarm in alarms if f"`{alarm}`" not in texts[page]
    }
    return {(file, name) for file, name in found if name not in told} | unexplained


@pytest.mark.timeout(120)
async def test_what_waits_at_the_gateway_is_shown_there_and_at_the_hub(tmp_path: Path) -> None:
    async with running(tmp_path) as (lab, device):
        device.make(20)
        await until(lambda: gateway(lab)["equation"]["stored"] == 20)
        lab.signal("ingest", signal.SIGSTOP)  # the broker takes what the gateway sends, and nobody stores it
        device.make(30)
        await until(lambda: figures(lab.page_port).get("kerb_gateway_held_readings,bulk") == 30)
        assert (await until(lambda: figures(lab.hub_port)))["kerb_hub_storing"] == 0
        await until(lambda: figures(lab.page_port)["kerb_gateway_oldest_held_age_seconds,bulk"] > 9)  # and was told
        lab.kill("ingest")
        await until(lambda: gateway(lab)["equation"]["stored"] == 50)
        now = await until(lambda: gateway(lab) if gateway(lab)["status"]["held"]["bulk"] == 0 else None)
        assert now["equation"] == {
            "read": 50, "stored": 50, "suppressed": 0, "buffered": 0, "declared_lost": 0, "missing": 0, "twice": 0,
        }  # fmt: skip
        backlog = lab.hub(f"/api/v1/gateways/{GATEWAY}/backlog")
        assert max(row["readings"] for row in backlog) == 30  # told when ingest was back
        ours = figures(lab.page_port)
        terms = {term: ours[f"kerb_gateway_readings_{term}_total,numbered-1"] for term in ("read", "stored")}
        assert terms == {"read": 50, "stored": 50}
        lab.kill("gateway")  # its counts are not on disk yet, but the hub knows them
        lab.start("gateway")
        await until(lambda: figures(lab.page_port).get("kerb_gateway_readings_read_total,numbered-1") == 50)
        told = {name.split(",")[0] for port in (lab.hub_port, lab.page_port) for name in figures(port)}
    assert not_told(told) == set()
