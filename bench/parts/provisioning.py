"""How long it takes to provision a device (real MicroPython): over its console, and over the virtual radio."""

import asyncio
import statistics
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from bumble.link import LocalLink

from bench.parts.new_device import BOARD, DEVICE, on_a_cable, powered, produce
from edge.device_authority import DeviceAuthority
from edge.provision.ble_line import ble_line
from edge.provision.conversation import Line, provision
from edge.provision.serial_line import serial_line
from edge.provision.settings import Place, Wifi, device_config
from hardware import boards
from hardware.sim.ble import open_dongle
from hardware.sim.ble_stack import open_boards
from protocols.provisioning.content import Description, Provision
from runtime.label import Label

_LISTENS_S = 1.0  # by when a device by radio does, which does not say so


def measure(runs: int) -> dict[str, Any]:
    """`p50_ms` and `p99_ms` over the console, `ble_...` over the radio, from the label to the device's "done"."""
    cable = asyncio.run(_runs(runs, _over_a_cable))
    air = asyncio.run(_runs(runs, _over_the_air))
    return {"runs": runs, **_figures("", cable), **_figures("ble_", air)}


def _figures(line: str, times_s: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times_s, n=100, method="inclusive")
    return {f"{line}p50_ms": round(1000 * cuts[49], 1), f"{line}p99_ms": round(1000 * cuts[98], 1)}


async def _runs(runs: int, once: Any) -> list[float]:
    times_s = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="kerb-provisioning-") as name:
            times_s.append(await once(Path(name)))
    return times_s


async def _over_a_cable(folder: Path) -> float:
    label = produce(folder / "device")
    async with on_a_cable() as cable, powered(folder / "device", console=cable.console):
        await cable.until(b"waits on")
        return await _timed(serial_line(cable.port), label, folder / "gateway")


async def _over_the_air(folder: Path) -> float:
    link = LocalLink()  # type: ignore[no-untyped-call]
    label = produce(folder / "device")
    async with (
        await open_dongle(link, 0) as dongle,
        await open_boards(link, 0) as radio,
        powered(folder / "device", radio=radio.sockets[0].getsockname()[1]),
    ):
        await asyncio.sleep(_LISTENS_S)
        adapter = f"hci:tcp-client:127.0.0.1:{dongle.sockets[0].getsockname()[1]}"
        return await _timed(ble_line(adapter, DEVICE), label, folder / "gateway")


async def _timed(opening: AbstractAsyncContextManager[Line], label: Label, data: Path) -> float:
    board = boards.find(BOARD)
    authority = DeviceAuthority(data)

    def prepare(description: Description) -> Provision:
        admission = authority.admit(label.device, description.key)
        config = device_config(board, label.device, Place("192.0.2.1", 8884), Wifi("ward", "secret"), {})
        return Provision(config, admission.certificate, admission.ca)

    began_s = time.perf_counter()
    async with opening as line:
        await provision(line, label, prepare, lambda _: None)
        return time.perf_counter() - began_s
