"""Runs on MicroPython, on Unix or in WebAssembly: a whole app for hours of virtual time, and the memory that it takes.

What no board has is left out of the count: the simulated chips and pins, virtual time, broker and gateway (world.py).
The line is down for 10 minutes in every second hour, and once for an hour.
"""

# It takes the place of functions of `os` and of the port.
# mypy: disable-error-code="assignment, method-assign"

import gc
import json
import os
import random
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOUR_MS = 3600_000
_SAMPLE_MS = 1000
_START_UNIX_MS = 1795382519000
_TICK_MS = 50  # between two looks at the simulated chips; a board's interrupts come every 170 ms


def is_down(now_ms: int) -> bool:
    """Whether the gateway is away."""
    hour, within = divmod(now_ms, _HOUR_MS)
    return hour == 5 or (hour % 2 == 0 and within >= _HOUR_MS - 600_000)


class Day:
    """An app in its world, `storage` being the root of its flash: `load`, `surround`, `start`, and `hours` pass.

    Between these garbage must be collected, which WebAssembly does only when no call of ours is under way.
    """

    def __init__(self, storage: str, hours: float):
        self._storage = storage
        self._end_ms = round(hours * _HOUR_MS)
        self._next_ms = 0
        self.others = self.peak = self.first = self.last = 0

    def load(self) -> None:
        """The app's modules, all but the port's, which imports what is simulated."""
        self.others = gc.mem_alloc()  # type: ignore[attr-defined]  # the interpreter's, and this module
        if not hasattr(os, "getenv"):  # in WebAssembly
            os.getenv = {"KERB_STATE": self._storage}.get
        if sys.platform == "webassembly":
            from bench.parts.app_memory import no_tls  # noqa: PLC0415

            sys.modules["ssl"] = no_tls
        with open(self._storage + "/config.json") as file:
            self._app = "firmware.apps." + json.load(file)["app"]
        __import__(self._app)

    def surround(self) -> None:
        """What no board has."""
        self.others -= gc.mem_alloc()  # type: ignore[attr-defined]  # MicroPython's
        import esp32  # noqa: F401, PLC0415 - of the shims, with the flash
        import machine  # noqa: F401, PLC0415

        from bench.parts.app_memory import world  # noqa: PLC0415
        from hardware.sim.shims import simboard  # noqa: PLC0415

        self.time = time = world.Time(self._end_ms, self._look)
        time.install()
        simboard._ticks_us = lambda: time.now_ms * 1000
        simboard._ticks_diff = lambda after, before: after - before
        with open(self._storage + "/board.json") as file:
            simboard.install(simboard.Board(json.load(file), tick_ms=_TICK_MS))
        self.gateway = world.Gateway(time, is_down)
        self.gateway.install()

    def start(self) -> None:
        """Run the app; on Unix this ends with world.Done."""
        self.others += gc.mem_alloc()  # type: ignore[attr-defined]
        from firmware import hal  # noqa: PLC0415
        from firmware.core import config  # noqa: PLC0415

        hal._PORTS[sys.platform] = "firmware.hal.sim"
        port = hal.port()
        port.ticks_ms = self.time.ticks_ms
        port.unix_ms = lambda: _START_UNIX_MS + self.time.now_ms
        port.random_bits = random.getrandbits  # WebAssembly has no os.urandom
        gc.threshold(8192)  # type: ignore[attr-defined]  # as firmware/main.py
        sys.modules[self._app].run(config.load(self._storage), port)

    def sample(self) -> None:
        """What is held now, right after a collection."""
        held = gc.mem_alloc() - self.others  # type: ignore[attr-defined]
        self.peak = max(self.peak, held)
        now_ms = self.time.now_ms
        if now_ms % _HOUR_MS < _HOUR_MS // 2 and not is_down(now_ms):
            self.last = held
            self.first = self.first or (held if now_ms > 600_000 else 0)

    def _look(self, now_ms: int) -> None:
        """All tasks wait. Once in a second that is sampled; WebAssembly collects only between our calls."""
        if now_ms >= self._next_ms and sys.platform != "webassembly":
            self._next_ms = now_ms + _SAMPLE_MS
            gc.collect()
            self.sample()

    def found(self) -> str:
        """What is to be told, as JSON."""
        told: dict[str, Any] = {"peak": self.peak, "first": self.first, "last": self.last, "others": self.others}
        told.update({"hours": self.time.now_ms / _HOUR_MS, "packs": self.gateway.packs})
        told["connections"] = self.gateway.connections
        return json.dumps(told)


def main(storage: str, hours: float) -> None:
    """On Unix: the whole day."""
    day = Day(storage, hours)
    day.load()
    gc.collect()
    day.surround()
    gc.collect()
    from bench.parts.app_memory.world import Done  # noqa: PLC0415

    try:
        day.start()
    except Done:
        print(day.found())


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
