"""The hardware, behind one small interface per port. Nothing else imports `machine` or asks what board this is.

A port is a module with: i2c(bus, scl, sda, freq_hz), on_falling(pin, callback), ticks_ms(), ticks_diff(after, before),
unix_ms() (None while the board has no wall clock), random_bits(count), storage(), partition(name),
watchdog(timeout_ms), bluetooth() (MicroPython's module of that name) and restart().
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PORTS = {
    "esp32": "firmware.hal.esp32",
    "rp2": "firmware.hal.rp2",
    "linux": "firmware.hal.sim",
    "darwin": "firmware.hal.sim",
}


def port() -> "Any":
    """The port of the board that this runs on."""
    name = _PORTS[sys.platform]
    __import__(name)
    return sys.modules[name]
