"""The port for the simulated board: MicroPython on Unix with the shims on its path."""

import os
import time

import machine
from hardware.sim.shims import simboard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def i2c(bus: int, scl: int, sda: int, freq_hz: int) -> "machine.I2C":
    """An I2C bus."""
    return machine.I2C(bus, scl=machine.Pin(scl), sda=machine.Pin(sda), freq=freq_hz)


def on_falling(pin: int, callback: "Callable[[], None]") -> None:
    """Call back when the pin, which is pulled up, falls. The callback may only store and signal."""
    line = machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
    line.irq(lambda _: callback(), machine.Pin.IRQ_FALLING)
