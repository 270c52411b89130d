"""A device on a line that is put to the test, in MicroPython: takes a sample ten times a second and says how that went.

    micropython line_device.py    with the environment of a simulated device (hardware/sim/device.py)

Each second it prints a line of JSON: `late_ms`, the latest that a sample was in that second; `append_ms`, the longest
that it took to hand one over; `blocked_ms`, the longest that nothing else had its turn, and whether the device was
`online` all the while; `heap`, bytes of it in use, and `sockets` that are open.
"""

import asyncio
import gc
import json
import os

from firmware import hal
from firmware.core import config
from firmware.core.clock import Clock
from firmware.core.epochs import Epochs
from firmware.core.journal import Journal
from firmware.core.uplink import Uplink
from protocols.reading import reading

_SAMPLE_MS = 100
_TURN_MS = 2


class _Worst:
    """The worst of a second."""

    late_ms = 0
    append_ms = 0
    blocked_ms = 0
    online = True


async def _sample(uplink: Uplink, clock: Clock, worst: _Worst) -> None:
    number = 0
    due_ms = clock.monotonic_ms()
    while True:
        due_ms += _SAMPLE_MS
        await asyncio.sleep(max(0, due_ms - clock.monotonic_ms()) / 1000)
        worst.late_ms = max(worst.late_ms, clock.monotonic_ms() - due_ms)
        number += 1
        before = clock.monotonic_ms()
        uplink.append([reading("count", number, "1", time_ms=clock.unix_ms())], wall_clock=True)
        worst.append_ms = max(worst.append_ms, clock.monotonic_ms() - before)


async def _turn(uplink: Uplink, clock: Clock, worst: _Worst) -> None:
    """Take a turn every two milliseconds; what it is late was taken by somebody else."""
    while True:
        before = clock.monotonic_ms()
        await asyncio.sleep(_TURN_MS / 1000)
        worst.blocked_ms = max(worst.blocked_ms, clock.monotonic_ms() - before - _TURN_MS)
        worst.online = worst.online and uplink.online


async def _report(worst: _Worst) -> None:
    while True:
        await asyncio.sleep(1)
        gc.collect()
        heap = gc.mem_alloc()  # type: ignore[attr-defined]  # MicroPython's
        sockets = len(os.listdir("/proc/self/fd"))
        told = {"heap": heap, "sockets": sockets, "online": worst.online}
        told.update({"late_ms": worst.late_ms, "append_ms": worst.append_ms, "blocked_ms": worst.blocked_ms})
        print(json.dumps(told))
        worst.late_ms = worst.append_ms = worst.blocked_ms = 0
        worst.online = True


async def main() -> None:
    """Run until killed."""
    port = hal.port()
    storage = port.storage()
    clock = Clock(port)
    journal, urgent = [Journal(port.partition(name)) for name in ("journal", "urgent")]
    settings, epochs, birth = config.load(storage), Epochs(storage, port), {"model": "kerb-wearable"}
    uplink = Uplink(settings, clock, journal, epochs, urgent=urgent, storage=storage, birth=birth)
    worst = _Worst()
    await asyncio.gather(uplink.run(), _sample(uplink, clock, worst), _turn(uplink, clock, worst), _report(worst))


gc.threshold(8192)  # type: ignore[attr-defined]  # MicroPython's; as in firmware/main.py
asyncio.run(main())
