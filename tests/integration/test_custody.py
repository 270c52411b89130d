"""What is read while the hub is away is held, and arrives afterwards: marked, and once."""

import asyncio
from pathlib import Path

import pytest

from bench.parts import ledger
from bench.parts.lab import Lab
from bench.parts.numbered import NumberedDevice
from hub.store.querying import Point
from runtime.process import free_port

LINK = """
[[links]]
name = "numbered"
kind = "mqtt"
port = {port}
devices = [{{ thing = "numbered-1", model = "kerb-wearable" }}]
"""


def stored(lab: Lab) -> list[Point]:
    stream = ledger.streams(lab.hub_data, "numbered-1").get(NumberedDevice.METRIC)
    return [] if stream is None else ledger.points(lab.hub_data, stream)


@pytest.mark.timeout(120)
async def test_what_is_read_while_the_hub_is_away_arrives_afterwards_marked_and_once(tmp_path: Path) -> None:
    port = free_port()
    lab = Lab(tmp_path / "lab", links=LINK.format(port=port))
    lab.prepare()
    device = NumberedDevice("numbered-1", port)
    device.admit(lab.directory / "gateway")
    device.start()
    try:
        lab.start("hub")
        await asyncio.to_thread(lab.enrol)
        lab.kill("hub")
        lab.start("gateway")
        for _ in range(200):
            device.make()
            await asyncio.sleep(0.005)
        while device.held():  # the gateway has taken them over, and there is no hub
            await asyncio.sleep(0.05)
        lab.start("hub")
        for _ in range(100):
            device.make()
            await asyncio.sleep(0.005)
        while len(stored(lab)) < 300:
            device.check()
            await asyncio.sleep(0.1)
        lab.kill("hub")
        device.make(100)
        while device.held():
            await asyncio.sleep(0.05)
        lab.start("hub")
        while len(stored(lab)) < 400:
            device.check()
            await asyncio.sleep(0.1)
    finally:
        await device.stop()
        lab.stop()
    assert ledger.values(stored(lab)) == list(range(1, 401))
    assert all(point.backfill for point in stored(lab)[300:])
