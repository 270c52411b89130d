"""MicroPython's `machine` over the simulated board: the part of its documented API that the firmware may use."""

import sys

from hardware.sim.shims import simboard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def unique_id() -> bytes:
    """The board's serial number."""
    return simboard.board().unique_id


def reset() -> None:
    """Restart the board: the process ends, whoever launched it starts it again."""
    sys.exit(75)


class WDT:
    """The watchdog: the board restarts when it was not fed in time."""

    def __init__(self, id: int = 0, timeout: int = 5000):
        self._timeout_ms = timeout
        self.feed()
        simboard.board().watch()

    def feed(self) -> None:
        """Live on for another while."""
        simboard.board().feed(self._timeout_ms)


class Pin:
    """A digital pin. Inputs read the simulated line; interrupts run between two steps of the event loop."""

    IN, OUT, OPEN_DRAIN = 0, 1, 2
    PULL_UP, PULL_DOWN = 1, 2
    IRQ_FALLING, IRQ_RISING = simboard.FALLING, simboard.RISING

    def __init__(self, id: int, mode: int = IN, pull: "int | None" = None, *, value: "int | None" = None):
        self.line = simboard.board().line(id)
        self._mode = mode
        if pull is not None:
            self.line.pull(1 if pull == Pin.PULL_UP else 0)
        if value is not None and mode != Pin.IN:
            self.value(value)
        simboard.board().watch()

    def value(self, level: "int | None" = None) -> "int | None":
        """The level, or, for an output, set it."""
        if level is None:
            return self.line.level
        if self._mode != Pin.IN:
            self.line.drive(None if level and self._mode == Pin.OPEN_DRAIN else 1 if level else 0)
        return None

    def irq(self, handler: "Callable[[Pin], None] | None" = None, trigger: int = IRQ_FALLING | IRQ_RISING) -> None:
        """Call `handler` with this pin at the edges given by `trigger`, from now on; None ends that."""
        self.line.trigger = trigger
        self.line.callback = None if handler is None else lambda: handler(self)


class ADC:
    """The converter at a pin."""

    def __init__(self, id: Pin):
        self._line = id.line

    def read_u16(self) -> int:
        """The voltage: 65535 is the supply."""
        return self._line.voltage_u16()


class UART:
    """A serial port. Reading and writing never wait, as with `timeout=0`."""

    def __init__(
        self,
        id: int,
        baudrate: int = 9600,
        bits: int = 8,
        parity: "int | None" = None,
        stop: int = 1,
        *,
        tx: Pin,
        rx: Pin,
        timeout: int = 0,
        rxbuf: int = 256,
    ):
        self._wire = simboard.board().wire(id)
        self._character_us = 1000000 * (1 + bits + (parity is not None) + stop) // baudrate
        self._room = rxbuf

    def any(self) -> int:
        """How many bytes can be read."""
        return self._wire.waiting(self._room)

    def read(self, nbytes: int) -> "bytes | None":
        """At most so many bytes that are there; None if none are."""
        self._wire.waiting(self._room)
        return self._wire.take(nbytes) or None

    def write(self, buf: bytes) -> int:
        """Send; it goes on the line at the port's speed."""
        self._wire.send(bytes(buf), self._character_us)
        return len(buf)

    def txdone(self) -> bool:
        """Whether the last bit has left."""
        return self._wire.is_quiet()


class I2C:
    """An I2C bus as its controller sees it. Transfers that are not acknowledged raise OSError."""

    def __init__(self, id: int, *, scl: Pin, sda: Pin, freq: int = 400000, timeout: int = 50000):
        self._bus = id
        self._freq_hz = freq

    def scan(self) -> "list[int]":
        """The addresses that acknowledge."""
        return simboard.board().addresses(self._bus)

    def readfrom(self, addr: int, nbytes: int, stop: bool = True) -> bytes:
        """Read from the chip's current register."""
        return simboard.board().transfer(self._bus, addr, b"", nbytes)

    def writeto(self, addr: int, buf: bytes, stop: bool = True) -> int:
        """Write; returns how many bytes were acknowledged."""
        simboard.board().transfer(self._bus, addr, bytes(buf), 0)
        return len(buf)

    def readfrom_mem(self, addr: int, memaddr: int, nbytes: int, *, addrsize: int = 8) -> bytes:
        """Read from a register."""
        return simboard.board().transfer(self._bus, addr, bytes([memaddr]), nbytes)

    def readfrom_mem_into(self, addr: int, memaddr: int, buf: "bytearray | memoryview", *, addrsize: int = 8) -> None:
        """Read from a register until the buffer is full."""
        buf[:] = simboard.board().transfer(self._bus, addr, bytes([memaddr]), len(buf))

    def writeto_mem(self, addr: int, memaddr: int, buf: bytes, *, addrsize: int = 8) -> None:
        """Write to a register and those after it."""
        simboard.board().transfer(self._bus, addr, bytes([memaddr]) + bytes(buf), 0)
