"""The simulated Bluetooth devices as a process of their own."""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.links.ble import BleLink
from tests.edge.ble_room import CUFF, CUFF_HERE, NOW_MS, OXIMETER, OXIMETER_HERE, Room, radio_room, running
from tests.edge.recorder import Recorder


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


@asynccontextmanager
async def simulator(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "hardware.sim.ble", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_simulator_as_a_process(tmp_path: Path):
    told = Recorder()
    async with simulator("--hci-port=0", "--cuff", CUFF, "--oximeter", OXIMETER, "--period=1.5") as process:
        assert process.stdout
        ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        port = re.match(r"ready: HCI on 127\.0\.0\.1:(\d+);", ready)
        assert port, ready
        for _ in range(2):  # the second as a gateway that was started again
            told.readings.clear()
            link = BleLink(
                name="ble",
                adapter=f"hci:tcp-client:127.0.0.1:{port[1]}",
                devices=(CUFF_HERE, OXIMETER_HERE),
                intake=told,
                clock=lambda: NOW_MS,
                bonds=tmp_path / "bonds.json",
            )
            async with running(link.run()):
                await told.until(lambda: {who for who, _ in told.readings} == {"cuff", "oximeter"})
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert process.stderr
        assert await process.stderr.read() == b""


@pytest.mark.parametrize("address", ["40:00:00:00:00:01", "C0:00", "cuff"])
async def test_an_address_that_no_device_may_have_ends_the_simulator(address: str):
    async with simulator("--hci-port=0", "--cuff", address) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
    assert address in said.decode()


async def test_a_port_in_use_ends_the_simulator_with_a_sentence(room: Room):
    async with simulator("--hci-port", room.transport.rpartition(":")[2]) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "cannot be opened" in said.decode()
