"""The lines that Modbus requests go over: TCP, RTU over TCP, RTU on a serial port. One request at a time on each.

A line knows frames and nothing of what is in them. `exchange` is the hot path of the gateway: one future and one timer
a request, no streams, no tasks.
"""

import asyncio
import os
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import serial

from edge.errors import LinkError
from edge.links.base import Clock
from protocols.errors import ChecksumError, DecodeError
from protocols.modbus import (
    MbapStream,
    frame_gap_s,
    mbap,
    parse_rtu,
    rtu,
    rtu_response_size,
)

CONNECT_S = 5.0
_NETWORK_FRAME_S = 0.5  # for the rest of a frame from a device server, which has it in pieces from its serial line
_MOST_BYTES = 512  # of a damaged answer; what comes beyond them is dropped


class Silence(Exception):
    """No answer came in time, or the line was lost; the text says how we know. `sent`: the device may have heard."""

    def __init__(self, reason: str, *, sent: bool = True):
        super().__init__(reason)
        self.sent = sent


class Line(Protocol):
    """One way to devices. `arrived_ms`: when the last answer came; `answer_s`: how long its device took to begin it."""

    where: str
    arrived_ms: int
    answer_s: float

    async def open(self, lost: Callable[[], None]) -> None:
        """Open the line; `lost` is called when it ends by itself. Raises LinkError."""

    def close(self) -> None:
        """Close it."""

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """The PDU that answers. Raises Silence; ChecksumError or DecodeError for an answer that is damaged."""


class _Waiting:
    """The wait for one answer, shared by all lines."""

    def __init__(self, clock: Clock, count: Callable[[str], None]):
        self.arrived_ms = 0
        self.answer_s = 0.0
        self._clock = clock
        self._count = count
        self._answer: asyncio.Future[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_s = 0.0
        self._unit = 0  # that was asked
        self._input = bytearray()  # of an answer that is not whole yet

    async def _wait(self, timeout_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        self._sent_s = loop.time()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._answer = answer
        self._timer = loop.call_later(timeout_s, self._late, answer, timeout_s)
        try:
            return await answer
        finally:
            self._timer.cancel()
            self._answer = None

    def _late(self, answer: "asyncio.Future[bytes]", timeout_s: float) -> None:
        if not answer.done():
            answer.set_exception(Silence(f"no answer within {timeout_s * 1000:.0f} ms"))

    def _begins(self) -> None:
        self.answer_s = asyncio.get_running_loop().time() - self._sent_s

    def _settle(self, pdu: bytes) -> None:
        self.arrived_ms = self._clock()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(pdu)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class _Network(_Waiting, asyncio.Protocol):
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
        self._fail(Silence("connection lost"))
        self._lost()

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            raise Silence("connection lost", sent=False)
        self._transport.write(frame)

    def _reset(self) -> None:
        """Forget what had begun to come in."""
        raise NotImplementedError


class TcpLine(_Network):
    """Modbus TCP. An answer is known by its transaction: one that comes too late is taken for no other."""

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
                self._count("late_answers")

    def _reset(self) -> None:
        self._frames = MbapStream()


class _Rtu(_Waiting):
    """Collects the bytes of one RTU answer; what comes unasked is dropped.

    The timeout is for the beginning of an answer: one that has begun has as long as the longest frame takes.
    """

    _frame_s = _NETWORK_FRAME_S

    async def _answer_to(self, unit: int, timeout_s: float) -> bytes:
        self._unit = unit
        self._input.clear()
        try:
            return await self._wait(timeout_s)
        except Silence as silence:
            if self._input:
                raise ChecksumError("modbus RTU", f"{len(self._input)} bytes that are no answer") from silence
            raise

    def data_received(self, data: bytes) -> None:
        """Take bytes that came."""
        if self._answer is None or self._answer.done():
            self._count("late_answers")
            return
        if not self._input:
            self._begins()
            assert self._timer
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._frame_s, self._late, self._answer, self._frame_s)
        self._input += data[: _MOST_BYTES - len(self._input)]
        try:
            size = rtu_response_size(bytes(self._input[:3]))
        except DecodeError as error:
            self._fail(ChecksumError("modbus RTU", str(error)))  # no CRC could make that right
            return
        if size is None or len(self._input) < size:
            return
        try:
            unit, pdu = parse_rtu(bytes(self._input[:size]))
            if unit != self._unit:
                raise DecodeError("modbus RTU", f"unit {unit} answers for {self._unit}")
        except DecodeError as error:
            self._fail(error)
            return
        self._settle(pdu)


class RtuOverTcpLine(_Rtu, _Network):
    """RTU frames through a serial device server."""

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        self._input.clear()
        self._write(rtu(unit, pdu))
        return await self._answer_to(unit, timeout_s)

    def _reset(self) -> None:
        self._input.clear()


class SerialLine(_Rtu):
    """RTU on a serial port, best given by its stable name in /dev/serial/by-id. Keeps the silence between frames."""

    def __init__(
        self, port: str, clock: Clock, count: Callable[[str], None], *, baud: int, parity: str, stop_bits: int
    ):
        super().__init__(clock, count)
        self.where = port
        self._settings = {"baudrate": baud, "parity": parity[0].upper(), "stopbits": stop_bits}
        self._gap_s = frame_gap_s(baud)
        self._character_s = 11 / baud
        self._frame_s = 2 * 256 * self._character_s + 0.02  # adapters hand on what came at intervals of their own
        self._port: serial.Serial | None = None
        self._quiet_s = 0.0  # the line is free from then on
        self._lost: Callable[[], None] = lambda: None

    async def open(self, lost: Callable[[], None]) -> None:
        try:
            self._port = serial.Serial(self.where, timeout=0, exclusive=True, **self._settings)
            self._port.reset_input_buffer()
        except (OSError, ValueError, termios.error) as error:
            raise LinkError(self.where, f"cannot open {self.where}: {error}") from error
        self._lost = lost
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable)

    def close(self) -> None:
        self._lost = lambda: None
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
            with suppress(OSError, termios.error):  # the adapter may be unplugged
                self._port.close()
            self._port = None

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while (wait_s := self._quiet_s - loop.time()) > 0:
            if self._quiet_s > until_s:
                raise Silence(f"{self.where} is never quiet", sent=False)
            await asyncio.sleep(wait_s)
        frame = rtu(unit, pdu)
        if self._port is None:
            raise Silence("the port is closed", sent=False)
        self._input.clear()
        try:
            sent = os.write(self._port.fileno(), frame)
        except OSError as error:
            self._ended()
            raise Silence(f"cannot write to {self.where}: {error}") from error
        if sent != len(frame):
            self._ended()
            raise Silence(f"{self.where} took {sent} of {len(frame)} bytes")
        sending_s = len(frame) * self._character_s
        try:
            return await self._answer_to(unit, timeout_s + sending_s)
        finally:
            self.answer_s = max(0.0, self.answer_s - sending_s)
            self._quiet_s = loop.time() + self._gap_s

    def _readable(self) -> None:
        assert self._port is not None
        try:
            data = os.read(self._port.fileno(), 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._quiet_s = asyncio.get_running_loop().time() + self._gap_s
            self.data_received(data)
        else:
            self._ended()

    def _ended(self) -> None:
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
        self._fail(Silence(f"{self.where} is gone"))
        self._lost()
