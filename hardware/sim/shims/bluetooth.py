"""MicroPython's `bluetooth` on a simulated board: the part of its documented API that a peripheral uses.

The stack and the controller are those of another process, whose place is in the environment variable KERB_RADIO
("HOST:PORT", hardware/sim/ble_stack.py); here is only the way there. Source of all behaviour: MicroPython 1.29,
library/bluetooth, and extmod/nimble where the documentation is silent. Events come between two steps of the event
loop, and a central's write is answered when its event was; GET_SECRET and SET_SECRET come at once, in the middle of a
call, as they do on a board.
"""

import asyncio
import errno
import os
import select
import socket
import time

from hardware.sim.shims import machine
from hardware.sim.shims.radio_lines import ANSWER, ASK, CALL, DONE, EVENT, FAILED, LONGEST, address_of, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FLAG_READ, FLAG_WRITE_NO_RESPONSE, FLAG_WRITE, FLAG_NOTIFY, FLAG_INDICATE = 0x02, 0x04, 0x08, 0x10, 0x20

_GET_SECRET, _SET_SECRET = 29, 30
_TICK_S = 0.005
_CHUNK = 256  # bytes that are received at a time: a full heap has no large piece
_PATIENCE = 50  # tenths of a second; a board's watchdog waits longer


class UUID:
    """A UUID of 16 bits (a number) or of 128 bits (text)."""

    def __init__(self, value: "int | str"):
        self.value = value

    def __repr__(self) -> str:
        return f"UUID({self.value!r})"


class _Radio:
    """The line to the radio's process. What comes while a call waits for its answer is delivered later."""

    def __init__(self, place: str):
        host, _, port = place.rpartition(":")
        self._socket = _connected(socket.getaddrinfo(host, int(port))[0][-1])
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._received = b""
        self._waiting: "list[list[Any]]" = []
        self.irq: "Callable[[int, tuple[Any, ...]], Any] | None" = None
        self._ticker: object = asyncio.create_task(self._live())

    def call(self, name: str, *arguments: "Any") -> "Any":
        """Have the stack do something; its result. Raises OSError."""
        self._socket.sendall(encode([CALL, name, arguments]))
        while True:
            message = self._next(-1)
            if message[0] == DONE:
                return message[1]
            if message[0] == FAILED:
                raise OSError(message[1])
            self._take(message)

    def _take(self, message: "list[Any]") -> None:
        if message[0] == ASK and message[1] in (_GET_SECRET, _SET_SECRET):
            self._deliver(message)
        elif message[0] in (ASK, EVENT):
            self._waiting.append(message)

    def _next(self, timeout_ms: int) -> "list[Any]":
        """The next message; an empty one if none comes in time."""
        while b"\n" not in self._received:
            if not self._poll.poll(timeout_ms):
                return []
            received = self._socket.recv(_CHUNK)
            if not received or len(self._received) > LONGEST:
                raise OSError(errno.ENODEV)  # a board whose radio is gone
            self._received += received
        line, self._received = self._received.split(b"\n", 1)
        return decode(line)

    async def _live(self) -> None:
        while True:
            message = self._next(0)
            while message:
                self._take(message)
                message = self._next(0)
            while self._waiting:
                self._deliver(self._waiting.pop(0))
            await asyncio.sleep(_TICK_S)

    def _deliver(self, message: "list[Any]") -> None:
        """Call the handler. Its buffers are valid only meanwhile: afterwards they hold nothing that was in them."""
        kind, number, data = message
        buffers = [bytearray(each) if isinstance(each, bytes) else each for each in data]
        given = tuple([memoryview(each) if isinstance(each, bytearray) else each for each in buffers])
        answer = None if self.irq is None else self.irq(number, given)
        if kind == ASK:
            self._socket.sendall(encode([ANSWER, answer]))
        for buffer in buffers:
            if isinstance(buffer, bytearray):
                for place in range(len(buffer)):
                    buffer[place] = 0xDD


def _connected(place: "Any") -> "socket.socket":
    """The line; the radio's process may take longer to start than the board's. Raises OSError."""
    for _ in range(_PATIENCE):
        line = socket.socket()
        try:
            line.connect(place)
            return line
        except OSError:
            line.close()
            time.sleep(0.1)
    raise OSError(errno.ENODEV)


class _Installed:
    radio: "_Radio | None" = None


def _radio() -> _Radio:
    if _Installed.radio is None:
        place = os.getenv("KERB_RADIO")
        if not place:
            raise OSError(errno.ENODEV)
        _Installed.radio = _Radio(place)
    return _Installed.radio


class BLE:
    """The radio. Every BLE() is the same one."""

    def active(self, active: "bool | None" = None) -> bool:
        """Switch the radio on or off; whether it is on."""
        return bool(_radio().call("active", active, address_of(machine.unique_id())))

    def config(self, param: "str | None" = None, **values: "Any") -> "Any":
        """A setting, or change some of them."""
        if param is None:
            return _radio().call("configure", [[name, values[name]] for name in values])
        value = _radio().call("setting", param)
        return tuple(value) if isinstance(value, list) else value

    def irq(self, handler: "Callable[[int, tuple[Any, ...]], Any]") -> None:
        """Who is told of events."""
        _radio().irq = handler

    def gap_advertise(
        self,
        interval_us: "int | None",
        adv_data: "bytes | None" = None,
        *,
        resp_data: "bytes | None" = None,
        connectable: bool = True,
    ) -> None:
        """Advertise, or with None no longer."""
        _radio().call("gap_advertise", interval_us, adv_data, resp_data, connectable)

    def gap_disconnect(self, conn_handle: int) -> bool:
        """End a connection; whether there was one."""
        return bool(_radio().call("gap_disconnect", conn_handle))

    def gap_pair(self, conn_handle: int) -> None:
        """Ask the central to encrypt the link, and to pair first if need be."""
        _radio().call("gap_pair", conn_handle)

    def gatts_register_services(self, services: "Sequence[Any]") -> "tuple[tuple[int, ...], ...]":
        """Replace all services; the handles of their values, a tuple for each service."""
        handles = _radio().call("gatts_register_services", [_service(service) for service in services])
        return tuple([tuple(each) for each in handles])

    def gatts_read(self, value_handle: int) -> bytes:
        """The local value."""
        return bytes(_radio().call("gatts_read", value_handle))

    def gatts_write(self, value_handle: int, data: bytes, send_update: bool = False) -> None:
        """Set the local value, and tell it to who has subscribed."""
        _radio().call("gatts_write", value_handle, data, send_update)

    def gatts_notify(self, conn_handle: int, value_handle: int, data: "bytes | None" = None) -> None:
        """Notify a central, subscribed or not."""
        _radio().call("gatts_notify", conn_handle, value_handle, data)

    def gatts_indicate(self, conn_handle: int, value_handle: int, data: "bytes | None" = None) -> None:
        """Indicate to a central, subscribed or not; an event tells how it ended."""
        _radio().call("gatts_indicate", conn_handle, value_handle, data)

    def gatts_set_buffer(self, value_handle: int, len: int, append: bool = False) -> None:
        """How much a central may write, and whether writes add up until they are read."""
        _radio().call("gatts_set_buffer", value_handle, len, append)


def _service(service: "Any") -> "list[Any]":
    return [service[0].value, [_characteristic(each) for each in service[1]]]


def _characteristic(characteristic: "Any") -> "list[Any]":
    descriptors = characteristic[2] if len(characteristic) > 2 else ()
    return [characteristic[0].value, characteristic[1], [[each[0].value, each[1]] for each in descriptors]]
