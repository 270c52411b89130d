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


def bluetooth() -> "Any":
    """MicroPython's module of that name: low-level Bluetooth."""
    __import__("bluetooth")  # only now: an app without it has no memory to spare
    return sys.modules["bluetooth"]


def i2c(bus: int, scl: int, sda: int, freq_hz: int) -> "machine.I2C":
    """An I2C bus."""
    return machine.I2C(bus, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=freq_hz)


def on_falling(pin: int, callback: "Callable[[], None]") -> None:
    """Call back when the pin, which is pulled up, falls. The callback may only store and signal."""
    line = machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
    line.irq(lambda _: callback(), machine.Pin.IRQ_FALLING)


def ticks_ms() -> int:
    """A counter of milliseconds that wraps; only `ticks_diff` may compare two of its values."""
    return int(time.ticks_ms())  # type: ignore[attr-defined]  # MicroPython's


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
