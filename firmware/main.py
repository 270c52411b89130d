"""Starts the app that the config names."""

import gc
import io
import sys

from firmware import VERSION, hal
from firmware.core import config, crash
from firmware.errors import ConfigError

_COLLECT_BYTES = 8192  # collecting early keeps the heap from falling to pieces
_APPS = {"sensor_node": "firmware.apps.sensor_node", "wearable": "firmware.apps.wearable"}


def main() -> None:
    """Load the config and run; after a failure that nothing else has caught, start anew."""
    gc.threshold(_COLLECT_BYTES)  # type: ignore[attr-defined]  # MicroPython's
    port = hal.port()
    settings = config.load(port.storage())
    if settings.app not in _APPS:
        raise ConfigError("app", "there is no app " + settings.app)
    name = _APPS[settings.app]
    __import__(name)
    gc.collect()
    print("kerb", VERSION, settings.app, settings.device)
    try:
        sys.modules[name].run(settings, port)
    except Exception as error:  # noqa: BLE001 - the firmware's supervisor: a device must not stand still
        text = io.StringIO()
        sys.print_exception(error, text)  # type: ignore[attr-defined]  # MicroPython's
        print("main:", text.getvalue())
        crash.keep(port.storage(), text.getvalue())
        port.restart()


if __name__ == "__main__":
    main()
