"""Counts steps in acceleration, in integers: a pedometer after Zhao (Analog Dialogue 44-06, 2010).

The square of the acceleration, which needs no root and does not care how the device is turned, is smoothed; each second
its highest and lowest set the threshold for the next one. A step is where it falls through the threshold, no sooner
than 0.2 s and no later than 1.25 s after the one before. Only regular steps count: the first six are kept back until
they have proven to be a walk.
"""

from array import array

_SMOOTH_MS = 100
_WINDOW_MS = 1000
_SHORTEST_MS, _LONGEST_MS = 200, 1250
_LEAST = 250  # between highest and lowest, in mg of |a|^2 / g: about an eighth of g
_REGULAR_PERCENT = 45  # by which an interval may differ from the one before
_PROOF = 6


class StepCounter:
    """Give it each sample of acceleration in thousandths of g; `steps` grows. For 25 to 100 samples a second."""

    def __init__(self, *, samples_per_s: int):
        self._values = array("i", [1000] * (_SMOOTH_MS * samples_per_s // 1000))
        self._sum = 1000 * len(self._values)
        self._place = 0
        self._window = _WINDOW_MS * samples_per_s // 1000
        self._shortest = _SHORTEST_MS * samples_per_s // 1000
        self._longest = _LONGEST_MS * samples_per_s // 1000
        self._count = 0
        self._highest = self._lowest = self._threshold = 1000
        self._swing = 0
        self._last = 1000
        self._since = self._longest + 1
        self._interval = 0
        self._proof = 0
        self.steps = 0

    @property
    def is_walking(self) -> bool:
        """Whether the last steps made a walk."""
        return self._proof >= _PROOF and self._since <= self._longest

    def feed(self, x_mg: int, y_mg: int, z_mg: int) -> None:
        """Take one sample."""
        value = (x_mg * x_mg + y_mg * y_mg + z_mg * z_mg) // 1000
        self._sum += value - self._values[self._place]
        self._values[self._place] = value
        self._place = (self._place + 1) % len(self._values)
        smooth = self._sum // len(self._values)
        self._since += 1
        if smooth < self._threshold <= self._last and self._swing >= _LEAST and self._since >= self._shortest:
            self._step()
        self._last = smooth
        self._measure(smooth)

    def lost(self) -> None:
        """Samples are missing here: what comes is a new walk."""
        self._proof = 0

    def _measure(self, smooth: int) -> None:
        """Follow the highest and the lowest; at the end of a window they make the threshold."""
        self._highest = max(self._highest, smooth)
        self._lowest = min(self._lowest, smooth)
        self._count += 1
        if self._count == self._window:
            self._swing = self._highest - self._lowest
            self._threshold = (self._highest + self._lowest) // 2
            self._highest = self._lowest = smooth
            self._count = 0

    def _step(self) -> None:
        regular = abs(self._since - self._interval) * 100 <= _REGULAR_PERCENT * self._interval
        if self._since > self._longest:
            self._proof = 1
        elif regular or self._proof <= 1:
            self._proof += 1
            self.steps += _PROOF if self._proof == _PROOF else self._proof > _PROOF
        else:
            self._proof = 1
        self._interval = self._since
        self._since = 0
