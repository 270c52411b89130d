"""Finds heart beats in a stream of optical samples, one by one, in integers.

Where what the band-pass leaves rises above half the usual height, a beat has come; where it falls below again, its
time is the middle of the two crossings, which neither a clipped top nor a moved threshold shifts. The dicrotic wave,
which rises as steeply as the beat itself but from lower down, stays below the threshold. The usual height is the
median of the last beats, which an artefact does not move; when no beat came for one and two thirds of the usual
interval, it comes down, as in Pan and Tompkins (IEEE Trans. Biomed. Eng. 32, 1985). Whether a beat is one is judged by
its form, after Sukor, Redmond and Lovell (Physiol. Meas. 32, 2011): height, width and the depth of the trough before
it, against those usual here.
"""

from array import array

from firmware.apps.bandpass import Bandpass

_LEARN_MS = 2000
_REFRACTORY_MS = 300  # 200 beats a minute
_NARROWEST_MS, _WIDEST_MS = 60, 600  # of a beat at half its height
_FIRST_PATIENCE_MS = 1500  # while no interval is known
_SHORTEST_PATIENCE_MS, _LONGEST_PATIENCE_MS = 600, 2500
_DECAY_MS = 100  # by 1/16 each
_KEPT = 5  # beats, of whose sizes the median is usual


class _Usual:
    """The median of the last few values; `fill` until there are any."""

    def __init__(self, fill: int):
        self._values = array("i", [fill] * _KEPT)
        self._place = 0
        self.value = fill

    def feed(self, value: int) -> None:
        self._values[self._place] = value
        self._place = (self._place + 1) % _KEPT
        self.value = sorted(self._values)[_KEPT // 2]


class BeatFinder:
    """Give it each sample (counts; more blood means fewer); it returns a beat's time when one is sure, else None.

    Times are in 1/16 ms since the first sample. Works for 50 to 400 samples a second. `regular` says whether the last
    beat has the form of those before it; one that has not may be motion. `excess` is what the band-pass gave last.
    """

    def __init__(self, *, samples_per_s: int):
        self._samples_per_s = samples_per_s
        self._period_16 = 16000 // samples_per_s
        self._number = 0
        self._bandpass: "Bandpass | None" = None
        self.excess = 0
        self._up_16: "int | None" = None
        self._started = self._top = self._size = self._last = self._trough = 0
        self.regular = False
        self._restart()

    @property
    def time_16(self) -> int:
        """The time of the last sample, in 1/16 ms."""
        return self._number * self._period_16

    @property
    def amplitude(self) -> int:
        """How far the last beats stood above the mean, in counts; 0 while not known."""
        return 0 if self._bandpass is None else self._size // self._bandpass.gain

    def skip(self, samples: int) -> None:
        """So many samples were lost: time has passed, and what comes next does not follow what was before."""
        self._number += samples
        self._restart()

    def feed(self, counts: int) -> "int | None":
        """Take one sample."""
        self._number += 1
        if self._bandpass is None:
            self._bandpass = Bandpass(samples_per_s=self._samples_per_s, first=-counts)
        excess = self.excess = self._bandpass.feed(-counts)
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
        self._bandpass = None
        self._tops: "_Usual | None" = None
        self._widths = _Usual(16 * _NARROWEST_MS)
        self._troughs = _Usual(0)
        self._intervals = _Usual(16 * _FIRST_PATIENCE_MS * 3 // 5)
        self._started = self._number
        self._beat_16 = self.time_16
        self._up_16 = None
        self._size = self._top = self._last = self._trough = 0

    def _wait(self, excess: int) -> None:
        """Between beats."""
        half = self._size // 2
        self._trough = min(self._trough, excess)
        since_16 = self.time_16 - self._beat_16
        if excess > half >= self._last and since_16 >= 16 * _REFRACTORY_MS:
            self._up_16 = self._crossing(excess, half)
            self._half = half
            self._top = excess
        elif since_16 > self._patience_16() and self._number % self._samples(_DECAY_MS) == 0:
            self._size -= self._size // 16

    def _patience_16(self) -> int:
        patience_16 = self._intervals.value * 5 // 3
        return min(max(patience_16, 16 * _SHORTEST_PATIENCE_MS), 16 * _LONGEST_PATIENCE_MS)

    def _within(self, excess: int) -> "int | None":
        """In what may be a beat; returns its time when it ends."""
        up_16 = self._up_16 or 0
        self._top = max(self._top, excess)
        if excess > self._half:
            return None
        down_16 = self._crossing(excess, self._half)
        self._up_16 = None
        self._judge(down_16 - up_16)
        if not 16 * _NARROWEST_MS <= down_16 - up_16 <= 16 * _WIDEST_MS:
            return None
        beat_16 = (up_16 + down_16) // 2
        self._intervals.feed(min(beat_16 - self._beat_16, 16 * _LONGEST_PATIENCE_MS))
        self._beat_16 = beat_16
        return beat_16 - self._bandpass.delay_16 if self._bandpass else None

    def _judge(self, width_16: int) -> None:
        """Compare the form of a beat that has ended with the usual one, then let it count for what is usual."""
        if self._tops is None:
            self._tops = _Usual(self._top)
            self._widths = _Usual(width_16)
            self._troughs = _Usual(self._trough)
        top = self._tops.value
        self.regular = (
            top * 5 <= self._top * 8 <= top * 13
            and self._widths.value * 5 <= width_16 * 8 <= self._widths.value * 13
            and abs(self._trough - self._troughs.value) * 8 <= top * 5
        )
        self._tops.feed(self._top)
        self._widths.feed(width_16)
        self._troughs.feed(self._trough)
        self._trough = 0
        self._size = self._tops.value

    def _crossing(self, excess: int, half: int) -> int:
        """When, between the last sample and this one, the threshold was crossed."""
        return self.time_16 - self._period_16 * (excess - half) // (excess - self._last)
