"""A slow consumer: every process of the hub runs for a tenth of the time, in slices, and then for a hundredth.

At a tenth it still keeps up; at a hundredth readings pile up, and must do so on disks alone. `count` is the seconds of
both together; `rss_mb` gives for each process its memory before (the median of ten seconds at full speed), at the end
(the median of the last tenth, at least ten seconds) and their difference; one that has grown by more than FLAT_MB is
`wrong`. `backlog` is the most that devices and gateway have held at each speed, in readings, `recovery_s` how long it
took at full speed until nothing of that was held.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from bench.parts.campaign import Campaign, campaign, say
from bench.parts.growth import rss_mb
from bench.parts.lab import EVERYTHING, PARTS
from bench.parts.load import PACK

FLAT_MB = 10.0
SHARES = (0.1, 0.01)
_SLICE_S = 5.0
_BEFORE = 10  # samples, one a second
_SAY_S = 60
_HUB = ("hub", *(part for part, (program, _) in PARTS.items() if program == "hub"))


def run(count: int, seed: int) -> dict[str, Any]:
    """So many seconds of it."""
    return asyncio.run(_run(count, seed))


@contextlib.asynccontextmanager
async def throttled(under: Campaign, share: float) -> AsyncIterator[None]:
    """Within it the hub has this share of its speed."""

    def tell(number: int) -> None:
        for name in _HUB:
            under.lab.signal(name, number)

    async def slices() -> None:
        while True:
            tell(signal.SIGSTOP)
            await asyncio.sleep(_SLICE_S * (1 - share))
            tell(signal.SIGCONT)
            await asyncio.sleep(_SLICE_S * share)

    task = asyncio.create_task(slices(), name="throttle")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        tell(signal.SIGCONT)


async def _run(count: int, seed: int) -> dict[str, Any]:
    async with campaign(seed) as under:
        await under.recovered()
        before = await _look(under, _BEFORE)
        during: list[list[dict[str, float]]] = []
        for share in SHARES:
            say(f"the hub at {share:.0%} of its speed")
            async with throttled(under, share):
                during.append(await _look(under, count // len(SHARES)))
        began = time.monotonic()
        await under.recovered()
        recovery_s = round(time.monotonic() - began, 1)
    last = during[-1][-max(len(during[-1]) // 10, _BEFORE) :]
    sizes = {}
    for name in EVERYTHING:
        first, end = (median(look[name] for look in looks) for looks in (before, last))
        sizes[name] = [round(first, 1), round(end, 1), round(end - first, 1)]
    found = {
        "rss_mb": sizes,
        "backlog": [max(look["backlog"] for look in looks) for looks in during],
        "recovery_s": recovery_s,
    }
    return {**under.result, "wrong": sum(more > FLAT_MB for _, _, more in sizes.values()), **found}


async def _look(under: Campaign, seconds: int) -> list[dict[str, float]]:
    """Each second: the memory of each process in MB, and how many readings are held."""
    looks: list[dict[str, float]] = []
    while len(looks) < seconds:
        await asyncio.sleep(1)
        look = {name: rss_mb(pid) for name in EVERYTHING if (pid := under.lab.pid(name)) is not None}
        status = await asyncio.to_thread(under.lab.status)
        held = sum(thing["buffered"] for thing in status["things"].values()) if status else 0
        looks.append({**look, "backlog": held + sum(device.held() for device in under.load.devices) * PACK})
        if len(looks) % _SAY_S == 0:
            say(f"{len(looks)} of {seconds} s: " + ", ".join(f"{name} {looks[-1][name]:.0f}" for name in looks[-1]))
    return looks
