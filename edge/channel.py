"""Numeric metrics that always come together, as blocks from the link to the pack: no object per reading.

What one reading goes through in the pipeline (deadband, alias, pack) a channel does for a whole response at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.deadband import HEARTBEAT_MS
from protocols.cbor import TypedArray
from protocols.pack import Row
from protocols.reading import GOOD, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

# numpy's type -> struct's letter, which says the same to CBOR
_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "f4": "f", "f8": "d"}
_NEVER = -1  # a deadband that every value exceeds


@dataclass
class Slot:
    """The place of one stream in a channel; stands where other streams have their deadband."""

    channel: "Channel"
    index: int

    def passes(self, _reading: Reading) -> bool:
        """A reading that comes by itself says that the metric is bad: it passes, and so will the next good one."""
        self.channel.forget(self.index)
        return True


@dataclass
class Channel:
    """The filter of `streams` that come together: their aliases, and deadbands in their units (None: all passes).

    `put` is given the row of what passed, how many readings it holds, and how many were suppressed.
    """

    metrics: Sequence[str]
    units: Sequence[str]
    aliases: "NDArray[np.int64]"
    widths: Sequence[float | None]
    put: Callable[[Row | None, int, int], None]
    heartbeat_ms: int = HEARTBEAT_MS
    _last: "tuple[NDArray[Any], int, NDArray[np.bool_] | None] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        count = len(self.aliases)
        self._widths = np.array([_NEVER if width is None else width for width in self.widths], dtype=np.float64)
        self._filters = bool((self._widths >= 0).any())
        self._sent = np.full(count, np.nan)  # the last value of each that passed; NaN differs from all
        self._sent_ms = np.zeros(count, dtype=np.int64)
        self._oldest_ms = self._newest_ms = 0  # of _sent_ms
        self._all_steps = _steps(self.aliases)
        self._wanted: Sequence[int] = ()
        self._heard: Callable[[list[Reading]], None] = lambda _: None

    def listen(self, wanted: Sequence[int], heard: Callable[[list[Reading]], None]) -> None:
        """Have those of these places be heard as readings, before the deadband."""
        self._wanted, self._heard = wanted, heard

    def take(self, values: "NDArray[Any]", time_ms: int, good: "NDArray[np.bool_] | None" = None) -> None:
        """Take one value of each metric, all of one time; where `good` is False there is none."""
        self._last = (values, time_ms, good)
        self._keep(values, time_ms, good)
        if self._wanted:
            self._heard(
                [self._reading(index, values, time_ms) for index in self._wanted if good is None or good[index]]
            )

    def _keep(self, values: "NDArray[Any]", time_ms: int, good: "NDArray[np.bool_] | None") -> None:
        """Give on what the deadbands let pass."""
        passing = self._passing(values, time_ms, good)
        read = len(values) if good is None else int(np.count_nonzero(good))
        if passing is None:
            self._sent[:] = values
            self._sent_ms.fill(time_ms)
            self._oldest_ms = self._newest_ms = time_ms
            self.put(Row(time_ms, self._all_steps, _typed(values)), read, 0)
            return
        count = int(np.count_nonzero(passing))
        if not count:
            self.put(None, 0, read)
            return
        chosen = values[passing]
        self._sent[passing] = chosen
        self._sent_ms[passing] = time_ms
        self._oldest_ms, self._newest_ms = int(self._sent_ms.min()), max(self._newest_ms, time_ms)
        self.put(Row(time_ms, _steps(self.aliases[passing]), _typed(chosen)), count, read - count)

    def forget(self, index: int) -> None:
        """Let the next good value of this metric pass, whatever it is."""
        self._sent[index] = np.nan

    def latest(self) -> Iterator[Reading]:
        """What was heard last, for people; metrics without a good value are left out."""
        if self._last is None:
            return
        values, time_ms, good = self._last
        for index in range(len(self.metrics)):
            if good is None or good[index]:
                yield self._reading(index, values, time_ms)

    def _reading(self, index: int, values: "NDArray[Any]", time_ms: int) -> Reading:
        return Reading(self.metrics[index], values[index].item(), self.units[index], GOOD, time_ms)

    def _passing(
        self, values: "NDArray[Any]", time_ms: int, good: "NDArray[np.bool_] | None"
    ) -> "NDArray[np.bool_] | None":
        """Which values are to be kept; None: all of them."""
        if not self._filters:
            return good
        compared = values if good is None else np.where(good, values, self._sent)  # a bad one may be an infinity
        within: NDArray[np.bool_] = np.abs(compared - self._sent) <= self._widths
        if time_ms - self._oldest_ms >= self.heartbeat_ms or time_ms < self._newest_ms:
            age_ms = time_ms - self._sent_ms
            within &= (age_ms >= 0) & (age_ms < self.heartbeat_ms)  # below 0: the clock has stepped back
        if good is None:
            return np.logical_not(within) if within.any() else None
        return np.logical_not(within) & good


def _steps(aliases: "NDArray[np.int64]") -> TypedArray:
    steps = np.diff(aliases, prepend=0)
    narrow = int(steps.min()) >= -(1 << 15) and int(steps.max()) < 1 << 15
    return _typed(steps.astype("<i2" if narrow else "<i4"))


def _typed(values: "NDArray[Any]") -> TypedArray:
    kind = values.dtype.str
    little = values if kind[0] != ">" else values.astype("<" + kind[1:])
    return TypedArray(_CODES[kind[1:]], little.tobytes())
