"""Finds heart beats in a stream of optical samples, one by one, in integers.

A moving sum over a few samples takes out noise, one over two seconds takes out the steady part and drift. Where what
is left rises above half the size of the last beats, a beat has come; where it falls below again, its time is the
middle of the two crossings, which neither a clipped top nor a moved threshold shifts. The dicrotic wave, which rises as
steeply as the beat itself but from lower down, stays below the threshold. Nothing but the stream is known.
"""

from array import array

_SMOOTH_MS = 80  # first null at 12.5 Hz
_MEAN_MS = 2000
_LEARN_MS = 2000
_REFRACTORY_MS = 300  # 200 beats a minute
_NARROWEST_MS, _WIDEST_MS = 60, 600  # of a beat at half its height
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


class BeatFinder:
    """Give it each sample (counts; more blood means fewer); it returns a beat's time when one is sure, else None.

    Times are in 1/16 ms since the first sample. Works for 50 to 400 samples a second.
    """

    def __init__(self, *, samples_per_s: int):
        self._samples_per_s = samples_per_s
        self._period_16 = 16000 // samples_per_s
        self._gain = _MEAN_MS // _SMOOTH_MS
        self._number = 0
        self._smooth: "_MovingSum | None" = None
        self._mean: "_MovingSum | None" = None
        self._up_16: "int | None" = None
        self._started = self._top = self._size = self._last = 0
        self._restart()

    @property
    def time_16(self) -> int:
        """The time of the last sample, in 1/16 ms."""
        return self._number * self._period_16

    @property
    def amplitude(self) -> int:
        """How far the last beats stood above the mean, in counts; 0 while not known."""
        return self._size // self._samples(_MEAN_MS)

    def skip(self, samples: int) -> None:
        """So many samples were lost: time has passed, and what comes next does not follow what was before."""
        self._number += samples
        self._restart()

    def feed(self, counts: int) -> "int | None":
        """Take one sample."""
        self._number += 1
        if self._smooth is None or self._mean is None:
            self._smooth = _MovingSum(self._samples(_SMOOTH_MS), -counts)
            self._mean = _MovingSum(self._samples(_MEAN_MS), -counts)
        excess = self._smooth.feed(-counts) * self._gain - self._mean.feed(-counts)
        beat_16 = None
        if self._number - self._started <= self._samples(_LEARN_MS):
            self._top = max(self._top, excess)
            self._size = self._top * 3 // 4
        elif self._up_16 is None:
            self._wait(excess)
        else:
            beat_16 = self._within(excess)
        self._last = excess
        return beat_16

    def _samples(self, milliseconds: int) -> int:
        return milliseconds * self._samples_per_s // 1000

    def _restart(self) -> None:
        self._smooth = None
        self._mean = None
        self._started = self._number
        self._beat_16 = self.time_16
        self._up_16 = None
        self._size = self._top = self._last = 0

    def _wait(self, excess: int) -> None:
        """Between beats."""
        half = self._size // 2
        if excess > half >= self._last and self.time_16 - self._beat_16 >= 16 * _REFRACTORY_MS:
            self._up_16 = self._crossing(excess, half)
            self._half = half
            self._top = excess
        elif self.time_16 - self._beat_16 > 16 * _PATIENCE_MS and self._number % self._samples(_DECAY_MS) == 0:
            self._size -= self._size // 16

    def _within(self, excess: int) -> "int | None":
        """In what may be a beat; returns its time when it ends."""
        up_16 = self._up_16 or 0
        self._top = max(self._top, excess)
        if excess > self._half:
            return None
        down_16 = self._crossing(excess, self._half)
        self._up_16 = None
        # One artefact, however large, raises the size by a quarter at most.
        self._size += (min(self._top, 2 * self._size) - self._size) // 4
        if not 16 * _NARROWEST_MS <= down_16 - up_16 <= 16 * _WIDEST_MS:
            return None
        self._beat_16 = (up_16 + down_16) // 2
        return self._beat_16

    def _crossing(self, excess: int, half: int) -> int:
        """When, between the last sample and this one, the threshold was crossed."""
        return self.time_16 - self._period_16 * (excess - half) // (excess - self._last)
