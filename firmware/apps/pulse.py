"""Heart rate and signal quality from the times of beats, in integers; no number where the signal does not give one.

An interval counts if both its beats have the usual form and it is within 30 % of the median, as heartpy and others
have it; the more of the last eight do not, the less the rate is trusted.
"""

from array import array

from firmware.apps.beats import BeatFinder
from protocols.reading import BAD_INVALID, GOOD, UNCERTAIN, DecimalFraction

_INTERVALS = 8
_ENOUGH = 4
_SHORTEST_16, _LONGEST_16 = 16 * 300, 16 * 2000  # 200 and 30 beats a minute
_OUTLIER_PERCENT = 30
_SILENCE_16 = 16 * 3000
_GOOD_FROM, _UNCERTAIN_FROM = 80, 40  # percent of signal quality
_CALM_PERCENT = 6  # mean deviation of intervals that breathing alone explains
_CONTACT_COUNTS = 10000  # less light than this comes back only when there is no skin before the sensor
_FAINT_PER_1000 = 1  # beats smaller than this part of the steady light are noise


class PulseMeter:
    """Give it each infrared sample; ask for `rate` and `signal_quality` whenever a reading is due.

    `excess` is the last sample's pulsating part times `gain`, `steady` the rest, in counts.
    """

    def __init__(self, *, samples_per_s: int):
        self._finder = BeatFinder(samples_per_s=samples_per_s)
        self._intervals = array("i", [])  # in 1/16 ms; negative: one of its beats may be motion
        self._beat_16: "int | None" = None
        self._regular = False
        self._usual: "list[int]" = []
        self.steady = 0
        self.beats = 0
        self.sure = 0

    @property
    def excess(self) -> int:
        """The pulsating part of a sample half a second ago, times that of a band-pass."""
        return self._finder.excess

    @property
    def is_worn(self) -> bool:
        """Whether there is skin before the sensor."""
        return self.steady >= _CONTACT_COUNTS

    def feed(self, counts: int) -> None:
        """Take one sample."""
        self.steady += (counts - self.steady) // 64 if self.steady else counts
        beat_16 = self._finder.feed(counts)
        if beat_16 is None:
            return
        self.beats += 1
        if self._beat_16 is not None:
            self._keep(beat_16 - self._beat_16, self._regular and self._finder.regular)
        self._beat_16 = beat_16
        self._regular = self._finder.regular

    def lost(self, samples: int) -> None:
        """So many samples are missing here: the interval across them is not measured."""
        self._finder.skip(samples)
        self._beat_16 = None

    def rate(self) -> "tuple[DecimalFraction | None, int]":
        """Heart rate per minute with one decimal, and its quality; None when the signal gives no rate."""
        percent = self.signal_quality()
        if percent < _UNCERTAIN_FROM:
            return None, BAD_INVALID
        total = sum(self._usual)
        tenths = (16 * 600000 * len(self._usual) + total // 2) // total
        return DecimalFraction(tenths, -1), GOOD if percent >= _GOOD_FROM else UNCERTAIN

    def signal_quality(self) -> int:
        """0 (no pulse to be seen) to 100 (regular beats of good size), in percent."""
        usable = self._usual
        if len(usable) < _ENOUGH or self._silent() or not self.is_worn:
            return 0
        if self._finder.amplitude * 1000 < _FAINT_PER_1000 * self.steady:
            return 0
        middle = _median(usable)
        deviation = 100 * sum(abs(interval - middle) for interval in usable) // (middle * len(usable))
        regular = max(0, 100 - 4 * max(0, deviation - _CALM_PERCENT))
        return 100 * len(usable) // len(self._intervals) * regular // 100

    def intervals_1024(self, count: int) -> "list[int]":
        """The last `count` intervals that a rate may be made of, oldest first, in 1/1024 s. `sure` counts them all."""
        trusted = [interval * 1024 // 16000 for interval in self._intervals if interval > 0]
        return trusted[-count:] if count > 0 else []

    def span_16(self) -> "tuple[int, int]":
        """From when to when the beats came that `rate` is about, in 1/16 ms since the first sample."""
        end = self._beat_16 or 0
        return end - sum(abs(interval) for interval in self._intervals), end

    def _keep(self, interval_16: int, sure: bool) -> None:
        self.sure += sure
        self._intervals.append(interval_16 if sure else -interval_16)
        if len(self._intervals) > _INTERVALS:
            self._intervals = self._intervals[1:]
        self._usual = self._usable()

    def _usable(self) -> "list[int]":
        """The intervals a heart can have that are near the median: a beat missed or found twice is not."""
        possible = [interval for interval in self._intervals if _SHORTEST_16 <= interval <= _LONGEST_16]
        if not possible:
            return []
        middle = _median(possible)
        return [interval for interval in possible if 100 * abs(interval - middle) <= _OUTLIER_PERCENT * middle]

    def _silent(self) -> bool:
        return self._beat_16 is None or self._finder.time_16 - self._beat_16 > _SILENCE_16


def _median(values: "list[int]") -> int:
    return sorted(values)[len(values) // 2]
