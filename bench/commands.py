"""Commands while the gateway is killed, connections are cut and answers are lost: how each ends, and how often it acts.

Every command writes a value of its own to a register of a Modbus device that counts what it was told. Half of them come
from the hub's side over MQTT, half through the gateway's local socket; each is repeated with its key until its end is
known. Fields: `count`, `done`, `refused`, `expired`, `failed`, `kills`, `double_actuations`, `done_without_actuation`,
`p50_ms` and `p99_ms` (of those done, with the repetitions), `seconds`. With `--load` nothing is made to fail, 100
devices are polled at 10,000 points/s meanwhile, and 20 commands come a second.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.parts import rig
from bench.parts.receiver import percentile
from edge.command_socket import SOCKET, send
from edge.errors import EdgeError
from hub import logins
from hub.authority import Authority
from hub.ingest import broker_login
from protocols import topics
from protocols.command import DONE, EXPIRED, FAILED, REFUSED, Request, Result, decode_result, encode_request
from runtime.broker import EmbeddedBroker
from runtime.mqtt import MqttError, Session, keep_session
from runtime.process import free_port

_COMMANDS = """
[commands.set]
name = { en = "Set", zh = "设置" }
register = { table = "holding", address = 0 }
read_back = false
"""
_EXPIRES_MS = 60_000
_AGAIN_S = 0.5
_WORKERS = 16


@dataclass
class _Campaign:
    """What is known of every command so far."""

    folder: Path
    count: int
    results: dict[str, Result] = field(default_factory=dict)
    took_ms: Counter[int] = field(default_factory=Counter)
    session: Session | None = None
    waiting: dict[str, asyncio.Event] = field(default_factory=dict)

    async def listen(self, session: Session) -> None:
        """The hub's side: results that come over MQTT."""
        await session.subscribe(topics.result(topics.GATEWAY, rig.GATEWAY))
        self.session = session
        try:
            async for message in session.messages():
                result = decode_result(message.payload)
                self.results[result.key] = result
                if result.key in self.waiting:
                    self.waiting[result.key].set()
        finally:
            self.session = None

    async def have_done(self, number: int, device: str) -> None:
        """One command, repeated until its end is known."""
        key = f"c{number}"
        request = Request(key, device, "set", number & 0xFFFF, time.time_ns() // 1_000_000 + _EXPIRES_MS)
        began = time.monotonic()
        while key not in self.results:
            if number % 2:
                with suppress(EdgeError):
                    self.results[key] = await send(self.folder / "data" / SOCKET, request, timeout_s=0)
            else:
                await self._tell(request)
            if key not in self.results:
                await asyncio.sleep(_AGAIN_S * random.uniform(0.5, 1))
        if self.results[key].state == DONE:
            self.took_ms[round((time.monotonic() - began) * 1000)] += 1

    async def _tell(self, request: Request) -> None:
        self.waiting[request.key] = asyncio.Event()
        with suppress(MqttError, TimeoutError):
            if self.session is not None:
                topic = topics.command(topics.GATEWAY, rig.GATEWAY)
                await self.session.publish(topic, encode_request(request), qos=1)
                async with asyncio.timeout(5):
                    await self.waiting[request.key].wait()
        del self.waiting[request.key]


async def campaign(
    folder: Path, *, count: int, kills: int, faults: float, devices: int, registers: int, rate: float = 0.0
) -> dict[str, Any]:
    """Carry out `count` commands, at most `rate` a second, while the gateway is killed; what became of them."""
    mqtt, page, modbus = free_port(), free_port(), free_port()
    rig.enrol(folder)
    rig.write_config(
        folder,
        devices=devices,
        registers=registers,
        period_s=1.0,
        mqtt=mqtt,
        page=page,
        modbus=modbus,
        commands=_COMMANDS,
    )
    tls = Authority(folder).broker(("127.0.0.1",))
    broker = EmbeddedBroker(folder / "broker", host="127.0.0.1", port=mqtt, users=logins.users(folder), tls=tls)
    state = _Campaign(folder, count)
    tasks = [asyncio.create_task(broker.run(), name="broker")]
    try:
        await broker.ready.wait()
        hub = broker_login(folder, host="127.0.0.1", port=mqtt)
        tasks.append(asyncio.create_task(keep_session(hub, state.listen), name="hub"))
        with ExitStack() as stack:
            arguments = ("--port", str(modbus), "--registers", str(registers), "--faults", str(faults))
            server = rig.start(stack, "bench.parts.modbus_server", *arguments, output=subprocess.PIPE)
            gateway = rig.start(stack, "edge", "run", str(folder / "gateway.toml"), output=None)
            await asyncio.to_thread(rig.wait_online, page, devices)
            began = time.monotonic()
            killing = asyncio.create_task(_kill(stack, gateway, kills, state), name="kill")
            await _all(state, devices, rate)
            seconds = time.monotonic() - began
            killing.cancel()
            await asyncio.wait((killing,))
            served = await asyncio.to_thread(rig.end, server)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return _verdict(state, served["writes"], kills, seconds)


async def _all(state: _Campaign, devices: int, rate: float) -> None:
    numbers = iter(range(state.count))
    began = time.monotonic()

    async def work() -> None:
        for number in numbers:
            if rate:
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            await state.have_done(number, f"device-{number % devices}")

    async with asyncio.TaskGroup() as tasks:
        for worker in range(_WORKERS):
            tasks.create_task(work(), name=f"worker {worker}")


async def _kill(stack: ExitStack, gateway: "subprocess.Popen[str]", kills: int, state: _Campaign) -> None:
    """Kill the gateway at moments spread over the campaign, and start it again."""
    for number in range(1, kills + 1):
        while len(state.results) < state.count * number / (kills + 1):  # noqa: ASYNC110  at some moment after that
            await asyncio.sleep(random.uniform(0.01, 0.05))
        gateway.send_signal(signal.SIGKILL)
        await asyncio.to_thread(gateway.wait)
        gateway = rig.start(stack, "edge", "run", str(state.folder / "gateway.toml"), output=None)


def _verdict(state: _Campaign, writes: dict[str, int], kills: int, seconds: float) -> dict[str, Any]:
    states = Counter(result.state for result in state.results.values())
    done = {int(key[1:]) & 0xFFFF for key, result in state.results.items() if result.state == DONE}
    acted: Counter[int] = Counter()
    for place, times in writes.items():
        acted[int(place.rsplit("/", 1)[1])] += times
    return {
        "count": state.count,
        **{name: states[name] for name in (DONE, REFUSED, EXPIRED, FAILED)},
        "kills": kills,
        "double_actuations": sum(times > 1 for times in acted.values()),
        "done_without_actuation": len(done - acted.keys()),
        "p50_ms": percentile(state.took_ms, 0.5),
        "p99_ms": percentile(state.took_ms, 0.99),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run once, and print one line of JSON; exit code 1 if a command has acted twice."""
    parser = argparse.ArgumentParser(prog="kerb bench commands", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="at most 65536 (default 10000)")
    parser.add_argument("--kills", type=int, default=20, help="of the gateway (default 20)")
    parser.add_argument("--faults", type=float, default=0.05, help="share of requests that go wrong (default 0.05)")
    parser.add_argument("--load", action="store_true", help="no faults; 10,000 points/s are polled meanwhile")
    options = parser.parse_args()
    if not 0 < options.count <= 65_536:
        parser.error("--count must be 1 to 65536")
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        result = asyncio.run(
            campaign(
                Path(folder),
                count=options.count,
                kills=0 if options.load else options.kills,
                faults=0.0 if options.load else options.faults,
                devices=100 if options.load else 10,
                registers=100 if options.load else 10,
                rate=20.0 if options.load else 0.0,
            )
        )
    print(json.dumps(result))
    raise SystemExit(1 if result["double_actuations"] else 0)


if __name__ == "__main__":
    main()
