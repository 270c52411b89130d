"""A band-pass filter for a pulse, in integers: what moves faster than a breath and slower than noise."""

from array import array

_FEW_MS = 80  # first null at 12.5 Hz
_STRETCH_MS = 1000


class Bandpass:
    """How far a stream stands above its own mean: the sum of a few samples, less that of a second around them.

    The second is centred, so the answer is `delay_16` (1/16 ms) old, and keeps its shape: nothing is dragged along
    behind a step. Both sums weigh the same; `gain` is by how much the answer is larger than what was fed.
    """

    def __init__(self, *, samples_per_s: int, first: int):
        few = _FEW_MS * samples_per_s // 1000
        times = _STRETCH_MS * samples_per_s // 1000 // few
        self.gain = few * times
        self.delay_16 = 8 * 1000 * self.gain // samples_per_s
        self._few = few
        self._times = times
        self._values = array("i", [first] * self.gain)
        self._behind = self.gain // 2 - few // 2
        self._place = 0
        self._short = first * few
        self._long = first * self.gain

    def feed(self, value: int) -> int:
        """Take one sample."""
        values, length, place = self._values, self.gain, self._place
        self._long += value - values[place]
        values[place] = value
        self._short += values[(place - self._behind) % length] - values[(place - self._behind - self._few) % length]
        self._place = (place + 1) % length
        return self._short * self._times - self._long
