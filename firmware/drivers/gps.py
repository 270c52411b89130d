"""A satellite receiver that talks NMEA 0183 on a serial port: its newest fix, as protocols/nmea reads it."""

import asyncio

from firmware.errors import DriverError
from protocols.errors import DecodeError
from protocols.nmea import TOLERATED_LENGTH, decode, parse
from protocols.nmea.fields import rescaled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firmware.core.clock import Clock
    from firmware.hal import Uart

CHIP = "gps"
_LOOK_S = 0.02  # at 115,200 baud 230 bytes come meanwhile
_AT_ONCE = 256
_SILENT_MS = 5000  # it talks once a second


class Gps:
    """The receiver. `run` listens; `read` gives the wanted metrics, each in units of its 10^exponent.

    `damaged`: lines that did not check. What a receiver without a fix says is None.
    """

    def __init__(self, uart: "Uart", clock: "Clock", wanted: "Sequence[tuple[str, int]]"):
        self._uart = uart
        self._clock = clock
        self._exponents = dict(wanted)
        self._wanted = [name for name, _ in wanted]
        self._values: "dict[str, int | None]" = {}
        self._line = bytearray()
        self._heard_ms: "int | None" = None
        self.damaged = 0

    async def run(self, on_alive: "Callable[[], None]" = lambda: None) -> None:
        """Listen until cancelled."""
        while True:
            on_alive()
            data = self._uart.read(_AT_ONCE) if self._uart.any() else None
            if data:
                self.feed(data)
            await asyncio.sleep(_LOOK_S)

    def read(self) -> "tuple[int | None, ...]":
        """The newest values. Raises DriverError if the receiver is silent."""
        if self._heard_ms is None or self._clock.monotonic_ms() - self._heard_ms > _SILENT_MS:
            self._values = {}
            raise DriverError(CHIP, None, "is silent, or says nothing that checks")
        return tuple([self._values.get(name) for name in self._wanted])

    def feed(self, data: bytes) -> None:
        """Take bytes of the line, in whatever pieces they come."""
        for byte in data:
            if byte != 0x0A:
                if len(self._line) <= TOLERATED_LENGTH:  # what is longer is no sentence, and takes no more room
                    self._line.append(byte)
                continue
            line, self._line = bytes(self._line), bytearray()
            try:
                readings = decode(parse(line))
            except DecodeError:
                self.damaged += 1
                continue
            self._heard_ms = self._clock.monotonic_ms()
            for each in readings:
                if each.metric in self._exponents:
                    number = None if each.value is None or isinstance(each.value, (str, bool, float)) else each.value
                    exponent = self._exponents[each.metric]
                    self._values[each.metric] = None if number is None else rescaled(number, 1, 1, exponent).mantissa
