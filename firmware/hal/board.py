"""What the ports of real boards share."""

import os
import sys
import time

import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FROM_1970_TO_2000_S = 946684800
_FIRST_YEAR = 2025  # a clock that shows an earlier one was never set
_PULLS: "dict[str, Any]" = {"up": machine.Pin.PULL_UP, "down": machine.Pin.PULL_DOWN, "driven": None}
_EDGES = {
    "both": machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING,
    "falling": machine.Pin.IRQ_FALLING,
    "rising": machine.Pin.IRQ_RISING,
}
_RX_BYTES = 512  # half a second of a GPS receiver at 9600 baud; the longest Modbus frame has 256


def bluetooth() -> "Any":
    """MicroPython's module of that name: low-level Bluetooth."""
    __import__("bluetooth")  # only now: an app without it has no memory to spare
    return sys.modules["bluetooth"]


def i2c(bus: int, scl: int, sda: int, freq_hz: int) -> "machine.I2C":
    """An I2C bus."""
    return machine.I2C(bus, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=freq_hz)


def digital_in(
    pin: int, *, pull: str, on_edge: "Callable[[], None] | None" = None, edges: str = "both"
) -> "machine.Pin":
    """An input; see firmware.hal.Port."""
    line = machine.Pin(pin, machine.Pin.IN, _PULLS[pull])
    if on_edge is not None:
        line.irq(lambda _: on_edge(), _EDGES[edges])
    return line


def digital_out(pin: int, *, level: int = 0) -> "machine.Pin":
    """An output that begins with this level."""
    return machine.Pin(pin, machine.Pin.OUT, value=level)


def analog_in(pin: int) -> "machine.ADC":
    """An input whose voltage is measured."""
    return machine.ADC(machine.Pin(pin))


def uart(number: int, *, tx: int, rx: int, baud: int, parity: "int | None" = None, stop: int = 1) -> "machine.UART":
    """A serial port with 8 data bits."""
    return machine.UART(
        number,
        baudrate=baud,
        bits=8,
        parity=parity,
        stop=stop,
        tx=machine.Pin(tx),
        rx=machine.Pin(rx),
        timeout=0,
        rxbuf=_RX_BYTES,
    )


def ticks_ms() -> int:
    """A counter of milliseconds that wraps; only `ticks_diff` may compare two of its values."""
    ticks: "Any" = time.ticks_ms()  # type: ignore[attr-defined]  # MicroPython's
    return int(ticks)


def ticks_diff(after: int, before: int) -> int:
    """Milliseconds between two values of `ticks_ms`."""
    return int(time.ticks_diff(after, before))  # type: ignore[attr-defined]  # MicroPython's


def unix_ms() -> "int | None":
    """Unix time in milliseconds, or None while the board's clock was not set. Ports count from 1970 or from 2000."""
    if time.gmtime()[0] < _FIRST_YEAR:
        return None
    since_s = _FROM_1970_TO_2000_S if time.gmtime(0)[0] == 2000 else 0
    return time.time_ns() // 1000000 + since_s * 1000


def random_bits(count: int) -> int:
    """Random bits (at most 32) that differ from board to board and from start to start."""
    return int.from_bytes(os.urandom(4), "big") >> (32 - count)


def storage() -> str:
    """The directory for what must survive a restart: the root of the flash."""
    return ""


def restart() -> None:
    """Start the board anew. Does not return."""
    machine.reset()


def watchdog(timeout_ms: int) -> "machine.WDT":
    """The board's watchdog: unless it is fed that often, the board starts anew. It cannot be stopped."""
    return machine.WDT(timeout=timeout_ms)
