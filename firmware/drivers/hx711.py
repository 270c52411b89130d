"""Driver of the HX711, a converter of 24 bits for weighing cells (Avia data sheet, "Serial Interface")."""

import asyncio

from firmware.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.hal import DigitalIn, DigitalOut

CHIP = "hx711"
_PULSES = 25  # 24 bits, and one that chooses channel A with gain 128 for the next conversion
_LEAST, _MOST = -0x800000, 0x7FFFFF  # what it says beyond its range
_LOOK_S, _LOOKS = 0.01, 60  # ten conversions a second; the first one after power-on comes after 0.4 s
_SAMPLES = 3


class Hx711:
    """The converter; `read` gives tenths of a gram: counts less `zero`, by `counts_per_kg`.

    A clock pulse of more than 60 us puts the chip to sleep, and an interrupt may make one so long. Then the rest of its
    bits are ones and the next conversion is late: of three conversions the middle one counts.
    """

    def __init__(self, clock: "DigitalOut", data: "DigitalIn", *, zero: int = 0, counts_per_kg: int = 1):
        self._clock = clock
        self._data = data
        self._zero = zero
        self._counts_per_kg = counts_per_kg

    async def start(self) -> None:
        """Wake it up. Raises DriverError if it does not convert."""
        self._clock.value(0)
        await self._convert()

    async def read(self) -> int:
        """Tenths of a gram. Raises DriverError, also for a load beyond its range."""
        samples = []  # in a loop: MicroPython cannot await in a comprehension
        for _ in range(_SAMPLES):
            samples.append(await self._convert())
        counts = sorted(samples)[_SAMPLES // 2]
        if counts in (_LEAST, _MOST):
            raise DriverError(CHIP, None, "is overloaded, or its cell is not connected")
        return (2 * (counts - self._zero) * 10000 + self._counts_per_kg) // (2 * self._counts_per_kg)

    async def _convert(self) -> int:
        """One conversion, in counts."""
        for _ in range(_LOOKS):
            if not self._data.value():
                return self._shift()
            await asyncio.sleep(_LOOK_S)
        raise DriverError(CHIP, None, "does not convert")

    def _shift(self) -> int:
        clock, data = self._clock.value, self._data.value
        bits = 0
        for _ in range(_PULSES):
            clock(1)
            clock(0)
            bits = bits << 1 | (1 if data() else 0)
        counts = bits >> 1
        if not bits & 1:
            raise DriverError(CHIP, None, "does not end its answer")  # the line is held low
        return counts - 0x1000000 if counts & 0x800000 else counts
