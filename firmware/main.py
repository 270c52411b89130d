"""Starts the app that the config names, or waits for a technician who brings one."""

import asyncio
import gc
import io
import sys

from firmware import VERSION, hal
from firmware.core import config, crash
from firmware.core.label import wants_provisioning
from firmware.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_COLLECT_BYTES = 8192  # collecting early keeps the heap from falling to pieces
_APPS = {
    "dispenser": "firmware.apps.dispenser",
    "sensor_node": "firmware.apps.sensor_node",
    "wearable": "firmware.apps.wearable",
    "wearable_ble": "firmware.apps.wearable_ble",
}


def main() -> None:
    """Wait for a technician if need be, or run the app. Raises ConfigError: such a device needs a person."""
    gc.threshold(_COLLECT_BYTES)  # type: ignore[attr-defined]  # MicroPython's
    port = hal.port()
    run = _provisioning(port) if wants_provisioning(port) else _app(port)
    gc.collect()
    try:
        run()
    except Exception as error:  # noqa: BLE001 - the firmware's supervisor: a device must not stand still
        text = io.StringIO()
        sys.print_exception(error, text)  # type: ignore[attr-defined]  # MicroPython's
        print("main:", text.getvalue())
        crash.keep(port.storage(), text.getvalue())
    port.restart()


def _app(port: "Any") -> "Callable[[], None]":
    settings = config.load(port.storage())
    if settings.app not in _APPS:
        raise ConfigError("app", "there is no app " + settings.app)
    name = _APPS[settings.app]
    __import__(name)
    print("kerb", VERSION, settings.app, settings.device)
    return lambda: sys.modules[name].run(settings, port)


def _provisioning(port: "Any") -> "Callable[[], None]":
    from firmware.core import console, gatt_line, provisioning  # noqa: PLC0415 - for this only, and large

    waiting = provisioning.Provisioning(port, _APPS)
    return lambda: asyncio.run(waiting.run(console.Console(), gatt_line.GattLine(port, waiting.device)))


if __name__ == "__main__":
    main()
