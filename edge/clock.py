"""The gateway's clock: Unix milliseconds whose order and intervals come from the monotonic clock. No I/O of its own.

A machine without a battery for its clock starts in 1970, or at the time at which it was switched off. So until the wall
clock may be believed, times count from the machine's start: they are below BOOT_CLOCK_END_MS, and are re-based once it
is known when that was (`edge.boots`). It may be believed when the kernel says that it is synchronized, or when nobody
has synchronized it a minute after the start: then there is nobody who does.

From then on it is followed with care. What it is off by less than a second is made up slowly. A step of more is not
followed, so that no readings change places for it: only when it has stood for ten minutes are times those of the wall
clock again, at once.
"""

import ctypes
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

BOOT_CLOCK_END_MS = 946_684_800_000  # the year 2000: times before it count from the machine's start
_PLAUSIBLE_NS = 1_735_689_600_000_000_000  # 2025: this program is younger

_CHECK_NS = 1_000_000_000
_NOBODY_NS = 60_000_000_000
_STEP_NS = 1_000_000_000
_STANDS_NS = 600_000_000_000
_SLEW = 0.0005  # as fast as the kernel itself makes up for a difference, 500 ppm

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized


def is_unix(time_ms: int) -> bool:
    """Whether a time of this gateway is Unix time; if not, it counts from the machine's start."""
    return time_ms >= BOOT_CLOCK_END_MS


def kernel_synchronized() -> bool:
    """Whether somebody keeps the wall clock right, and the kernel knows it (Linux: adjtimex(2))."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))  # struct timex, with modes = 0: read
    return state not in (-1, _TIME_ERROR)


@dataclass(frozen=True)
class _Step:
    """What the wall clock has been off by, and since when."""

    off_ns: int
    since_ns: int


class SteadyClock:
    """Milliseconds that never go back but for a step that stands; Unix time once `settled`.

    offset_ms: Unix time minus the monotonic clock, if this start of the machine has found it before.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        synchronized: Callable[[], bool] = kernel_synchronized,
        *,
        offset_ms: int | None = None,
    ):
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._synchronized = synchronized
        self._offset_ns = None if offset_ms is None else offset_ms * 1_000_000
        self._step: _Step | None = None
        self._checked_ns = monotonic_ns()
        self._check(self._checked_ns)

    @property
    def settled(self) -> bool:
        """Whether times are Unix times."""
        return self._offset_ns is not None

    @property
    def offset_ms(self) -> int | None:
        """Unix time minus the monotonic clock; None if it is not settled."""
        return None if self._offset_ns is None else self._offset_ns // 1_000_000

    def __call__(self) -> int:
        now_ns = self._monotonic_ns()
        if now_ns - self._checked_ns > _CHECK_NS:
            self._check(now_ns)
        return (now_ns + (self._offset_ns or 0)) // 1_000_000

    def unix_ms(self, time_ms: int) -> int:
        """A time of this start of the machine as Unix time, as well as it is known."""
        return time_ms if is_unix(time_ms) else time_ms + (self.offset_ms or 0)

    def _check(self, now_ns: int) -> None:
        since_ns, self._checked_ns = now_ns - self._checked_ns, now_ns
        wall_ns = self._wall_ns()
        if wall_ns < _PLAUSIBLE_NS:
            return
        if self._offset_ns is None:
            if now_ns >= _NOBODY_NS or self._synchronized():
                self._offset_ns = wall_ns - now_ns
            return
        off_ns = wall_ns - now_ns - self._offset_ns
        if abs(off_ns) < _STEP_NS:
            self._step = None
            most_ns = int(since_ns * _SLEW)
            self._offset_ns += max(-most_ns, min(most_ns, off_ns))
        elif self._step is None or abs(off_ns - self._step.off_ns) >= _STEP_NS:
            self._step = _Step(off_ns, now_ns)
            logger.warning("the wall clock was set by %+.3f s: not followed unless that stands", off_ns / 1e9)
        elif now_ns - self._step.since_ns >= _STANDS_NS:
            self._step = None
            self._offset_ns += off_ns
            logger.warning("the wall clock is followed by %+.3f s", off_ns / 1e9)
