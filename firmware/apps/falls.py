"""Notices that the wearer has fallen, in acceleration, in integers.

A state machine as in Analog Devices' application note AN-1023 (Jia, 2009), with its thresholds: for a moment less than
0.75 g, while a body gives way; soon after more than 2 g, the impact; then two seconds still, within 0.1875 g; in
another posture than before, by 0.7 g (some 40 degrees). At a wrist, which is moved more than a waist is (Kangas et
al., Gait & Posture 28, 2008), the impact may come later and stillness take longer. Then the wearer has time to cancel;
what nobody cancels is a fall. Who lies still at once and stays lying is found; who sinks down slowly is not: they have
the button.
"""

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LIGHT_MG, _LIGHT_MS = 750, 60
_IMPACT_MG, _IMPACT_WITHIN_MS = 2000, 500
_SETTLE_MS = 400  # after the impact, while a body comes to rest
_STILL_MG, _STILL_MS, _STILL_WITHIN_MS = 187, 2000, 10000
_TURNED_MG = 700
_CANCEL_MS = 20000
_SLOW = 32  # samples over which posture is averaged

WATCHING, LIGHT, STRUCK, SUSPECTED, FALLEN = range(5)


class FallDetector:
    """Give it each sample; `state` tells: WATCHING, LIGHT, STRUCK, SUSPECTED (the wearer may cancel), FALLEN."""

    def __init__(self, *, samples_per_s: int):
        self._samples_per_s = samples_per_s
        self._slow = array("i", [0] * 3)  # the posture times _SLOW
        self._before = array("i", [0] * 3)  # the posture before the fall
        self._lowest = array("i", [0] * 3)
        self._highest = array("i", [0] * 3)
        self._count = 0  # samples in this state
        self._run = 0  # of them, those without interruption that are light, or still
        self._known = False
        self.state = WATCHING

    def feed(self, sample_mg: "Sequence[int]", *, worn: bool = True) -> bool:
        """Take the acceleration along three axes, in thousandths of g; returns whether the state has changed."""
        x, y, z = sample_mg[0], sample_mg[1], sample_mg[2]
        square = x * x + y * y + z * z
        before = self.state
        self._count += 1
        if before == WATCHING:
            self._watch(square, sample_mg)
        elif before == LIGHT:
            self._light(square)
        elif before == STRUCK:
            self._settle(sample_mg, worn)
        elif before == SUSPECTED and self._count > self._samples(_CANCEL_MS):
            self._enter(FALLEN)
        return self.state != before

    def cancel(self) -> bool:
        """The wearer is well: watch again. Returns whether there was anything to cancel."""
        if self.state < SUSPECTED:
            return False
        self._enter(WATCHING)
        return True

    def lost(self) -> None:
        """Samples are missing here: what was not seen whole is not judged. A suspicion stays."""
        if self.state < SUSPECTED:
            self._enter(WATCHING)
            self._known = False

    def _samples(self, milliseconds: int) -> int:
        return milliseconds * self._samples_per_s // 1000

    def _enter(self, state: int) -> None:
        self.state = state
        self._count = self._run = 0

    def _watch(self, square: int, sample_mg: "Sequence[int]") -> None:
        if square < _LIGHT_MG * _LIGHT_MG:
            self._run += 1
            if self._run >= self._samples(_LIGHT_MS):
                self._enter(LIGHT)
            return
        self._run = 0
        for axis in range(3):
            value = sample_mg[axis]
            self._slow[axis] += value - self._slow[axis] // _SLOW if self._known else value * _SLOW
            self._before[axis] = self._slow[axis] // _SLOW
        self._known = True

    def _light(self, square: int) -> None:
        """Falling, perhaps: the impact must come soon after the last light sample."""
        if square < _LIGHT_MG * _LIGHT_MG:
            self._count = 0
            self._run += 1
        if square > _IMPACT_MG * _IMPACT_MG:
            self._enter(STRUCK)
        elif self._count > self._samples(_IMPACT_WITHIN_MS):
            self._enter(WATCHING)

    def _settle(self, sample_mg: "Sequence[int]", worn: bool) -> None:
        if self._count <= self._samples(_SETTLE_MS):
            return
        if self._count > self._samples(_STILL_WITHIN_MS):
            self._enter(WATCHING)
            return
        if not self._is_still(sample_mg):
            self._run = 0
            return
        self._run += 1
        if self._run >= self._samples(_STILL_MS):
            self._enter(SUSPECTED if worn and self._turned() else WATCHING)

    def _is_still(self, sample_mg: "Sequence[int]") -> bool:
        """Whether this sample is near all those since stillness began."""
        still = True
        for axis in range(3):
            value = sample_mg[axis]
            self._lowest[axis] = min(self._lowest[axis], value) if self._run else value
            self._highest[axis] = max(self._highest[axis], value) if self._run else value
            if self._highest[axis] - self._lowest[axis] > 2 * _STILL_MG:
                still = False
        return still

    def _turned(self) -> bool:
        square = 0
        for axis in range(3):
            difference = (self._lowest[axis] + self._highest[axis]) // 2 - self._before[axis]
            square += difference * difference
        return square > _TURNED_MG * _TURNED_MG
