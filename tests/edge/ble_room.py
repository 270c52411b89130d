"""A radio room: virtual controllers on one link, a dongle as HCI on TCP, devices, and a gateway's link."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bumble.link import LocalLink

from edge.links.base import Attached
from edge.links.ble import BleLink
from hardware.catalogue import DeviceModel, catalogue
from hardware.sim.ble import Dongle, open_dongle
from hardware.sim.ble_devices import Cuff, Oximeter
from hardware.sim.ble_peripherals import Peripheral, Setting
from tests.edge.recorder import Recorder

NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
CUFF, OXIMETER, ABSENT = "C0:00:00:00:00:01", "C0:00:00:00:00:02", "C0:00:00:00:00:03"
CUFF_MODEL, OXIMETER_MODEL = catalogue()["and-ua-651ble"], catalogue()["nonin-3230"]
CUFF_HERE = Attached("cuff", CUFF_MODEL, CUFF.lower())
OXIMETER_HERE = Attached("oximeter", OXIMETER_MODEL, OXIMETER)

# 138/88 mmHg, mean 120, year unknown, pulse 60, user 1, status 0x27: the vector of the health reference.
UNDATED = bytes.fromhex("1e8a00580078000000041114293b3c00012700")
# Flags: time and pulse. 120/80 mmHg, mean 93, 2026-03-04 05:06:07, pulse 65.
DATED = bytes.fromhex("06780050005d00ea0703040506074100")
TRUNCATED = DATED[:-3]
KILOPASCAL = bytes.fromhex("0110000b000d00")
SPO2_97_PULSE_72 = bytes.fromhex("0061004800")


class QuietCuff(Cuff):
    """A cuff that measures nothing by itself."""

    async def _measure(self) -> None:
        await asyncio.Event().wait()


class FixedOximeter(Oximeter):
    """An oximeter that says what the test wants."""

    said = SPO2_97_PULSE_72

    def sample(self) -> bytes:
        return self.said


MODELS: dict[type[Peripheral], DeviceModel] = {Cuff: CUFF_MODEL, Oximeter: OXIMETER_MODEL}


class Room:
    """A radio link with a dongle, and what runs there."""

    def __init__(self, link: LocalLink, server: asyncio.Server, bonds: Path):
        self.link = link
        self.server = server
        self.bonds = bonds
        self.told = Recorder()
        self.transport = f"tcp-client:127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @property
    def dongle(self) -> Dongle:
        """The gateway's controller."""
        [dongle] = [each for each in self.link.controllers if isinstance(each, Dongle)]
        return dongle

    @asynccontextmanager
    async def device(
        self, kind: type[Peripheral], address: str, period_s: float = 0.05, **more: Any
    ) -> AsyncIterator[Any]:
        """A device of that kind, switched on."""
        model = next(model for base, model in MODELS.items() if issubclass(kind, base))
        peripheral = kind(model, Setting(self.link, address, period_s, **more))
        if isinstance(peripheral, Cuff):
            peripheral.linger_s = 0.05
        async with running(peripheral.run()):
            yield peripheral

    def gateway(self, *devices: Attached, zone: ZoneInfo | None = None, **keys: str) -> BleLink:
        """A gateway's link with these devices, which knows what former ones have stored."""
        return BleLink(
            name="ble",
            adapter=f"hci:{self.transport}",
            devices=devices,
            keys=keys,
            zone=zone or ZoneInfo("UTC"),
            cursors=self.told.cursors,
            intake=self.told,
            clock=lambda: NOW_MS,
            bonds=self.bonds,
        )


@asynccontextmanager
async def radio_room(folder: Path) -> AsyncIterator[Room]:
    """An empty room with a dongle."""
    link = LocalLink()
    server = await open_dongle(link, 0)
    try:
        yield Room(link, server, folder / "state" / "bonds.json")
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def running(coroutine: Coroutine[object, object, None]) -> AsyncIterator[asyncio.Task[None]]:
    """The coroutine as a task, cancelled and awaited at the end."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
    if not isinstance(result, asyncio.CancelledError):
        raise AssertionError(f"ended by itself: {result!r}")
