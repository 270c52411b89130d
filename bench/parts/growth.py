"""How the memory and the file handles of processes grow with time, also of those that are started again and again."""

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_WARM_UP_S = 30.0  # of a process: what it takes at its start is no growth


@dataclass(frozen=True)
class Sample:
    """One look at a process: seconds since it was first seen, resident memory, open files."""

    age_s: float
    rss_mb: float
    fds: int


@dataclass
class Growth:
    """Looks at processes; `pids` tells the present one of each name, None while there is none."""

    pids: Callable[[], Mapping[str, int | None]]
    lives: dict[str, dict[int, list[Sample]]] = field(default_factory=lambda: defaultdict(dict))  # by name and pid
    _born_s: dict[int, float] = field(default_factory=dict)

    async def run(self, every_s: float) -> None:
        """Look again and again until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(every_s)

    def look(self) -> None:
        """Look at all processes now."""
        for name, pid in self.pids().items():
            if pid is not None:
                with contextlib.suppress(OSError):  # it has just ended
                    age_s = time.monotonic() - self._born_s.setdefault(pid, time.monotonic())
                    self.lives[name].setdefault(pid, []).append(Sample(age_s, rss_mb(pid), open_files(pid)))

    def slopes(self, of: str) -> dict[str, float | None]:
        """Growth an hour of "rss_mb" or "fds", by process; None of one that never lived long enough to tell."""
        return {
            name: slope(
                [
                    [(sample.age_s, getattr(sample, of)) for sample in life if sample.age_s >= _WARM_UP_S]
                    for life in lives.values()
                ]
            )
            for name, lives in self.lives.items()
        }


def slope(lives: "Sequence[Sequence[tuple[float, float]]]") -> float | None:
    """Least squares over (seconds, value) of several lives, each with a level of its own; the rise an hour."""
    products = squares = 0.0
    for life in lives:
        if len(life) > 1:
            ages, values = np.array(life).T
            ages, values = ages - ages.mean(), values - values.mean()
            products += float(ages @ values)
            squares += float(ages @ ages)
    return round(products / squares * 3600, 2) if squares else None


def rss_mb(pid: int) -> float:
    """Resident memory. Raises OSError for a process that has ended."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MB


def open_files(pid: int) -> int:
    """How many file descriptors it has open. Raises OSError for a process that has ended."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are enough
