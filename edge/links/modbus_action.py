"""One command to a Modbus device: the write, at most once, and the read-back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edge.errors import ActionFailed, ActionRefused
from edge.links.modbus_line import Silence
from edge.links.modbus_values import decode, encode
from hardware.catalogue import Command, Modbus, Register
from protocols.errors import DecodeError, EncodeError
from protocols.modbus import (
    ExceptionResponse,
    decode_bits,
    decode_words,
    mask_write,
    read_request,
    read_write_registers,
    write_coil,
    write_coils,
    write_register,
    write_registers,
)
from protocols.modbus.frames import (
    ACKNOWLEDGE,
    DEVICE_FAILURE,
    ILLEGAL_FUNCTION,
    NO_PATH,
    NO_RESPONSE,
    READ_COILS,
    READ_HOLDING,
)

if TYPE_CHECKING:
    from protocols.reading import Value

Ask = Callable[[int, bytes], Awaitable[bytes]]  # (unit, request PDU) -> data of the answer

# After any other exception surely nothing was done.
_DOUBTFUL = (DEVICE_FAILURE, ACKNOWLEDGE, NO_PATH, NO_RESPONSE)


class Action:
    """One command under way. `result` is done when it has ended, one way or the other."""

    def __init__(self, thing: str, unit: int, modbus: Modbus, command: Command, value: "Value"):
        if command.register_ is None:
            raise ActionRefused(thing, "the command writes no register")
        self.result: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._thing = thing
        self._unit = unit
        self._modbus = modbus
        self._register: Register = command.register_
        self._reads_back = command.read_back
        self._value = value
        try:
            self._words = self._encoded()
        except EncodeError as error:
            raise ActionRefused(thing, str(error)) from error

    def refuse(self, reason: str) -> None:
        """End it undone."""
        if not self.result.done():
            self.result.set_exception(ActionRefused(self._thing, reason))

    async def carry_out(self, ask: Ask) -> None:
        """Write, and read back; nothing that may have been heard is sent again."""
        if self.result.done():
            return  # nobody waits for it any more
        try:
            found = await self._done(ask)
        except (ActionRefused, ActionFailed) as error:
            self._end(error)
        except asyncio.CancelledError:
            self._end(ActionFailed(self._thing, "the link was stopped; it may have been carried out"))
            raise
        else:
            if not self.result.done():
                self.result.set_result(found)

    def _end(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    async def _done(self, ask: Ask) -> "Value":
        doubt = ""
        try:
            await self._write(ask)
        except ExceptionResponse as refusal:
            if refusal.code not in _DOUBTFUL:
                raise ActionRefused(self._thing, f"the device says: {refusal.reason}") from refusal
            doubt = refusal.reason
        except Silence as silence:
            if not silence.sent:
                raise ActionRefused(self._thing, str(silence)) from silence
            doubt = str(silence)
        except DecodeError as error:
            doubt = str(error)
        if not self._reads_back:
            if doubt:
                raise ActionFailed(self._thing, f"{doubt}; it may have been carried out")
            return None
        try:
            found = await self._read(ask)
        except (Silence, DecodeError) as error:
            raise ActionFailed(self._thing, f"{doubt or error}; it may have been carried out") from error
        if not self._is_as_told(found):
            raise ActionFailed(self._thing, f"{doubt or 'it was answered'}, but reads back as {found}")
        return found

    def _encoded(self) -> list[int]:
        if self._register.table != "coil":
            return encode(self._register, self._value, self._modbus)
        if self._value not in (0, 1):
            raise EncodeError("coil", f"{self._value!r} is neither 0 nor 1")
        return [int(bool(self._value))]

    async def _write(self, ask: Ask) -> None:
        address = self._register.address
        if self._register.table == "coil":
            on = bool(self._words[0])
            await self._first_known(ask, [write_coil(address, on), write_coils(address, [on])])
        elif self._register.type in ("bool", "bits"):
            await self._write_bits(ask)
        else:
            await self._write_words(ask, self._words)

    async def _write_words(self, ask: Ask, words: list[int]) -> None:
        address = self._register.address
        writes = [write_registers(address, words), read_write_registers(address, len(words), address, words)]
        if len(words) == 1:
            writes.insert(0, write_register(address, words[0]))
        await self._first_known(ask, writes)

    async def _write_bits(self, ask: Ask) -> None:
        """Only the bits that are the command's: by function 22, or where that is unknown by a read and a write."""
        address = self._register.address
        start = self._register.bit or 0
        mine = ((1 << self._register.width) - 1) << start
        try:
            await ask(self._unit, mask_write(address, 0xFFFF & ~mine, self._words[0]))
        except ExceptionResponse as refusal:
            if refusal.code != ILLEGAL_FUNCTION:
                raise
            (before,) = decode_words(await ask(self._unit, read_request(READ_HOLDING, address, 1)))
            await self._write_words(ask, [before & ~mine & 0xFFFF | self._words[0]])

    async def _first_known(self, ask: Ask, writes: list[bytes]) -> None:
        """The first of these that the device knows: when it says so of a function, it has done nothing."""
        for write in writes:
            try:
                await ask(self._unit, write)
            except ExceptionResponse as refusal:
                if refusal.code != ILLEGAL_FUNCTION or write is writes[-1]:
                    raise
            else:
                return

    async def _read(self, ask: Ask) -> "Value":
        address = self._register.address
        if self._register.table == "coil":
            return bool(decode_bits(await ask(self._unit, read_request(READ_COILS, address, 1)), 1)[0])
        words = decode_words(await ask(self._unit, read_request(READ_HOLDING, address, len(self._words))))
        return decode(self._register, words, self._modbus)

    def _is_as_told(self, found: "Value") -> bool:
        """Whether what reads back is what was written, as the register rounds it."""
        if self._register.table == "coil":
            return found == bool(self._words[0])
        return found == decode(self._register, self._words, self._modbus)
