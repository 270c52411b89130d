"""The gateway's clock: Unix milliseconds whose intervals come from the monotonic clock."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_CHECK_NS = 1_000_000_000
_TOLERANCE_NS = 20_000_000


class SteadyClock:
    """Unix ms that run with the monotonic clock and follow the wall clock once a second.

    A wall clock that was set is followed, with a word in the log; one that is off by less than 20 ms is left alone, so
    that two readings never change places for it.
    """

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns, wall_ns: Callable[[], int] = time.time_ns):
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._checked_ns = monotonic_ns()
        self._offset_ns = wall_ns() - self._checked_ns

    def __call__(self) -> int:
        now_ns = self._monotonic_ns()
        if now_ns - self._checked_ns > _CHECK_NS:
            self._checked_ns = now_ns
            step_ns = self._wall_ns() - now_ns - self._offset_ns
            if abs(step_ns) > _TOLERANCE_NS:
                logger.warning("the wall clock was set by %+.3f s", step_ns / 1e9)
                self._offset_ns += step_ns
        return (now_ns + self._offset_ns) // 1_000_000
