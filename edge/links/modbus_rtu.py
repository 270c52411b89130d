"""Modbus RTU: on a serial port, and over TCP to a device server that has one. No library frames it: see modbus_line."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from edge.links.base import Clock
from edge.links.modbus_line import Network, Silence, Waiting
from edge.links.serial_port import SerialPort
from protocols.errors import ChecksumError, DecodeError
from protocols.modbus import could_answer, frame_gap_s, parse_rtu, rtu, rtu_response_size

LATE_S = 0.5  # after its timeout an answer may still come, and nothing in it says what it answers
_NETWORK_FRAME_S = 0.5  # for the rest of a frame from a device server, which has it in pieces from its serial line
_NETWORK_LULL_S = 0.1  # nothing for so long: what was damaged is over
_ADAPTER_S = 0.02  # USB adapters hand on what came at intervals of their own
_MOST_BYTES = 512  # of an answer and what came before it


class _Rtu(Waiting):
    """Finds the answer in the bytes of an RTU line; what comes unasked is dropped.

    The timeout is for the beginning of an answer: one that has begun has as long as the longest frame takes. A frame
    does not say which request it answers. So one from another unit, or of another kind than was asked for, is taken for
    one that comes late and left aside; and after a damaged one the line is let fall quiet, lest the rest of it be taken
    for the answer to the next request.
    """

    late_s = LATE_S
    _frame_s = _NETWORK_FRAME_S
    _lull_s = _NETWORK_LULL_S

    def __init__(self, clock: Clock, count: Callable[[str], None]):
        super().__init__(clock, count)
        self._input = bytearray()  # of an answer that is not whole yet
        self._pdu = b""  # that is to be answered
        self._until_s = 0.0  # by then the answer must have begun, or what is damaged must be over
        self._misfit: DecodeError | None = None  # what was wrong with what came in the answer's place
        self._owed: dict[
            int, tuple[bytes, float]
        ] = {}  # by unit: what it has not answered, and until when it still may

    async def _answer_to(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        self._unit, self._pdu, self._misfit = unit, pdu, None
        self._until_s = asyncio.get_running_loop().time() + timeout_s
        self._input.clear()
        try:
            return await self._wait(timeout_s)
        except Silence as silence:
            if self._input:
                self._misfit = ChecksumError("modbus RTU", f"{len(self._input)} bytes that are no answer")
            if not isinstance(self._misfit, ChecksumError):
                self._owed[unit] = (pdu, self._until_s + self.late_s)
            if self._misfit is not None:
                raise self._misfit from silence
            raise

    def data_received(self, data: bytes) -> None:
        """Take bytes that came."""
        answer = self._answer
        if answer is None or answer.done():
            self._unasked(data)
            return
        now_s = asyncio.get_running_loop().time()
        if isinstance(self._misfit, ChecksumError):
            self._end_by(answer, min(now_s + self._lull_s, self._until_s))
            return
        if not self._input:
            self._begins()
        self._input += data[: _MOST_BYTES - len(self._input)]
        try:
            while (frame := self._frame()) is not None:
                unit, pdu = parse_rtu(frame)
                if self._fits(unit, pdu):
                    self._settle(pdu)
                    return
                self._came_late(unit)
        except DecodeError as error:  # also for a function that there is not: no CRC could make that right
            self._misfit = ChecksumError("modbus RTU", error.reason)
            self._input.clear()
            self._until_s = now_s + self._frame_s
            self._end_by(answer, now_s + self._lull_s)
        else:
            self._end_by(answer, now_s + self._frame_s if self._input else self._until_s)

    def _unasked(self, data: bytes) -> None:
        """Bytes that nobody waits for: short answers come in one piece."""
        try:
            unit, _ = parse_rtu(data)
        except DecodeError:
            self._count("late_answers")
        else:
            self._came_late(unit)

    def _frame(self) -> bytes | None:
        """The next whole frame, taken from the input. Raises DecodeError."""
        size = rtu_response_size(bytes(self._input[:3]))
        if size is None or len(self._input) < size:
            return None
        frame = bytes(self._input[:size])
        del self._input[:size]
        return frame

    def _fits(self, unit: int, pdu: bytes) -> bool:
        """Whether it is the answer that is waited for, as far as can be told."""
        if unit != self._unit:
            return False
        if not could_answer(self._pdu, pdu):
            self._misfit = DecodeError("modbus RTU", "what was answered is not what was asked for")
            return False
        owed, until_s = self._owed.pop(unit, (self._pdu, 0.0))
        # A device answers in order: what it owes comes first.
        return until_s < self._sent_s or owed == self._pdu or not could_answer(owed, pdu)

    def _end_by(self, answer: "asyncio.Future[bytes]", at_s: float) -> None:
        """Let the wait end at that time."""
        assert self._timer
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at_s, self._late, answer)


class RtuOverTcpLine(Network, _Rtu):
    """RTU frames through a serial device server."""

    async def exchange(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        self._write(rtu(unit, pdu))
        return await self._answer_to(unit, pdu, timeout_s)

    def _reset(self) -> None:
        self._input.clear()


class SerialLine(_Rtu):
    """RTU on a serial port, best given by its stable name in /dev/serial/by-id. Keeps the silence between frames."""

    def __init__(
        self, port: str, clock: Clock, count: Callable[[str], None], *, baud: int, parity: str, stop_bits: int
    ):
        super().__init__(clock, count)
        self.where = port
        self._settings: dict[str, Any] = {"baud": baud, "parity": parity, "stop_bits": stop_bits}
        self._gap_s = frame_gap_s(baud)
        self._character_s = 11 / baud
        self._frame_s = 2 * 256 * self._character_s + _ADAPTER_S
        self._lull_s = self._gap_s + _ADAPTER_S
        self._port: SerialPort | None = None
        self._quiet_s = 0.0  # the line is free from then on
        self._lost: Callable[[], None] = lambda: None

    async def open(self, lost: Callable[[], None]) -> None:
        self._port = SerialPort(self.where, self.where, **self._settings)
        self._lost = lost
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable)

    def close(self) -> None:
        self._lost = lambda: None
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
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
            return await self._answer_to(unit, pdu, timeout_s + sending_s)
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
