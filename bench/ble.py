"""Bluetooth against virtual devices that leave at random: what it costs to have them back, and that no record is lost.

The gateway's link runs here, over HCI on TCP, with the real pipeline and outbox behind it; a process of its own holds
the dongle and the devices (bench/parts/ble_peers.py) and takes the times there. Radio time is left out: it all is
computing. Fields: `peripherals`, `disconnects`, `p50_s`, `p99_s`, `max_s` (from a disconnect until subscribed again),
`tasks_before` and `tasks_after` (of the link, all devices subscribed, before the first disconnect and after the last),
`tasks_left` (when the link has ended), `adapter_return_s` (from the adapter's return until every device is subscribed
again), `records`, `record_disconnects`, `records_missing`, `records_twice`, `records_per_s`, `seconds`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bench.parts.ble_addresses import METER, METER_MODEL, address_of
from edge.clock import SteadyClock
from edge.links.base import Attached, Intake, Origin
from edge.links.ble import BleLink
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from hardware.catalogue import catalogue
from protocols.reading import Reading
from runtime.process import die_with_parent

_ROOT = Path(__file__).parent.parent
_PATIENCE_S = 900.0


class _Counted:
    """The pipeline, and a count of what a meter's records became."""

    def __init__(self, pipeline: Pipeline):
        self._pipeline = pipeline
        self.glucose: Counter[int | None] = Counter()  # by time, which no two records share
        self._more = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = "bulk",
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None:
        """Count, and pass on."""
        self.glucose.update(each.time_ms for each in readings if each.metric == "glucose")
        self._more.set()
        self._pipeline.take(thing, readings, lane=lane, origin=origin, backfill=backfill)

    async def until(self, records: int) -> None:
        """Wait for so many records."""
        while len(self.glucose) < records:
            self._more.clear()
            await self._more.wait()


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench ble", description=__doc__)
    parser.add_argument("--peripherals", type=int, default=20, help="oximeters (default 20)")
    parser.add_argument("--disconnects", type=int, default=1000, help="of all of them (default 1000)")
    parser.add_argument("--records", type=int, default=10_000, help="of the glucometer (default 10000)")
    parser.add_argument("--record-disconnects", type=int, default=100, help="while they come (default 100)")
    parser.add_argument("--away", type=float, default=5.0, help="seconds for which the adapter is gone (default 5)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        result = asyncio.run(measure(Path(folder), options))
    print(json.dumps({**result, "seconds": round(time.monotonic() - began, 1)}))


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The storm, and then the records."""
    result: dict[str, Any] = {"peripherals": options.peripherals}
    storm = ("--peripherals", str(options.peripherals), "--disconnects", str(options.disconnects))
    async with _peers("storm", *storm, "--away", str(options.away)) as (port, said):
        model = catalogue()["nonin-3230"]
        devices = [Attached(f"oximeter-{n}", model, address_of(n)) for n in range(options.peripherals)]
        idle = len(asyncio.all_tasks())
        async with _gateway(folder / "storm.db", port, devices):
            await anext(said)
            result["tasks_before"] = len(asyncio.all_tasks()) - idle
            await anext(said)
            result["tasks_after"] = len(asyncio.all_tasks()) - idle
            result |= await anext(said)
        result["tasks_left"] = len(asyncio.all_tasks()) - idle
    records = ("--records", str(options.records), "--disconnects", str(options.record_disconnects))
    async with _peers("records", *records) as (port, said):
        began = time.monotonic()
        async with _gateway(folder / "records.db", port, [Attached("meter", METER_MODEL, METER)]) as counted:
            result |= await anext(said)
            async with asyncio.timeout(_PATIENCE_S):
                await counted.until(options.records)
            seconds = time.monotonic() - began
            await asyncio.sleep(1.0)  # what comes twice comes now
    return result | {
        "records": options.records,
        "records_missing": options.records - len(counted.glucose),
        "records_twice": sum(count - 1 for count in counted.glucose.values()),
        "records_per_s": round(options.records / seconds),
    }


@asynccontextmanager
async def _gateway(database: Path, port: int, devices: Sequence[Attached]) -> AsyncIterator[_Counted]:
    """The link with its pipeline and outbox."""
    clock = SteadyClock()
    file = OutboxFile(database, max_bytes=1 << 30)
    outbox = Outbox(file)
    counted = _Counted(Pipeline(outbox, {device.thing: device.model for device in devices}, clock=clock))
    intake: Intake = counted
    link = BleLink(
        name="bench",
        adapter=f"hci:tcp-client:127.0.0.1:{port}",
        devices=devices,
        zone=ZoneInfo("UTC"),
        cursors=file.cursors(),
        intake=intake,
        clock=clock,
        bonds=database.with_suffix(".bonds"),
    )
    tasks = [asyncio.create_task(outbox.run(), name="outbox"), asyncio.create_task(link.run(), name="link")]
    try:
        yield counted
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait((task,))
        file.close()


@asynccontextmanager
async def _peers(*arguments: str) -> AsyncIterator[tuple[int, AsyncIterator[dict[str, Any]]]]:
    """The process of the devices: the port of its dongle, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.parts.ble_peers", *arguments,
        cwd=_ROOT, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent,
    )  # fmt: skip
    assert process.stdout
    stdout = process.stdout

    async def lines() -> AsyncIterator[dict[str, Any]]:
        async for line in stdout:
            yield json.loads(line)
        raise SystemExit("the devices' process has ended before its time")

    said = lines()
    try:
        yield (await anext(said))["port"], said
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    main()
