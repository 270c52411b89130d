"""Pulse-level model of the HX711 (Avia data sheet): its conversions, its bits, its sleep, the gain for the next one."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.sim.shims.simboard import Line

_PERIOD_US, _SETTLE_US, _SLEEP_US = 100_000, 400_000, 60
_GAINS = {25: 128, 26: 32, 27: 64}


class Hx711:
    """One chip; `counts`: what its converter gives with a gain of 128 at a time, cut off at its range."""

    def __init__(self, lines: "dict[str, Line]", clock: "Callable[[], int]", counts: int = 0) -> None:
        self.counts: "Callable[[int], int]" = lambda at_us: counts
        self.gain = 128
        self.asleep = False
        self._clock, self._data = lines["clock"], lines["data"]
        self._now = clock
        self._pulses = 0
        self._word = 0
        self._rose_us = 0
        self._ready_us = clock() + _SETTLE_US
        self._clock.watchers.append(self._clocked)
        self._data.drive(1)

    def advance(self, to_us: int) -> None:
        """A conversion is ready, or the clock was high for too long."""
        if self._clock.level:
            if to_us - self._rose_us > _SLEEP_US:
                self.asleep, self._pulses = True, 0
                self._data.drive(1)
        elif not self.asleep and not self._pulses and to_us >= self._ready_us:
            self._data.drive(0)
        elif self._pulses >= 25 and to_us >= self._ready_us:
            self.gain = _GAINS.get(self._pulses, 128)
            self._pulses = 0
            self._data.drive(0)

    def _clocked(self, level: int) -> None:
        if not level:
            if self.asleep:
                self.asleep, self.gain = False, 128
                self._ready_us = self._now() + _SETTLE_US
            return
        self._rose_us = self._now()
        if self.asleep or (not self._pulses and self._data.level):
            return  # it has nothing to say
        if not self._pulses:
            counts = min(max(self.counts(self._rose_us) * self.gain // 128, -0x800000), 0x7FFFFF)
            self._word = counts & 0xFFFFFF
            self._ready_us = self._rose_us + _PERIOD_US
        self._pulses += 1
        self._data.drive(self._word >> 24 - self._pulses & 1 if self._pulses <= 24 else 1)
