"""The port for ESP32 boards: partitions are those of the partition table."""

import esp32

from firmware.hal.board import (
    analog_in,
    bluetooth,
    digital_in,
    digital_out,
    i2c,
    random_bits,
    restart,
    storage,
    ticks_diff,
    ticks_ms,
    uart,
    unix_ms,
    watchdog,
)

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


def partition(name: str) -> "esp32.Partition":
    """A partition of raw flash, as a block device with the extended interface."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=name)
    if not found:
        raise RuntimeError("the flash has no partition " + name)
    return found[0]
