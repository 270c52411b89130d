"""A device that numbers its readings 1, 2, 3 ..., and holds each until the gateway's cursor has passed it."""

import asyncio
import contextlib
import time
from dataclasses import replace
from pathlib import Path

from bench.parts.devices import device_tls
from protocols import cursor, senml, topics
from protocols.custody import Sender, epoch_number
from protocols.reading import GOOD, Reading
from protocols.topics import BULK
from runtime.mqtt import Broker, MqttError, Session, keep_session


class NumberedDevice:
    """Speaks the device's side of custody over MQTT. The value of its readings, of metric `count`, is their number.

    Without a wall clock (`wall_clock` False) it sends
    its monotonic time, and the gateway re-bases it.
    """

    METRIC = "count"

    def __init__(
        self,
        thing: str,
        port: int,
        *,
        lane: str = BULK,
        wall_clock: bool = True,
        incarnation: int = 4711,
    ):
        self.thing = thing
        self.made = 0
        self._lane = lane
        self._wall_clock = wall_clock
        self._broker = Broker("127.0.0.1", port, thing)
        self._epoch = epoch_number(incarnation, 1, 0)
        self._sender = Sender(resend_ms=500)
        self._sender.open(self._epoch)
        self._packs = 0
        self._bodies: dict[int, str] = {}
        self._due = asyncio.Event()

    def admit(self, data: Path) -> None:
        """Have the gateway with this data folder let it in. To be done before it is started."""
        self._broker = replace(self._broker, tls=device_tls(data, self.thing))

    def held(self) -> int:
        """Packs that the gateway has not confirmed."""
        return len(self._bodies)

    def make(self, count: int = 1) -> None:
        """Make so many readings now, a pack of their own."""
        now_ms = time.time_ns() // 1_000_000 if self._wall_clock else _now_ms()
        numbers = range(self.made + 1, self.made + 1 + count)
        readings = [Reading(self.METRIC, number, "1", GOOD, now_ms) for number in numbers]
        self.made += count
        self._packs += 1
        self._bodies[self._packs] = senml.encode_body(readings, device=self.thing, wall_clock=self._wall_clock)
        self._sender.appended(self._epoch, self._packs)
        self._due.set()

    def start(self) -> None:
        """Serve in a task of its own."""
        self._task = asyncio.create_task(self._run(), name=self.thing)

    def check(self) -> None:
        """Raise what the device itself has died of."""
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        await keep_session(self._broker, self._serve, on_down=lambda reason: self._sender.disconnected())

    async def _serve(self, session: Session) -> None:
        await session.subscribe(f"d/{self.thing}/cursor/+")
        await session.publish(topics.birth("d", self.thing), b'{"state":"online"}', qos=1, retain=True)
        self._sender.connected()
        self._due.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(session))
            tasks.create_task(self._send(session))

    async def _listen(self, session: Session) -> None:
        async for message in session.messages():
            if not message.topic.endswith(f"/{self._lane}"):
                continue
            name, stored = cursor.decode(message.payload)
            for release in self._sender.cursor(name, stored, _now_ms()):
                for seq in [seq for seq in self._bodies if seq <= release.upto]:
                    del self._bodies[seq]
            self._due.set()
        raise MqttError("the session ended")

    async def _send(self, session: Session) -> None:
        while True:
            self._due.clear()
            for header in self._sender.due(_now_ms()):
                body = self._bodies.get(header.seq)
                if body:  # else it was confirmed while the ones before it were sent
                    payload = senml.encode_pack(header, body, _now_ms())
                    await session.publish(topics.up("d", self.thing, self._lane), payload)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), 0.1)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
