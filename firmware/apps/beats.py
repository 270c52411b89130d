"""Finds heart beats in a stream of optical samples, one by one, in integers.

A beat is the steep rise of blood volume at systole. A moving sum takes out noise, a difference takes out the steady
part and drift, and the rises within a window are added up (a slope sum); where that sum passes a threshold which
follows the size of the last beats, the steepest point is the beat's time. Nothing but the stream is known.
"""

from array import array

_SMOOTH_MS = 80  # first null at 12.5 Hz
_SLOPE_MS = 40
_RISE_MS = 160  # how long a systolic rise is
_LEARN_MS = 2000
_REFRACTORY_MS = 300  # 200 beats a minute
_PATIENCE_MS = 1500  # with no beat for so long the threshold begins to come down
_DECAY_MS = 100  # by 1/16 each


class _MovingSum:
    """The sum of the last `length` values."""

    def __init__(self, length: int, fill: int = 0):
        self._values = array("i", [fill] * length)
        self._place = 0
        self.total = fill * length

    def feed(self, value: int) -> int:
        self.total += value - self._values[self._place]
        self._values[self._place] = value
        self._place = (self._place + 1) % len(self._values)
        return self.total

    def oldest(self) -> int:
        """The value that the next `feed` drops."""
        return self._values[self._place]


class BeatFinder:
    """Give it each sample (counts; more blood means fewer); it returns a beat's time when one is sure, else None.

    Times are in 1/16 ms since the first sample. `amplitude` is the size of the beats in counts, 0 while not known.
    """

    def __init__(self, *, samples_per_s: int):
        self._period = 16000 // samples_per_s  # 1/16 ms
        self._samples_per_s = samples_per_s
        self._number = 0
        self._restart()

    @property
    def time_16(self) -> int:
        """The time of the last sample, in 1/16 ms."""
        return self._number * self._period

    @property
    def amplitude(self) -> int:
        """The size of the beats' rise in counts."""
        return self._size // (self._samples(_SMOOTH_MS) * self._samples(_SLOPE_MS))

    def skip(self, samples: int) -> None:
        """So many samples were lost: time has passed, and what comes next does not follow what was before."""
        self._number += samples
        self._restart()

    def feed(self, counts: int) -> "int | None":
        """Take one sample."""
        self._number += 1
        if self._smooth is None:
            self._smooth = _MovingSum(self._samples(_SMOOTH_MS), -counts)
            self._delay = _MovingSum(self._samples(_SLOPE_MS), self._smooth.total)
        smooth = self._smooth.feed(-counts)
        slope = smooth - self._delay.oldest()
        self._delay.feed(smooth)
        rise = self._rises.feed(max(slope, 0))
        beat = self._follow(slope, rise)
        self._before_last, self._last = self._last, slope
        return beat

    def _samples(self, milliseconds: int) -> int:
        return milliseconds * self._samples_per_s // 1000

    def _restart(self) -> None:
        self._smooth: "_MovingSum | None" = None
        self._rises = _MovingSum(self._samples(_RISE_MS))
        self._started = self._number
        self._size = 0
        self._largest = 0
        self._in_rise = False
        self._beat_number = self._number
        self._last = self._before_last = 0

    def _follow(self, slope: int, rise: int) -> "int | None":
        if self._number - self._started < self._samples(_LEARN_MS):
            self._largest = max(self._largest, rise)
            return None
        if self._size == 0:
            self._size = self._largest * 3 // 4 or 1
        if not self._in_rise:
            self._lose_patience()
            rested = self._number - self._beat_number >= self._samples(_REFRACTORY_MS)
            if rise * 2 > self._size and rested:
                self._in_rise = True
                self._largest = rise
                self._steepest = self._steepest_number = 0
        if not self._in_rise:
            return None
        return self._within_rise(slope, rise)

    def _within_rise(self, slope: int, rise: int) -> "int | None":
        self._largest = max(self._largest, rise)
        if self._last > self._steepest and self._last >= slope:  # the sample before this one was a peak
            self._steepest = self._last
            self._steepest_number = self._number - 1
            self._steepest_16 = self._steepest_number * self._period + self._between(slope)
        if rise * 2 > self._size:
            return None
        self._in_rise = False
        if not self._steepest_number:
            return None
        # One artefact may at most double what is expected of the next beat by a quarter of its size.
        self._size += (min(self._largest, 2 * self._size) - self._size) // 4
        self._beat_number = self._steepest_number
        return self._steepest_16

    def _between(self, slope: int) -> int:
        """How far the top of the parabola through the last three slopes is from the middle one, in 1/16 ms."""
        curvature = self._before_last - 2 * self._last + slope
        return self._period * (self._before_last - slope) // (2 * curvature) if curvature else 0

    def _lose_patience(self) -> None:
        idle = self._number - self._beat_number - self._samples(_PATIENCE_MS)
        if idle > 0 and idle % self._samples(_DECAY_MS) == 0:
            self._size -= self._size // 16
