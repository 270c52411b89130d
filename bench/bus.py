"""One RTU bus with dead devices: what they cost the healthy ones, and how soon one that revives is back.

32 devices share a pseudo-terminal whose other end keeps the times of a real line. Fields: `p99_period_ms` of the
healthy devices with nobody dead, `p99_period_dead_ms` of the same ones with the dead, `growth_percent`,
`dead_share_percent` of the bus's time, `revived_p50_s` and `revived_most_s` from the revival to the first reading,
`probe_gap_most_s` (the longest time between two probes of one device), `noticed_to_reading_most_s` (from the first
answer to the first reading).
"""

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge.links.base import Attached, Origin
from edge.links.modbus import ModbusLink
from edge.links.modbus_line import Silence
from edge.links.modbus_rtu import SerialLine
from hardware.catalogue import DeviceModel
from protocols.modbus import serial_cost
from protocols.reading import Reading
from runtime.process import die_with_parent

_ROOT = Path(__file__).parent.parent


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class _Watched(SerialLine):
    """A line that notes how long each unit kept it, and when those were probed that are dead."""

    def __init__(self, port: str, baud: int):
        super().__init__(port, _now_ms, lambda _: None, baud=baud, parity="none", stop_bits=1)
        self.busy_s: dict[int, float] = {}
        self.silent: dict[int, list[float]] = {}
        self.first_answer: dict[int, float] = {}

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        began = time.monotonic()
        try:
            answer = await super().exchange(unit, pdu, timeout_s)
        except Silence:
            self.silent.setdefault(unit, []).append(began)
            raise
        else:
            self.first_answer.setdefault(unit, time.monotonic())
            return answer
        finally:
            self.busy_s[unit] = self.busy_s.get(unit, 0.0) + time.monotonic() - began


class _Times:
    """An intake that notes when each thing was heard."""

    def __init__(self) -> None:
        self.heard: dict[str, list[float]] = {}

    def channel(self, thing: str, metrics: Sequence[str]) -> "_Channel":
        return _Channel(self.heard.setdefault(thing, []), metrics)

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = "bulk",
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None: ...

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = "bulk") -> None: ...

    def state(self, thing: str, state: str, reason: str = "") -> None: ...

    def full(self) -> bool:
        return False

    def count(self, counter: str, thing: str = "", by: int = 1) -> None: ...


class _Channel:
    def __init__(self, heard: list[float], metrics: Sequence[str]):
        self.metrics = metrics
        self._heard = heard

    def take(self, values: "np.typing.NDArray[Any]", time_ms: int, good: object = None) -> None:
        self._heard.append(time.monotonic())


def _model(registers: int, period_ms: int) -> DeviceModel:
    metrics = {
        f"r{at}": {"name": {"en": "R", "zh": "R"}, "unit": "1", "register": {"table": "input", "address": at}}
        for at in range(registers)
    }
    name = {"en": "Block", "zh": "块"}
    device = {"model": "block", "maker": "Kerb", "kind": "block", "link": "modbus", "name": name}
    return DeviceModel.model_validate({"device": device, "metrics": metrics, "modbus": {"period_ms": period_ms}})


async def _run(units: int, dead: int, baud: int, period_ms: int, seconds: float, *, revive_s: float) -> dict[str, Any]:
    """One run; with the dead revived at its end, for `revive_s` more."""
    silent = range(units - dead + 1, units + 1)
    arguments = ["--units", str(units), "--dead", ",".join(map(str, silent)), "--baud", str(baud)]
    slaves = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.rtu", *arguments, cwd=_ROOT, stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    assert slaves.stdout
    try:
        line = _Watched((await slaves.stdout.readline()).decode().strip(), baud)
        times = _Times()
        model = _model(40, period_ms)
        devices = [Attached(str(unit), model, str(unit)) for unit in range(1, units + 1)]
        link = ModbusLink("bus", line, devices, times, _now_ms, costs=dict.fromkeys((False, True), serial_cost(baud)))
        task = asyncio.create_task(link.run(), name="link")
        warm_s = 2 * period_ms / 1000 + dead * 0.6
        await asyncio.sleep(warm_s)  # every device has been found alive or dead
        began, busy = time.monotonic(), dict(line.busy_s)
        await asyncio.sleep(seconds)
        ended = time.monotonic()
        spent = {unit: line.busy_s.get(unit, 0.0) - busy.get(unit, 0.0) for unit in silent}
        result: dict[str, Any] = {"share": sum(spent.values()) / (ended - began)}
        result["gaps"] = [b - a for probes in line.silent.values() for a, b in pairwise(probes) if a >= began]
        slaves.send_signal(signal.SIGUSR1)
        revived = time.monotonic()
        await asyncio.sleep(revive_s)
        task.cancel()
        await asyncio.wait((task,))
    finally:
        slaves.kill()
        await slaves.wait()
    result["periods"] = {
        thing: [b - a for a, b in pairwise(heard) if began <= a and b <= ended] for thing, heard in times.heard.items()
    }
    firsts = {unit: next((at for at in times.heard[str(unit)] if at > revived), None) for unit in silent}
    result["back"] = [at - revived if at else None for at in firsts.values()]
    result["noticed"] = [at - line.first_answer[unit] for unit, at in firsts.items() if at]
    return result


def main() -> None:
    """Run with nobody dead, then with the dead, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench bus", description=__doc__)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--dead", type=int, default=8)
    parser.add_argument("--baud", type=int, default=38_400)
    parser.add_argument("--period-ms", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    given = (options.baud, options.period_ms, options.seconds)
    well = asyncio.run(_run(options.units, 0, *given, revive_s=0.0))
    ill = asyncio.run(_run(options.units, options.dead, *given, revive_s=20.0))
    healthy = [str(unit) for unit in range(1, options.units - options.dead + 1)]
    before, after = (_p99([each for thing in healthy for each in run["periods"][thing]]) for run in (well, ill))
    back = [each for each in ill["back"] if each is not None]
    result = {
        "units": options.units,
        "dead": options.dead,
        "baud": options.baud,
        "p99_period_ms": round(before * 1000, 1),
        "p99_period_dead_ms": round(after * 1000, 1),
        "growth_percent": round((after / before - 1) * 100, 2),
        "dead_share_percent": round(ill["share"] * 100, 2),
        "revived": len(back),
        "revived_p50_s": round(statistics.median(back), 2) if back else None,
        "revived_most_s": round(max(back), 2) if back else None,
        "probe_gap_most_s": round(max(ill["gaps"]), 2) if ill["gaps"] else None,
        "noticed_to_reading_most_s": round(max(ill["noticed"]), 3) if ill["noticed"] else None,
        "seconds": options.seconds,
    }
    print(json.dumps(result))


def _p99(numbers: list[float]) -> float:
    return float(np.percentile(numbers, 99))


if __name__ == "__main__":
    main()
