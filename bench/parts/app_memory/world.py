"""Runs on MicroPython: virtual time for asyncio, and a broker with a gateway behind it, without any network.

Time stands still while the app works, and jumps when all of its tasks wait.
"""

# It takes the place of parts of MicroPython's own asyncio, which CPython's has not.
# mypy: disable-error-code="attr-defined, assignment, no-any-return, call-arg"

import asyncio
import json
import time
from asyncio import core

from firmware.core import mqtt_packets
from protocols import cursor, topics
from protocols.custody import STORE, Header, Receiver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_AHEAD_MS = 24 * 3600_000  # asyncio has real time for tasks that shall run at once: it must always be past
_COMMIT_MS = 250  # from a pack to the gateway's cursor
_ACKNOWLEDGEMENTS = {1: b"\x20\x02\x00\x00", 12: b"\xd0\x00"}  # of CONNECT and PINGREQ


class Done(Exception):
    """The virtual time is over."""


class Time:
    """Virtual milliseconds. `until` says when it is over, `on_jump` is told before each jump."""

    def __init__(self, until_ms: int, on_jump: "Callable[[int], None]"):
        self.now_ms = 0
        self._base = time.ticks_ms() + _AHEAD_MS
        self._until_ms = until_ms
        self._on_jump = on_jump
        self.map: dict[int, object] = {}  # as asyncio's own queue of sockets has one
        self._main: Any = None

    def install(self) -> None:
        """From now on asyncio lives in this time. On Unix it asks us to wait; in WebAssembly we ask it to go on."""
        core.ticks = self.ticks_ms
        asyncio.ThreadSafeFlag = Flag
        if hasattr(core, "_io_queue"):
            core._io_queue = self
        else:
            core._schedule_run_iter = lambda _: None
            asyncio.run = self._set_out

    def ticks_ms(self) -> int:
        """In place of time.ticks_ms."""
        return self._base + self.now_ms

    def wait_io_event(self, wait_ms: int) -> None:
        """All tasks wait, for so many milliseconds. Raises Done."""
        if wait_ms > 0:
            self._jump(wait_ms)

    def step(self) -> bool:
        """In WebAssembly: let all tasks that are due run, and time jump to the next one. Whether time goes on."""
        core._run_iter()
        if self._main.done():
            raise SystemExit("the app has ended")
        task = core._task_queue.peek()
        try:
            self._jump(max(1, task.ph_key - self.ticks_ms()))
        except Done:
            return False
        return True

    def _set_out(self, main: "Any") -> None:
        self._main = asyncio.create_task(main)

    def _jump(self, wait_ms: int) -> None:
        self._on_jump(self.now_ms)
        self.now_ms += wait_ms
        if time.ticks_ms() > self.ticks_ms():
            raise RuntimeError("virtual time is slower than real time")
        if self.now_ms >= self._until_ms:
            raise Done


class Flag:
    """In place of ThreadSafeFlag, which is polled: nothing here comes from another thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()


class Gateway:
    """Broker and gateway: takes over what is published, and answers with cursors after its commit.

    `is_down(now_ms)`: whether nobody can reach it, and connections break.
    """

    def __init__(self, time: Time, is_down: "Callable[[int], bool]"):
        self._time = time
        self._is_down = is_down
        self._device = ""
        self._receivers = {lane: Receiver() for lane in topics.LANES}
        self._stored: list[tuple[str, Any]] = []
        self._line: Line | None = None
        self.connections = self.packs = 0

    def install(self) -> None:
        """From now on every connection leads here."""
        asyncio.open_connection = self._connect
        self._living = asyncio.create_task(self._live())

    async def _connect(self, *where: object, **options: object) -> "tuple[Line, Line]":
        await asyncio.sleep(0.01)
        if self._is_down(self._time.now_ms):
            raise OSError(111)
        self.connections += 1
        self._line = Line(self._take)
        return self._line, self._line

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_MS / 1000)
            line = self._line
            if line is None:
                continue
            if self._is_down(self._time.now_ms):
                line.fail()
                self._line = None
                continue
            for lane, header in self._stored:
                self._receivers[lane].stored(header)
            for lane in {lane for lane, _ in self._stored}:
                topic = topics.cursor(topics.DEVICE, self._device, lane)
                line.bring(mqtt_packets.publish(topic, cursor.encode("session", self._receivers[lane].cursor())))
            self._stored.clear()

    def _take(self, line: "Line", first: int, body: bytes) -> None:
        kind = first >> 4
        if kind in _ACKNOWLEDGEMENTS:
            line.bring(_ACKNOWLEDGEMENTS[kind])
        elif kind == 8:
            granted = bytes([1]) * self._count_topics(body)
            line.bring(bytes([0x90, 2 + len(granted)]) + body[:2] + granted)
        elif kind == mqtt_packets.PUBLISH:
            topic, payload, number = mqtt_packets.read_publish(first, body)
            if number:
                line.bring(mqtt_packets.puback(number))
            parsed = topics.parse(topic)
            self._device = parsed.sender
            if parsed.kind == "up":
                header = _header(payload)
                self.packs += 1
                if self._receivers[parsed.lane].offer(header) == STORE:
                    self._stored.append((parsed.lane, header))

    @staticmethod
    def _count_topics(body: bytes) -> int:
        at, count = 2, 0
        while at < len(body):
            at += 3 + (body[at] << 8 | body[at + 1])
            count += 1
        return count


def _header(pack: bytes) -> "Header":
    first = json.loads(pack)[0]
    fields = [first[name] for name in ("epoch", "seq", "base", "oldest", "backfill")]
    return Header(*fields, first.get("first", first["seq"]))


class Line:
    """Both ends of a connection, as the device's streams: what it writes is taken at once."""

    def __init__(self, take: "Callable[[Line, int, bytes], None]"):
        self._take = take
        self._written = b""
        self._brought = b""
        self._news = asyncio.Event()
        self._failed = False

    def write(self, data: bytes) -> None:
        self._written += data
        while True:
            length, at = 0, 1
            while True:
                if at >= len(self._written):
                    return
                length |= (self._written[at] & 0x7F) << 7 * (at - 1)
                at += 1
                if self._written[at - 1] < 0x80:
                    break
            if len(self._written) < at + length:
                return
            packet, self._written = self._written[: at + length], self._written[at + length :]
            self._take(self, packet[0], packet[at:])

    async def drain(self) -> None:
        if self._failed:
            raise OSError(104)
        await asyncio.sleep(0)

    def close(self) -> None:
        self._failed = True

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)

    def bring(self, data: bytes) -> None:
        """To the device."""
        self._brought += data
        self._news.set()

    def fail(self) -> None:
        """The connection breaks."""
        self._failed = True
        self._news.set()

    async def readexactly(self, count: int) -> bytes:
        while len(self._brought) < count:
            if self._failed:
                raise EOFError
            self._news.clear()
            await self._news.wait()
        data, self._brought = self._brought[:count], self._brought[count:]
        return data
