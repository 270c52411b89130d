"""What `kerb bench ble` measures against: a dongle on a TCP port and virtual devices that leave at random, each process
of its own. Prints lines of JSON: {"port": ...} first, what happened last.

python -m bench.parts.ble_peers storm --peripherals 20 --disconnects 1000
python -m bench.parts.ble_peers records --records 10000 --disconnects 100
"""

import argparse
import asyncio
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from bumble.link import LocalLink

from bench.parts.ble_addresses import METER, METER_MODEL, address_of
from hardware.catalogue import catalogue
from hardware.sim.ble import Dongle, HciHost, open_dongle
from hardware.sim.ble_devices import Oximeter
from hardware.sim.ble_meters import Glucometer, glucose_record
from hardware.sim.ble_peripherals import Peripheral, Setting

PATIENCE_S = 60.0


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts.ble_peers")
    parser.add_argument("what", choices=("storm", "records"))
    parser.add_argument("--peripherals", type=int, default=20)
    parser.add_argument("--disconnects", type=int, default=1000)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--away", type=float, default=5.0, help="seconds for which the adapter is gone")
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> None:
    link = LocalLink()  # type: ignore[no-untyped-call]
    random = Random(options.seed)
    server = await open_dongle(link, 0)
    port = server.sockets[0].getsockname()[1]
    if options.what == "storm":
        model = catalogue()["nonin-3230"]
        devices: list[Peripheral] = [
            Oximeter(model, Setting(link, address_of(number), 1.0)) for number in range(options.peripherals)
        ]
    else:
        devices = [Glucometer(METER_MODEL, Setting(link, METER, 1.0, clock=_utc))]
    tasks = [asyncio.create_task(device.run()) for device in devices]
    _say(port=port)
    if options.what == "storm":
        await _all_subscribed(devices)
        _say(ready=True)
        outages = await _storm(devices, options.disconnects, random)
        _say(settled=True)
        _say(adapter_return_s=round(await _adapter_gone(link, server, devices, options.away), 3), **_quantiles(outages))
    else:
        meter = devices[0]
        assert isinstance(meter, Glucometer)
        first = _utc() - timedelta(seconds=2 * options.records)
        meter.records = [
            (n, glucose_record(n, f"{first + timedelta(seconds=n):%Y-%m-%dT%H:%M:%S}", 60 + n % 200))
            for n in range(options.records)
        ]
        _say(record_disconnects=await _interrupt(meter, options.disconnects, random))
    await asyncio.wait(tasks, timeout=PATIENCE_S)  # until we are ended


async def _storm(devices: list[Peripheral], disconnects: int, random: Random) -> list[float]:
    """Each device leaves again and again; how long it took until it was subscribed to again, in seconds."""
    outages: list[float] = []

    async def leave(device: Peripheral, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(random.uniform(0, 1.0))
            await device.disconnect()
            began = time.monotonic()
            async with asyncio.timeout(PATIENCE_S):
                await device.until_subscribed()
            outages.append(time.monotonic() - began)

    shares = [disconnects // len(devices) + (number < disconnects % len(devices)) for number in range(len(devices))]
    async with asyncio.TaskGroup() as group:
        for device, share in zip(devices, shares, strict=True):
            group.create_task(leave(device, share))
    return outages


async def _adapter_gone(link: LocalLink, server: asyncio.Server, devices: list[Peripheral], away_s: float) -> float:
    """Unplug the adapter and plug it in again: seconds from its return until every device is subscribed to again."""
    port = server.sockets[0].getsockname()[1]
    server.close()
    [dongle] = [each for each in link.controllers if isinstance(each, Dongle)]
    if isinstance(dongle.host, HciHost):
        dongle.host.cut()
    await asyncio.sleep(away_s)
    link.remove_controller(dongle)
    await open_dongle(link, port)
    began = time.monotonic()
    await _all_subscribed(devices)
    return time.monotonic() - began


async def _interrupt(meter: Glucometer, disconnects: int, random: Random) -> int:
    """End the connection in the middle of transfers, spread over all the records; how often that was done."""
    meter.pace_s = 0.0005
    for more in range(disconnects, 0, -1):
        async with asyncio.timeout(PATIENCE_S):
            # Looking every millisecond costs less than an event a record would.
            while not (meter.connection and meter.left):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            until = meter.left - random.randint(1, max(1, 2 * meter.left // (more + 2)))  # some are left for the rest
            while meter.left > until:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await meter.disconnect()
    return disconnects


async def _all_subscribed(devices: list[Peripheral]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for device in devices:
            await device.until_subscribed()


def _quantiles(outages: list[float]) -> dict[str, Any]:
    ordered = sorted(outages)
    return {
        "disconnects": len(ordered),
        "p50_s": round(statistics.median(ordered), 3),
        "p99_s": round(ordered[int(len(ordered) * 0.99)] if len(ordered) > 1 else ordered[0], 3),
        "max_s": round(ordered[-1], 3),
    }


def _utc() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
