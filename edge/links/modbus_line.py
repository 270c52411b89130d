"""The lines that Modbus requests go over: what all of them are, and Modbus TCP. One request at a time on each.

A line knows frames and nothing of what is in them. `exchange` is the hot path of the gateway: one future and one timer
a request, no streams, no tasks.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge.errors import LinkError
from edge.links.base import Clock
from protocols.errors import DecodeError
from protocols.modbus import MbapStream, mbap

CONNECT_S = 5.0


class Silence(Exception):
    """No answer came in time, or the line was lost; the text says how we know. `sent`: the device may have heard."""

    def __init__(self, reason: str, *, sent: bool = True):
        super().__init__(reason)
        self.sent = sent


class Line(Protocol):
    """One way to devices. `arrived_ms`: when the last answer came; `answer_s`: how long its device took to begin it.

    late_s: for so long after its timeout an answer may still come and pass for that to another request: until then a
    device is better left alone. late: units whose answers have come when nobody waited for them any more.
    """

    where: str
    arrived_ms: int
    answer_s: float
    late_s: float
    late: set[int]

    async def open(self, lost: Callable[[], None]) -> None:
        """Open the line; `lost` is called when it ends by itself. Raises LinkError."""

    def close(self) -> None:
        """Close it."""

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """The PDU that answers. Raises Silence; ChecksumError or DecodeError for an answer that is damaged."""


class Waiting:
    """The wait for one answer, shared by all lines."""

    def __init__(self, clock: Clock, count: Callable[[str], None]):
        self.arrived_ms = 0
        self.answer_s = 0.0
        self.late: set[int] = set()
        self._clock = clock
        self._count = count
        self._answer: asyncio.Future[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_s = 0.0
        self._timeout_s = 0.0
        self._unit = 0  # that was asked

    async def _wait(self, timeout_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        self._sent_s, self._timeout_s = loop.time(), timeout_s
        answer: asyncio.Future[bytes] = loop.create_future()
        self._answer = answer
        self._timer = loop.call_later(timeout_s, self._late, answer)
        try:
            return await answer
        finally:
            self._timer.cancel()
            self._answer = None

    def _late(self, answer: "asyncio.Future[bytes]") -> None:
        if not answer.done():
            answer.set_exception(Silence(f"no answer within {self._timeout_s * 1000:.0f} ms"))

    def _begins(self) -> None:
        self.answer_s = asyncio.get_running_loop().time() - self._sent_s

    def _came_late(self, unit: int) -> None:
        self._count("late_answers")
        self.late.add(unit)

    def _settle(self, pdu: bytes) -> None:
        self.arrived_ms = self._clock()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(pdu)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class Network(Waiting, asyncio.Protocol):
    """A TCP connection."""

    def __init__(self, host: str, port: int, clock: Clock, count: Callable[[str], None]):
        super().__init__(clock, count)
        self.where = f"{host}:{port}"
        self._host = host
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._lost: Callable[[], None] = lambda: None

    async def open(self, lost: Callable[[], None]) -> None:
        self._reset()
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)
        except (OSError, TimeoutError) as error:
            raise LinkError(self.where, f"no connection to {self.where}") from error
        self._lost = lost

    def close(self) -> None:
        self._lost = lambda: None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(Silence(f"connection to {self.where} lost"))
        self._lost()

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            raise Silence(f"connection to {self.where} lost", sent=False)
        self._transport.write(frame)

    def _reset(self) -> None:
        """Forget what had begun to come in."""
        raise NotImplementedError


class TcpLine(Network):
    """Modbus TCP. An answer is known by its transaction: one that comes too late is taken for no other."""

    late_s = 0.0

    def __init__(self, host: str, port: int, clock: Clock, count: Callable[[str], None]):
        super().__init__(host, port, clock, count)
        self._transaction = 0
        self._frames = MbapStream()

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        self._transaction = self._transaction + 1 & 0xFFFF
        self._unit = unit
        self._write(mbap(self._transaction, unit, pdu))
        return await self._wait(timeout_s)

    def data_received(self, data: bytes) -> None:
        self._begins()
        try:
            frames = self._frames.feed(data)
        except DecodeError as error:
            self._count("decode_errors")
            self._fail(Silence(str(error)))
            if self._transport is not None:
                self._transport.abort()  # where the next frame begins nobody knows
            return
        for transaction, unit, pdu in frames:
            if transaction == self._transaction and unit == self._unit and self._answer is not None:
                self._settle(pdu)
            else:
                self._came_late(unit)

    def _reset(self) -> None:
        self._frames = MbapStream()
