"""Skin temperature: whether the sensor lies on skin, and has taken on its warmth."""

from array import array

from protocols.reading import BAD_INVALID, BAD_RANGE, GOOD, UNCERTAIN, DecimalFraction

_EACH_MS = 10000
_KEPT = 6  # a minute
_SETTLED_MC = 100  # by which it moves in a minute at most: the sensor's own accuracy
_COLDEST_MC, _WARMEST_MC = 20000, 43000  # of skin under a strap
_NONE = -1000000


class SkinThermometer:
    """Give it each temperature (thousandths of a degree); `temperature` is the reading."""

    def __init__(self) -> None:
        self._kept = array("i", [_NONE] * _KEPT)
        self._place = 0
        self._due_ms = 0
        self._now_mc = _NONE
        self._worn = False

    def feed(self, temperature_mc: int, now_ms: int, *, worn: bool) -> None:
        """A measurement; `worn`: whether another sensor sees skin. Taken off, it begins anew."""
        if not worn:
            self._kept = array("i", [_NONE] * _KEPT)
            self._due_ms = now_ms
        self._worn = worn
        self._now_mc = temperature_mc
        if worn and now_ms >= self._due_ms:
            self._kept[self._place] = temperature_mc
            self._place = (self._place + 1) % _KEPT
            self._due_ms = now_ms + _EACH_MS

    def temperature(self) -> "tuple[DecimalFraction | None, int]":
        """Degrees Celsius with two decimals; uncertain while it settles, none while it is not worn."""
        if not self._worn:
            return None, BAD_INVALID
        if not _COLDEST_MC <= self._now_mc <= _WARMEST_MC:
            return None, BAD_RANGE
        low, high = min(self._kept), max(self._kept)
        settled = high - low <= _SETTLED_MC and low <= self._now_mc + _SETTLED_MC and self._now_mc <= high + _SETTLED_MC
        return DecimalFraction((self._now_mc + 5) // 10, -2), GOOD if settled else UNCERTAIN
