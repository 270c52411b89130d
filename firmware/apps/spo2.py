"""Oxygen saturation from the ratio of ratios of red and infrared light, in integers.

R = (AC red / DC red) / (AC infrared / DC infrared). For two seconds at a time the sum of red x sign(infrared), set
against the sum of |infrared|, gives the AC part: noise of the red channel that does not move with the infrared one
falls out of it, and no squares are needed. The median of the last five such stretches is given out, never better
than the heart rate of the same light: motion moves both colours alike, and would pass for 80 %.

The curve is that of Maxim's application note 6845 (MAX30101, the same optics under the same cover). It is not a
calibration: that needs desaturation studies with this very device on people (ISO 80601-2-61). Not for diagnosis.
"""

from array import array

from firmware.apps.bandpass import Bandpass
from protocols.reading import BAD_INVALID, BAD_RANGE, UNCERTAIN, DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.apps.pulse import PulseMeter

_STRETCH_MS = 2000  # longer than a beat
_STRETCHES = 5
_ENOUGH = 3
_SATURATED = 0x3FFFF
_COHERENT_PERCENT, _USABLE_PERCENT = 95, 85  # of the red AC that moves with the infrared one
_FAINT_PI = 20  # perfusion index in 1/100 %: below, the pulse drowns in the converter's noise
_STEADY_PER_MILLE = 120  # by which the ratios of good stretches differ at most
# AN6845: SpO2 = 1.5958422 R^2 - 34.6596622 R + 112.6898759, from R = 0.30 by steps of 0.05, in tenths of a percent.
_FIRST, _STEP = 300, 50  # in 1/1000
_CURVE = (
    1024, 1008, 991, 974, 958, 941, 925, 908, 892, 876, 860, 844, 828, 812, 796, 781, 765, 749, 734, 719, 703, 688, 673,
)  # fmt: skip
_HIGHEST, _LOWEST = 1000, 700  # beyond there is no curve


class OxygenMeter:
    """Give it the red sample after the pulse meter has had the infrared one of the same moment."""

    def __init__(self, pulse: "PulseMeter", *, samples_per_s: int):
        self._pulse = pulse
        self._samples_per_s = samples_per_s
        self._length = _STRETCH_MS * samples_per_s // 1000
        self._ratios = array("i", [0] * _STRETCHES)  # in 1/1000; 0: that stretch gave none
        self._perfusion = array("i", [0] * _STRETCHES)
        self._coherence = 0
        self._place = 0
        self._red: "Bandpass | None" = None
        self._highest = self._lowest = 0
        self._saturated = False
        self._begin()

    def feed(self, counts: int) -> None:
        """Take one sample of red light."""
        if self._red is None:
            self._red = Bandpass(samples_per_s=self._samples_per_s, first=-counts)
            self._steady = counts
        self._steady += (counts - self._steady) // 64
        red = self._red.feed(-counts) // self._red.gain
        infrared = self._pulse.excess // self._red.gain
        self._along += red if infrared >= 0 else -red
        self._red_sum += abs(red)
        self._infrared_sum += abs(infrared)
        self._highest = max(self._highest, infrared)
        self._lowest = min(self._lowest, infrared)
        self._saturated = self._saturated or counts >= _SATURATED
        self._count += 1
        if self._count == self._length:
            self._close()
            self._begin()

    def lost(self) -> None:
        """Samples are missing here: this stretch begins anew."""
        self._red = None
        self._begin()

    def saturation(self) -> "tuple[DecimalFraction | None, int]":
        """SpO2 in percent with one decimal, and its quality; None when the signal gives none or there is no curve."""
        ratios = sorted(ratio for ratio in self._ratios if ratio)
        beats = self._pulse.rate()[1]
        if beats == BAD_INVALID or len(ratios) < _ENOUGH or not self._ratios[self._place - 1]:
            return None, BAD_INVALID
        tenths = _on_curve(ratios[len(ratios) // 2])
        if tenths is None or tenths < _LOWEST:
            return None, BAD_RANGE
        steady = (ratios[-2] - ratios[1]) * 1000 <= _STEADY_PER_MILLE * ratios[len(ratios) // 2]
        good = len(ratios) == _STRETCHES and steady and self._coherence >= _COHERENT_PERCENT
        return DecimalFraction(min(tenths, _HIGHEST), -1), beats if good else UNCERTAIN

    def perfusion(self) -> "DecimalFraction | None":
        """The perfusion index, AC / DC of the infrared light from top to bottom, in percent; None without skin."""
        if not self._pulse.is_worn:
            return None
        return DecimalFraction(sorted(self._perfusion)[_STRETCHES // 2], -2)

    def _close(self) -> None:
        """A stretch is over: keep its ratio, if it has one."""
        steady = max(self._pulse.steady, 1)
        perfusion = (self._highest - self._lowest) * 10000 // steady
        ratio = 0
        if self._infrared_sum and self._red_sum:
            self._coherence = max(0, 100 * self._along // self._red_sum)
            usable = self._coherence >= _USABLE_PERCENT and perfusion >= _FAINT_PI and not self._saturated
            if usable and self._pulse.is_worn:
                in_1000 = 1000 * self._along // self._infrared_sum
                ratio = in_1000 * (steady // 16) // max(self._steady // 16, 1)
        self._ratios[self._place] = ratio
        self._perfusion[self._place] = perfusion
        self._place = (self._place + 1) % _STRETCHES

    def _begin(self) -> None:
        self._along = self._red_sum = self._infrared_sum = self._count = 0
        self._highest = self._lowest = 0
        self._saturated = False


def _on_curve(ratio: int) -> "int | None":
    """SpO2 in tenths of a percent for a ratio in 1/1000; None beyond the end of the curve."""
    place, part = divmod(max(ratio - _FIRST, 0), _STEP)
    if place >= len(_CURVE) - 1:
        return None
    return _CURVE[place] + ((_CURVE[place + 1] - _CURVE[place]) * part - _STEP // 2) // _STEP
