"""The gateway's wall clock: steps of up to an hour back and forth, drift of 200 ppm, and a start in 1970.

In 1970 the gateway knows no time: what it reads waits, is dated once the clock is right, and is marked as estimated;
it is killed then, too. Judged by the meter, whose readings the gateway times itself: `reordered` (have changed places),
`undated` (more than _MOST_OFF_MS off), `unmarked` (of before the time was known, without the mark, or with it though it
was known); their sum is `wrong`. `interval_error_ms` is by how much the interval between two readings a second apart
differs from that between the meter's answers, at most; of ten readings the median stands for all, since the machine's
scheduler adds its part to each.
"""

import asyncio
import time
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from bench.parts import ledger
from bench.parts.campaign import Campaign, campaign, say
from bench.parts.load import COUNTER, METER, until
from bench.parts.other_clock import Setting
from protocols.reading import TIME_ESTIMATED

_HOUR_S = 3600.0
_1970_S = 120.0  # the wall clock right after such a start
_MOST_OFF_MS = 5000.0  # from the answer to when the gateway says that it had it: the slowest machine, not a wrong clock
_SETTLES_S = 5.0  # within which the gateway notices that the clock is right
_DRIFT_PPM = 200.0
_LIMIT_S = 60.0


def run(count: int, seed: int) -> dict[str, Any]:
    """So many things done to the clock, each kind in its turn."""
    return asyncio.run(_run(count, seed))


@dataclass
class _Dark:
    """When the gateway could not know the time, in seconds of the monotonic clock: from a start to a right clock."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def holds(self, at_s: float) -> bool | None:
        """Whether a reading of that time must be marked; None: it may be."""
        if any(begin < at_s < end for begin, end in self.spans):
            return True
        return None if any(end <= at_s < end + _SETTLES_S for _, end in self.spans) else False


class Machine:
    """What is done to the gateway's machine."""

    def __init__(self, under: Campaign):
        self.dark = _Dark()
        self._under = under
        self._boots = 0
        self.deeds = (self.forth, self.back, self.drift, self.start_in_1970, self.start_in_1970_and_die)

    async def forth(self) -> None:
        """The wall clock is an hour ahead for a moment."""
        await self._set(off_s=_HOUR_S)

    async def back(self) -> None:
        """The wall clock is an hour late for a moment."""
        await self._set(off_s=-_HOUR_S)

    async def drift(self) -> None:
        """The wall clock is fast or slow, and then right again."""
        await self._set(drift_ppm=self._under.chance.choice((-_DRIFT_PPM, _DRIFT_PPM)))

    async def start_in_1970(self) -> None:
        """The machine starts without a clock, and gets the time after a moment."""
        await self._start(kills=0)

    async def start_in_1970_and_die(self) -> None:
        """Its gateway is killed meanwhile."""
        await self._start(kills=self._under.chance.randint(1, 2))

    async def _set(self, **setting: float) -> None:
        self._write(**setting)
        await asyncio.sleep(self._under.chance.uniform(1.5, 4.0))
        self._write()

    async def _start(self, *, kills: int) -> None:
        under = self._under
        under.down.add("gateway")
        under.kill("gateway")
        self._boots += 1
        self._write(off_s=_1970_S - time.time())
        begin = time.monotonic()
        under.down.clear()
        for _ in range(kills):
            await self._works_without_time()
            under.kill("gateway")
        await self._works_without_time()
        self.dark.spans.append((begin, time.monotonic()))
        self._write()

    async def _works_without_time(self) -> None:
        served = self._under.load.meter.served_s
        before = len(served)

        def works() -> bool:
            status = self._under.lab.status()
            return (
                status is not None and "time is not known" in status["uplink"]["reason"] and len(served) > before + 20
            )

        if not await until(works, _LIMIT_S):
            raise SystemExit(f"the gateway does not work without the time within {_LIMIT_S:g} s")

    def _write(self, **setting: float) -> None:
        assert self._under.lab.clock
        Setting(**setting, since_ns=time.monotonic_ns(), boot=f"start {self._boots}").write(self._under.lab.clock)


async def _run(count: int, seed: int) -> dict[str, Any]:
    async with campaign(seed, other_clock=True) as under:
        machine = Machine(under)
        under.judges.append(lambda: judge(under, machine.dark))
        await under.recovered()
        for number in range(count):
            deed = machine.deeds[number % len(machine.deeds)]
            say(f"{number + 1} of {count}: {deed.__name__}")
            await deed()
            await under.recovered()
    return under.result


def judge(under: Campaign, dark: _Dark) -> dict[str, Any]:
    """What the times of the meter's readings tell."""
    streams = ledger.streams(under.lab.hub_data, METER)
    points = [point for point in ledger.points(under.lab.hub_data, streams[COUNTER]) if point.value is not None]
    served_s = {number: at_s for number, at_s in enumerate(under.load.meter.served_s, 1)}
    numbers = ledger.values(points)
    begun_s = time.time() - time.monotonic()
    off_ms = [
        point.time_ms - (begun_s + served_s[number]) * 1000 for number, point in zip(numbers, points, strict=True)
    ]
    by_second = [median(off_ms[place : place + 10]) for place in range(0, len(off_ms), 10)]
    found = {
        "reordered": sum(after < before for before, after in pairwise(numbers)),
        "undated": sum(abs(off) > _MOST_OFF_MS for off in off_ms),
        "unmarked": sum(
            dark.holds(served_s[number]) not in (None, bool(point.quality & TIME_ESTIMATED))
            for number, point in zip(numbers, points, strict=True)
        ),
    }
    return {
        **found,
        "wrong": sum(found.values()),
        "marked": sum(bool(point.quality & TIME_ESTIMATED) for point in points),
        "interval_error_ms": round(max(abs(after - before) for before, after in pairwise(by_second)), 1),
    }
