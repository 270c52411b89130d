"""The hardware, behind one small interface per port. Nothing else imports `machine` or asks what board this is.

A port is a module with the functions of `Port`; `port()` gives that of the board that this runs on.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class DigitalIn(Protocol):
        """An input pin."""

        def value(self) -> int: ...

    class DigitalOut(Protocol):
        """An output pin: without a level it tells, with one it sets."""

        def value(self, level: "int | None" = None) -> "int | None": ...

    class AnalogIn(Protocol):
        """A pin with a converter: 65535 is the supply."""

        def read_u16(self) -> int: ...

    class Uart(Protocol):
        """A serial port. Nothing of it blocks: `read` gives at most so many bytes that are there, None if none are."""

        def any(self) -> int: ...
        def read(self, count: int) -> "bytes | None": ...
        def write(self, data: bytes) -> "int | None": ...
        def txdone(self) -> bool: ...

    class Port(Protocol):
        """What each port has; pins are numbered as the microcontroller's data sheet does."""

        def i2c(self, bus: int, scl: int, sda: int, freq_hz: int) -> "Any":
            """An I2C bus (firmware.drivers.registers.Bus)."""

        def digital_in(
            self, pin: int, *, pull: str, on_edge: "Callable[[], None] | None" = None, edges: str = "both"
        ) -> DigitalIn:
            """An input; `pull` is "up", "down" or "driven", `edges` "both", "rising" or "falling".

            `on_edge` is called from an interrupt at each of these edges, however short the level lasts: it may only
            store and signal.
            """

        def digital_out(self, pin: int, *, level: int = 0) -> DigitalOut:
            """An output that begins with this level."""

        def analog_in(self, pin: int) -> AnalogIn:
            """An input whose voltage is measured, from ground to the supply."""

        def uart(self, number: int, *, tx: int, rx: int, baud: int, parity: "int | None" = None, stop: int = 1) -> Uart:
            """A serial port with 8 data bits; `parity` is None, 0 (even) or 1 (odd)."""

        def ticks_ms(self) -> int:
            """A counter of milliseconds that wraps; only `ticks_diff` may compare two of its values."""

        def ticks_diff(self, after: int, before: int) -> int:
            """Milliseconds between two values of `ticks_ms`."""

        def unix_ms(self) -> "int | None":
            """Unix time in milliseconds, or None while the board has no wall clock."""

        def random_bits(self, count: int) -> int:
            """Random bits (at most 32) that differ from board to board and from start to start."""

        def storage(self) -> str:
            """The directory for what must survive a restart."""

        def partition(self, name: str) -> "Any":
            """A partition of raw flash, as a block device with the extended interface. Raises RuntimeError."""

        def watchdog(self, timeout_ms: int) -> "Any":
            """The board's watchdog: unless it is fed that often, the board starts anew. It cannot be stopped."""

        def bluetooth(self) -> "Any":
            """MicroPython's module of that name: low-level Bluetooth."""

        def restart(self) -> None:
            """Start the board anew. Does not return."""


_PORTS = {
    "esp32": "firmware.hal.esp32",
    "rp2": "firmware.hal.rp2",
    "linux": "firmware.hal.sim",
    "darwin": "firmware.hal.sim",
}


def port() -> "Port":
    """The port of the board that this runs on."""
    name = _PORTS[sys.platform]
    __import__(name)
    return sys.modules[name]  # tests/firmware/test_hal.py holds each against `Port`
