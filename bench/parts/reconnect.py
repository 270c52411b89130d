"""Devices whose lines fail in every way: how soon they are back, and what it costs them.

Real MicroPython, mTLS, the gateway's own broker and link; between them a proxy for each device. Each device takes ten
samples a second and numbers them. A line counts as recovered once a reading has come that was taken after it was well.
"""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.parts import devices
from bench.parts.proxy import Proxy
from edge.device_authority import DeviceAuthority
from edge.links.base import Attached, Origin
from edge.links.mqtt import MqttLink
from edge.links.plan_files import PlanFiles
from edge.update_images import Images
from hardware.catalogue import catalogue
from hardware.sim.device import ROOT, command, prepare
from protocols.reading import Reading
from runtime.process import die_with_parent, free_port

_BOARD = "kerb-wearable"
_LONGEST_OUTAGE_S = 6.0
_LIMIT_S = 60.0
_CALM_S = (0.3, 1.2)  # between two faults


@dataclass
class Line:
    """A device, its line, and what has come of it. `told`: what it says of each second; `births`: its connections."""

    name: str
    proxy: Proxy
    numbers: list[int] = field(default_factory=list)
    delays_ms: list[int] = field(default_factory=list)
    newest_ms: int = 0  # when the newest reading that has come was taken
    told: list[dict[str, Any]] = field(default_factory=list)
    births: int = 0
    online: bool = False  # as far as the gateway has heard
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, readings: Sequence[Reading]) -> None:
        """A pack has come to the gateway."""
        now_ms = _now_ms()
        for each in readings:
            assert isinstance(each.value, int)
            assert each.time_ms is not None
            self.numbers.append(each.value)
            self.delays_ms.append(now_ms - each.time_ms)
            self.newest_ms = max(self.newest_ms, each.time_ms)
        self.news.set()

    async def back(self, since_ms: int) -> float:
        """Seconds from then until something has come that was taken later."""
        async with asyncio.timeout(_LIMIT_S):
            while self.newest_ms <= since_ms:
                self.news.clear()
                await self.news.wait()
        return (_now_ms() - since_ms) / 1000


class Site:
    """A gateway's link and its devices' lines. It commits at once: what it costs a disk is measured elsewhere."""

    def __init__(self, folder: Path, count: int):
        self.folder = folder
        names = [f"line-{number}" for number in range(1, count + 1)]
        broker = free_port()
        self.lines = {name: Line(name, Proxy(free_port(), broker)) for name in names}
        for name in names:
            devices.admit(folder, name, folder / name)
        model = catalogue()[_BOARD]
        self.link = MqttLink(
            name="lines",
            directory=folder / "broker",
            host="127.0.0.1",
            port=broker,
            devices=[Attached(name, model, "") for name in names],
            authority=DeviceAuthority(folder),
            cursors={},
            images=Images(folder),
            plans=PlanFiles(folder, []),
            intake=self,
            clock=_now_ms,
        )

    # What the link asks of its intake.

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = "",
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None:
        """Take over readings."""
        assert origin is not None
        self.lines[thing].take(readings)
        asyncio.get_running_loop().call_soon(self.link.committed, [origin])

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = "") -> None:
        """Nothing may give way here."""
        raise SystemExit(f"{thing} has lost {count} readings")

    def state(self, thing: str, state: str, reason: str = "") -> None:
        """A birth of the device, or its will."""
        self.lines[thing].births += state == "online"
        self.lines[thing].online = state == "online"

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        """Nor do counts."""

    def full(self) -> bool:
        """There is always room."""
        return False

    def channel(self, thing: str, metrics: Sequence[str]) -> Any:
        """These devices have none."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it everything runs, and each device is there."""
        async with AsyncExitStack() as stack:
            link = asyncio.create_task(self.link.run(), name="link")
            stack.push_async_callback(_end, link)
            await self.link._broker.ready.wait()
            for line in self.lines.values():
                await stack.enter_async_context(line.proxy)
                stack.push_async_callback(_end, asyncio.create_task(self._device(line), name=line.name))
            await asyncio.gather(*(line.back(0) for line in self.lines.values()))
            yield

    async def _device(self, line: Line) -> None:
        state = self.folder / line.name
        prepare(state, board=_BOARD, device=line.name, host="127.0.0.1", port=line.proxy.port, journal_kb=1024)
        (micropython, *heap, _), environment = command(state)
        environment["MICROPYPATH"] = f"{state / 'a'}:{state / 'host'}:.frozen"
        process = await asyncio.create_subprocess_exec(
            micropython, *heap, str(ROOT / "bench" / "parts" / "line_device.py"),
            env=environment, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            async for text in process.stdout:
                if text.startswith(b"{"):
                    line.told.append(json.loads(text))
            raise SystemExit(f"{line.name} has ended with code {await process.wait()}")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def restart_broker(self) -> int:
        """Kill the broker; when, in ms, the next one could be reached."""
        ready, pid = self.link._broker.ready, self.link._broker.pid
        assert pid is not None
        await (await asyncio.create_subprocess_exec("kill", "-9", str(pid))).wait()
        while ready.is_set():  # noqa: ASYNC110 - nobody tells when it is not
            await asyncio.sleep(0.01)
        await ready.wait()
        return _now_ms()


async def _reset(proxy: Proxy) -> int:
    proxy.inflict("reset")
    proxy.heal()
    return _now_ms()


async def _half_open(proxy: Proxy) -> int:
    proxy.abandon()
    return _now_ms()


async def _lost_puback(proxy: Proxy) -> int:
    """The birth certificate's: the third answer, after CONNACK and SUBACK."""
    proxy.cut_answers(2)
    await asyncio.wait_for(proxy.died.wait(), _LIMIT_S)
    return _now_ms()


async def _refused(proxy: Proxy) -> int:
    return await _outage(proxy, "refuse")


async def _silent(proxy: Proxy) -> int:
    return await _outage(proxy, "silence")


async def _outage(proxy: Proxy, fault: str) -> int:
    proxy.inflict(fault)
    await asyncio.sleep(random.uniform(0.2, _LONGEST_OUTAGE_S))
    proxy.heal()
    return _now_ms()


_FAULTS: dict[str, Callable[[Proxy], Awaitable[int]]] = {
    "reset": _reset,
    "half_open": _half_open,
    "lost_puback": _lost_puback,
    "refused": _refused,
    "silent": _silent,
}
RESTART = "broker_restart"
FAULTS = (*_FAULTS, RESTART)


def measure(cycles: int, *, lines: int = 6) -> dict[str, Any]:
    """Let so many faults happen (rounded up to whole rounds); what became of the devices."""
    with tempfile.TemporaryDirectory(prefix="kerb-reconnect-") as name:
        return asyncio.run(_campaign(Path(name), -(-cycles // (lines * len(FAULTS))), lines))


async def _campaign(folder: Path, rounds: int, count: int) -> dict[str, Any]:
    site = Site(folder, count)
    lines = list(site.lines.values())
    took: dict[str, list[float]] = {fault: [] for fault in FAULTS}
    async with site.running():
        for _ in range(rounds):
            await asyncio.gather(*(_faults_of(line, took) for line in lines))
            since_ms = await site.restart_broker()
            took[RESTART] += await asyncio.gather(*(line.back(since_ms) for line in lines))
        await asyncio.sleep(5)  # what was held comes in
        thought_dead = sum(not line.online for line in lines)
    everything = [seconds for found in took.values() for seconds in found]
    told = [second for line in lines for second in line.told]
    return {
        "cycles": len(everything),
        "thought_dead": thought_dead,
        "connections": sum(line.births for line in lines),
        "p50_ms": _percentile(everything, 50),
        "p99_ms": _percentile(everything, 99),
        "worst_ms": {fault: round(1000 * max(found)) for fault, found in took.items()},
        "missing": sum(max(line.numbers) - len(set(line.numbers)) for line in lines),
        "twice": sum(len(line.numbers) - len(set(line.numbers)) for line in lines),
        "sample_late_ms": max(second["late_ms"] for second in told),
        "append_ms": max(second["append_ms"] for second in told),
        "heap_drift_bytes": max(_drift([second["heap"] for second in line.told]) for line in lines),
        "sockets": max(line.told[-1]["sockets"] - line.told[0]["sockets"] for line in lines),
    }


async def _faults_of(line: Line, took: dict[str, list[float]]) -> None:
    """Each fault once, in any order."""
    for fault in random.sample(list(_FAULTS), len(_FAULTS)):
        await asyncio.sleep(random.uniform(*_CALM_S))
        took[fault].append(await line.back(await _FAULTS[fault](line.proxy)))


def latency(seconds: float, *, handshakes: int = 20) -> dict[str, Any]:
    """One device on a good line, with mTLS: from a sample to the gateway's link, and how long its loop was blocked.

    Then so many connections are made anew, which is when the most is reckoned.
    """
    with tempfile.TemporaryDirectory(prefix="kerb-latency-") as name:
        return asyncio.run(_latency(Path(name), seconds, handshakes))


async def _latency(folder: Path, seconds: float, handshakes: int) -> dict[str, Any]:
    site = Site(folder, 1)
    [line] = site.lines.values()
    async with site.running():
        await asyncio.sleep(3)
        first, begin = len(line.delays_ms), len(line.told)
        await asyncio.sleep(seconds)
        delays, calm = line.delays_ms[first:], line.told[begin:]
        for _ in range(handshakes):
            await line.back(await _reset(line.proxy))
        await asyncio.sleep(1.5)
    return {
        "samples": len(delays),
        "p50_ms": median(delays),
        "p99_ms": sorted(delays)[len(delays) * 99 // 100],
        "max_ms": max(delays),
        "blocked_ms": max(second["blocked_ms"] for second in calm),
        "handshakes": handshakes,
        "handshake_blocked_ms": max(second["blocked_ms"] for second in line.told[begin + len(calm) :]),
    }


def _drift(heap: Sequence[int]) -> int:
    """Bytes that the heap in use has grown by from the second fifth to the last one, at its smallest in each."""
    fifth = max(1, len(heap) // 5)
    return min(heap[-fifth:]) - min(heap[fifth : 2 * fifth] or heap)


def _percentile(seconds: Sequence[float], percent: int) -> int:
    return round(1000 * sorted(seconds)[min(len(seconds) - 1, len(seconds) * percent // 100)])


async def _end(task: "asyncio.Task[None]") -> None:
    if task.done():
        task.result()
    task.cancel()
    await asyncio.wait([task])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
