"""The port for the simulated board: MicroPython on Unix with the shims on its path."""

import os
import time

from firmware.hal.board import (
    analog_in,
    bluetooth,
    digital_in,
    digital_out,
    i2c,
    random_bits,
    restart,
    ticks_diff,
    ticks_ms,
    uart,
    watchdog,
)
from firmware.hal.esp32 import partition

__all__ = (
    "analog_in",
    "bluetooth",
    "digital_in",
    "digital_out",
    "i2c",
    "partition",
    "random_bits",
    "restart",
    "storage",
    "ticks_diff",
    "ticks_ms",
    "uart",
    "unix_ms",
    "watchdog",
)


def unix_ms() -> "int | None":
    """Unix time in milliseconds, or None while the board has no wall clock."""
    return time.time_ns() // 1000000 if not os.getenv("KERB_NO_WALL_CLOCK") else None


def storage() -> str:
    """The directory for what must survive a restart."""
    path = os.getenv("KERB_STATE")
    if not path:
        raise RuntimeError("KERB_STATE does not name a directory")
    return path
