"""Modbus TCP to MQTT, every point durable in the outbox: what one gateway process carries, and at what cost.

A device is a Modbus server with one block of holding registers (uint16), all of which change with every read; the
deadband is on. Packs go by TLS to a broker and a receiver that says "stored" only after the outbox has committed.
Fields: `points_per_s`, `cpu_s_per_million` (user and system, of the gateway alone), `rss_mb` (peak),
`requests_per_cycle`, `p50_ms` and `p99_ms` (from the response to the arrival at the receiver), `seconds`, `missing`
(read, but neither suppressed, received nor in the outbox), `bytes_per_point` (on the wire). With `--outage` the broker
is gone for so long in the middle, and the ages are also of what came late.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.parts import rig
from edge.outbox_file import OutboxFile
from hub import logins
from hub.authority import Authority
from runtime.broker import EmbeddedBroker
from runtime.process import free_port


@dataclass(frozen=True)
class Options:
    """What to run: devices, registers each, poll period (0: as fast as it goes), seconds measured, of warm-up, and
    without a broker."""

    devices: int
    registers: int
    period_s: float
    seconds: float
    warm_up_s: float
    outage_s: float


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench modbus", description=__doc__)
    parser.add_argument("--devices", type=int, default=100, help="Modbus TCP servers, a link each (default 100)")
    parser.add_argument("--registers", type=int, default=100, help="registers of each (default 100)")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between polls; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure (default 30)")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that (default 5)")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds without a broker (default 0)")
    given = parser.parse_args()
    options = Options(given.devices, given.registers, given.period, given.seconds, given.warm_up, given.outage)
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options))))


async def measure(folder: Path, options: Options) -> dict[str, Any]:
    """Broker, receiver, Modbus servers and the gateway under test; what they did."""
    mqtt, page, modbus = free_port(), free_port(), free_port()
    rig.enrol(folder)
    rig.write_config(
        folder,
        devices=options.devices,
        registers=options.registers,
        period_s=options.period_s,
        mqtt=mqtt,
        page=page,
        modbus=modbus,
    )
    authority = Authority(folder)
    tls = authority.broker(("127.0.0.1",))

    @asynccontextmanager
    async def broker() -> AsyncIterator[None]:
        served = EmbeddedBroker(folder / "broker", host="127.0.0.1", port=mqtt, users=logins.users(folder), tls=tls)
        running = asyncio.create_task(served.run(), name="broker")
        try:
            await served.ready.wait()
            yield
        finally:
            running.cancel()
            await asyncio.wait((running,))

    measuring = asyncio.Event()
    begin = partial(asyncio.get_running_loop().call_soon_threadsafe, measuring.set)
    async with broker():
        run = asyncio.create_task(asyncio.to_thread(_run, folder, options, (mqtt, page, modbus), begin))
        if not options.outage_s:
            return await run
        await asyncio.wait((run, asyncio.create_task(measuring.wait())), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep((options.seconds - options.outage_s) / 2)
    await asyncio.sleep(options.outage_s)
    async with broker():
        return await run


def _run(folder: Path, options: Options, ports: tuple[int, int, int], begin: Callable[[], object]) -> dict[str, Any]:
    mqtt, page, modbus = ports
    with ExitStack() as stack:
        receiver = rig.start(stack, "bench.parts.receiver", str(folder), str(mqtt), output=subprocess.PIPE)
        server = rig.start(
            stack, "bench.parts.modbus_server", "--port", str(modbus), "--registers", str(options.registers),
            output=subprocess.PIPE,
        )  # fmt: skip
        gateway = rig.start(stack, "edge", "run", str(folder / "gateway.toml"), output=None)
        rig.wait_online(page, options.devices)
        time.sleep(options.warm_up_s)
        before = rig.read(page)  # asking costs the gateway something, which is not to be measured
        receiver.send_signal(signal.SIGUSR1)
        begin()
        cpu_before, started = rig.cpu_s(gateway.pid), time.monotonic()
        time.sleep(options.seconds)
        cpu_after, seconds, rss_mb = rig.cpu_s(gateway.pid), time.monotonic() - started, rig.peak_rss_mb(gateway.pid)
        after = rig.read(page)
        if options.outage_s:
            rig.wait_sent(page, most=3 * (after - before) / seconds)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(30)
        served = rig.end(server)
        time.sleep(2)  # what is under way arrives
        received = rig.end(receiver)
    points = after - before
    return {
        "devices": options.devices,
        "registers": options.registers,
        "period_s": options.period_s,
        "points_per_s": round(points / seconds),
        "cpu_s_per_million": round((cpu_after - cpu_before) / points * 1e6, 3),
        "rss_mb": round(rss_mb, 1),
        "requests_per_cycle": round(served["requests"] / (served["registers"] / options.registers), 2),
        "p50_ms": received["p50_ms"],
        "p99_ms": received["p99_ms"],
        "seconds": round(seconds, 1),
        "outage_s": options.outage_s,
        "missing": _missing(folder, received["points"]),
        "bytes_per_point": round(received["bytes"] / max(received["points"], 1), 2),
    }


def _missing(folder: Path, received: int) -> int:
    """Readings that the gateway made and that are neither suppressed, received, nor in its outbox.

    A pack in the outbox may have been received too: what is left is never below 0 for that.
    """
    file = OutboxFile(folder / "data" / "outbox.db", max_bytes=1 << 30)
    try:
        read = sum(read - suppressed for read, suppressed in file.tallies().values())
        return max(0, read - received - sum(file.holdings().by_thing().values()))
    finally:
        file.close()


if __name__ == "__main__":
    main()
