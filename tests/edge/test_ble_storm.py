"""Many devices that leave at random: all are back soon, and nothing is left behind. The full counts: bench/ble.py."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from edge.links.base import Attached
from hardware.sim.ble import HciHost
from tests.edge.ble_room import OXIMETER_MODEL, FixedOximeter, Room, radio_room, running

DEVICES = 6


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


async def test_devices_that_leave_are_back_soon_and_no_task_is_left(room: Room):
    random = Random(3)
    addresses = [f"C0:00:00:00:02:{number:02X}" for number in range(DEVICES)]
    attached = [Attached(f"oximeter{number}", OXIMETER_MODEL, address) for number, address in enumerate(addresses)]
    outages = []
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(room.device(FixedOximeter, address, 1.0)) for address in addresses]
        idle = asyncio.all_tasks()
        async with running(room.gateway(*attached).run()):
            await asyncio.wait_for(asyncio.gather(*(device.until_subscribed() for device in devices)), 10)
            await asyncio.sleep(0.2)
            before = len(asyncio.all_tasks())
            for _ in range(30):
                device = random.choice(devices)
                await asyncio.sleep(random.uniform(0, 0.05))
                await device.disconnect()
                began = time.monotonic()
                await asyncio.wait_for(device.until_subscribed(), 5)
                outages.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
            assert len(asyncio.all_tasks()) <= before
        assert {task.get_name() for task in asyncio.all_tasks() - idle if not task.done()} == set()
    assert max(outages) < 3


async def test_all_are_back_after_the_adapter_was_away(room: Room):
    addresses = [f"C0:00:00:00:02:{number:02X}" for number in range(DEVICES)]
    attached = [Attached(f"oximeter{number}", OXIMETER_MODEL, address) for number, address in enumerate(addresses)]
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(room.device(FixedOximeter, address, 1.0)) for address in addresses]
        async with running(room.gateway(*attached).run()):
            for _ in range(2):
                async with asyncio.timeout(15):
                    for device in devices:
                        await device.until_subscribed()
                host = room.dongle.host
                assert isinstance(host, HciHost)
                host.cut()
                for device in devices:
                    assert await device.gone_within(2)
