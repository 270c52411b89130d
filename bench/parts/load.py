"""The load of the fault laboratory: devices that number their readings, about 1,000 a second, and their accounts.

- Six devices that can resend: they speak the device's side of custody to the gateway's broker, two of them on the
  urgent lane, two through a deadband, one without a wall clock. What they make counts as made at once: nobody may lose
  it.
- One device that cannot: a meter that is polled by Modbus TCP and answers each poll with the next number, in each of
  its registers. A poll's readings count as made once the gateway has accepted them, which is when they are committed
  in its outbox: at the latest ACCEPT_S after the answer. Answers that a gateway was killed upon sooner than that, and
  that are not found, were never accepted; every other one must be stored.
"""

import asyncio
import bisect
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

from bench.parts import ledger
from bench.parts.lab import Lab
from bench.parts.ledger import Account
from bench.parts.modbus_server import Connection
from bench.parts.numbered import NumberedDevice
from hub.errors import StoreError
from hub.store.querying import Querying
from protocols.topics import BULK, URGENT
from runtime.process import free_port

# A gateway commits each second; the rest is for a disk and a machine that have much else to do.
ACCEPT_S = 2.5

_DEVICES = {  # thing -> its model and lane
    "numbered-1": ("lab-numbered", BULK),
    "numbered-2": ("lab-numbered", BULK),
    "numbered-3": ("lab-numbered", BULK),
    "sparse-1": ("lab-sparse", BULK),
    "sparse-2": ("lab-sparse", URGENT),
    "urgent-1": ("lab-numbered", URGENT),
}
METER = "polled-1"
COUNTER = "count_0"  # one of its metrics, which are all alike
_REGISTERS = 20
_POLL_MS = 100
PACK = 20  # readings
_PACKS_PER_S = 7.0  # of each device
RATE = len(_DEVICES) * PACK * _PACKS_PER_S + _REGISTERS * 1000 / _POLL_MS  # readings a second

_HEAD = """\
[device]
model = "{model}"
maker = "Kerb"
kind = "counter"
link = "{link}"
name = {{ en = "Counter", zh = "计数器" }}
"""
_NO_WALL_CLOCK = "numbered-3"
_METRIC = """
[metrics.{metric}]
name = {{ en = "Count", zh = "计数" }}
unit = "1"
"""
_REGISTER = 'register = {{ table = "holding", address = {address}, type = "uint32" }}\n'
_NUMBERED = """
[[links]]
name = "numbered"
kind = "mqtt"
port = {broker}
devices = [{devices}]
"""
_POLLED = """
[[links]]
name = "polled"
kind = "modbus"
host = "127.0.0.1"
port = {meter}
timeout_ms = 10000
devices = [{{ thing = "{thing}", model = "lab-polled", address = "1" }}]
"""


class Load:
    """All devices. `make_lab` makes a lab whose gateway knows them; `making` lets them make readings, if not `paused`.

    device_port: where the devices find the gateway's broker, if not at the broker's own port.
    """

    def __init__(self, *, device_port: int = 0):
        self.broker_port = free_port()
        port = device_port or self.broker_port
        self.devices = [
            NumberedDevice(thing, port, lane=lane, wall_clock=thing != _NO_WALL_CLOCK, incarnation=number)
            for number, (thing, (_, lane)) in enumerate(_DEVICES.items(), 1)
        ]
        self.meter = _Meter()
        self._running = asyncio.Event()
        self._running.set()

    def make_lab(self, directory: Path, *, uplink: int = 0, other_clock: bool = False) -> Lab:
        """Hub and gateway in that folder, prepared but not started."""
        links = self.links(self.broker_port) + _POLLED.format(meter=self.meter.port, thing=METER)
        lab = Lab(directory, links=links, models=_models(), uplink=uplink, other_clock=other_clock)
        lab.prepare()
        for device in self.devices:
            device.admit(directory / "gateway")
        return lab

    def made(self) -> int:
        """Readings that devices which can resend have made."""
        return sum(device.made for device in self.devices)

    @staticmethod
    def links(broker_port: int) -> str:
        """The link of the devices that can resend."""
        entry = '{{ thing = "{}", model = "{}" }}'
        devices = ", ".join(entry.format(thing, model) for thing, (model, _) in _DEVICES.items())
        return _NUMBERED.format(broker=broker_port, devices=devices)

    @contextlib.asynccontextmanager
    async def paused(self, lab: Lab, *, timeout_s: float) -> AsyncIterator[bool]:
        """Within it no reading is made; False if what was made before has not arrived in time."""
        self._running.clear()
        self.meter.stopped = True
        try:
            yield await self.settled(lab, timeout_s=timeout_s)
        finally:
            self.meter.stopped = False
            self._running.set()

    @contextlib.asynccontextmanager
    async def making(self) -> AsyncIterator[None]:
        """Within it readings are made; afterwards the devices are still there, and hand over what they hold."""
        server = await asyncio.get_running_loop().create_server(self.meter.connect, "127.0.0.1", self.meter.port)
        task = asyncio.create_task(self._make(), name="load")
        try:
            yield
        finally:
            task.cancel()
            server.close()
            self.meter.stopped = True
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _make(self) -> None:
        due = time.monotonic()
        while True:
            if not self._running.is_set():
                await self._running.wait()
                due = time.monotonic()
            for device in self.devices:
                device.check()
                device.make(PACK)
            due += 1 / _PACKS_PER_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def arrived(self, lab: Lab, *, timeout_s: float) -> bool:
        """Wait until the hub has all that devices which can resend have made by now; False if that takes too long."""
        return await self._stored(lab, 0, timeout_s)

    async def flows(self, lab: Lab, *, timeout_s: float) -> bool:
        """Wait until the hub also has a pack of each that is still to be made; False if that takes too long."""
        return await self._stored(lab, PACK, timeout_s)

    async def _stored(self, lab: Lab, more: int, timeout_s: float) -> bool:
        wanted = {device.thing: device.made + more for device in self.devices}
        hub = Querying(lab.hub_data)

        def there() -> bool:
            found = {each.thing: each.stored + each.suppressed + each.declared_lost for each in hub.custody()}
            return all(found.get(thing, 0) >= made for thing, made in wanted.items())

        return await until(there, timeout_s)

    async def settled(self, lab: Lab, *, timeout_s: float) -> bool:
        """While no reading is made: wait until nobody holds anything any more; False if that takes too long."""

        def empty() -> bool:
            status = lab.status()
            return status is not None and not any(thing["buffered"] for thing in status["things"].values())

        await asyncio.sleep(ACCEPT_S)
        return await self.arrived(lab, timeout_s=timeout_s) and await until(empty, timeout_s)

    def accounts(self, lab: Lab) -> dict[str, Account]:
        """What became of every reading, by device. To be asked once it has settled."""
        custody = {each.thing: each for each in Querying(lab.hub_data).custody()}
        things = (lab.status() or {"things": {}})["things"]
        buffered = {thing: things.get(thing, {}).get("buffered", 0) for thing in (*_DEVICES, METER)}
        found = {}
        for device in self.devices:
            known = custody[device.thing]
            found[device.thing] = ledger.judge(
                range(1, device.made + 1),
                _stored(lab, device.thing).get(device.METRIC, []),
                suppressed=known.suppressed,
                buffered=buffered[device.thing],
                declared_lost=known.declared_lost,
            )
        found[METER] = Account()
        for stored in _stored(lab, METER).values():
            found[METER] += ledger.judge(self.meter.made(stored), stored, buffered=buffered[METER] // _REGISTERS)
        found[METER] = found[METER].with_lost(custody[METER].declared_lost)
        return found


class _Meter:
    """Answers each poll with the next number; knows when, and when its gateway was killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.served_s: list[float] = []  # of number 1, 2, 3 ...
        self._killed_s: list[float] = []
        self._connections: list[Connection] = []
        self.stopped = False  # it does not answer

    def connect(self) -> Connection:
        """The server's side of one connection."""
        self._connections.append(Connection(self))
        return self._connections[-1]

    def gateway_killed(self) -> None:
        """It has just died: what it was given last may never have been accepted, and what it asked is not answered."""
        self._killed_s.append(time.monotonic())
        for connection in self._connections:
            connection.abort()
        self._connections.clear()

    def made(self, stored: Collection[int]) -> list[int]:
        """The numbers that count: all but those that the gateway died with, before it need have accepted them."""
        there = set(stored)
        return [
            number
            for number, served_s in enumerate(self.served_s, 1)
            if number in there or not self._died_with(served_s)
        ]

    def _died_with(self, served_s: float) -> bool:
        place = bisect.bisect(self._killed_s, served_s)
        return place < len(self._killed_s) and self._killed_s[place] - served_s < ACCEPT_S

    def fault(self) -> str:
        """See modbus_server.Answering."""
        return "request" if self.stopped else ""

    def answer(self, request: bytes) -> bytes:
        """The next number in each register pair; the gateway reads all of them at once."""
        count = int.from_bytes(request[10:12], "big")
        if count != 2 * _REGISTERS:
            raise ValueError(f"the gateway asks for {count} registers, not for all at once")
        self.served_s.append(time.monotonic())
        payload = struct.pack(">I", len(self.served_s)) * _REGISTERS
        head = struct.pack(">4sHBBB", request[:4], len(payload) + 3, request[6], request[7], len(payload))
        return head + payload


def _models() -> dict[str, str]:
    counting = _METRIC.format(metric=NumberedDevice.METRIC)
    registers = "".join(
        _METRIC.format(metric=f"count_{number}") + _REGISTER.format(address=2 * number) for number in range(_REGISTERS)
    )
    return {
        "lab-numbered": _HEAD.format(model="lab-numbered", link="mqtt") + counting,
        "lab-sparse": _HEAD.format(model="lab-sparse", link="mqtt") + counting + "deadband = 1.5\n",  # every other one
        "lab-polled": _HEAD.format(model="lab-polled", link="modbus")
        + f"[modbus]\nperiod_ms = {_POLL_MS}\n"
        + registers,
    }


def _stored(lab: Lab, thing: str) -> dict[str, list[int]]:
    streams = ledger.streams(lab.hub_data, thing)
    return {metric: ledger.numbers(lab.hub_data, stream) for metric, stream in streams.items()}


async def until(true: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again and again; False if it takes too long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):  # the hub has made no store yet
            if await asyncio.to_thread(true):
                return True
        await asyncio.sleep(0.1)
    return False
