"""A half-duplex line of RS-485: a serial port, and a pin that turns the transceiver round (MODBUS over Serial Line).

Frames are parted by a silence of 3.5 characters. A silence of 1.5 within a frame, which the standard calls an error,
cannot be seen behind a receive buffer; whether a frame is whole, its CRC says.
"""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.core.clock import Clock
    from firmware.hal import DigitalOut, Uart

_MOST_BYTES = 256
_CHARACTER_BITS = 11
_IDLE_S, _BUSY_S = 0.004, 0.001


class Rs485:
    """The line. `direction`: high while we send; None for a transceiver that turns round by itself."""

    def __init__(self, uart: "Uart", direction: "DigitalOut | None", clock: "Clock", *, baud: int):
        self._uart = uart
        self._direction = direction
        self._clock = clock
        # Whole milliseconds that are surely not less: the clock may show one too many.
        self._gap_ms = 2 + (1 if baud > 19200 else 3500 * _CHARACTER_BITS // baud)

    async def receive(self) -> bytes:
        """The next frame: what came between two silences, at most 257 bytes of it; whether it is whole is not known."""
        frame = bytearray()
        heard_ms = self._clock.monotonic_ms()
        while True:
            data = self._uart.read(_MOST_BYTES) if self._uart.any() else None
            now_ms = self._clock.monotonic_ms()
            if data:
                heard_ms = now_ms
                frame += data
                frame[_MOST_BYTES + 1 :] = b""  # longer than any frame: it will be refused, and takes no more room
            elif frame and now_ms - heard_ms >= self._gap_ms:
                return bytes(frame)
            await asyncio.sleep(_BUSY_S if frame else _IDLE_S)

    async def send(self, frame: bytes) -> None:
        """Send a frame, and let go of the line as soon as its last bit has left."""
        self._turn(1)
        try:
            self._uart.write(frame)
            while not self._uart.txdone():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(_BUSY_S)
        finally:
            self._turn(0)

    def _turn(self, level: int) -> None:
        if self._direction is not None:
            self._direction.value(level)
