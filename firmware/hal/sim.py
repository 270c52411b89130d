"""The port for the simulated board: MicroPython on Unix with the shims on its path."""

import os
import sys
import time

import esp32
import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


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
    """Unix time in milliseconds, or None while the board has no wall clock."""
    return time.time_ns() // 1000000 if not os.getenv("KERB_NO_WALL_CLOCK") else None


def random_bits(count: int) -> int:
    """Random bits (at most 32) that differ from board to board and from start to start."""
    return int.from_bytes(os.urandom(4), "big") >> (32 - count)


def storage() -> str:
    """The directory for what must survive a restart."""
    path = os.getenv("KERB_STATE")
    if not path:
        raise RuntimeError("KERB_STATE does not name a directory")
    return path


def partition(name: str) -> "esp32.Partition":
    """A partition of raw flash, as a block device with the extended interface."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=name)
    if not found:
        raise RuntimeError("the flash has no partition " + name)
    return found[0]


def restart() -> None:
    """Start the board anew. Does not return."""
    machine.reset()


def watchdog(timeout_ms: int) -> "machine.WDT":
    """The board's watchdog: unless it is fed that often, the board starts anew. It cannot be stopped."""
    return machine.WDT(timeout=timeout_ms)
