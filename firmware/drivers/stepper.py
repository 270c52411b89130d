"""Driver of a 28BYJ-48 stepper motor behind a ULN2003, in half steps, with a sensor at its index.

The motor needs 64 half steps a turn; its gears (32:9, 22:11, 26:9, 31:10) make that 4075.8 for the shaft, not the 4096
that are often quoted. The index, once a turn, takes what is rounded away and tells when steps were lost.
"""

import asyncio

from firmware.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware.hal import DigitalIn, DigitalOut

CHIP = "28byj-48"
TURN_STEPS = 4076
_STEP_S = 0.002  # 500 half steps a second, which it follows from standstill without a ramp
_SETTLE_S = 0.05  # before the coils let go
_SLIP_STEPS = 12  # about one degree: gears have play, and a magnet is wider in the cold
_COILS = (0b0001, 0b0011, 0b0010, 0b0110, 0b0100, 0b1100, 0b1000, 0b1001)


class Stepper:
    """The motor. `position`: half steps forward of the index, below `turn_steps`; None until it was found.

    `index` is low while the magnet is there; forward, it falls at position 0. A step takes 2 ms, in which everything
    else has its turn. At rest no current flows: the gears hold the shaft.
    """

    def __init__(self, coils: "Sequence[DigitalOut]", index: "DigitalIn", *, turn_steps: int = TURN_STEPS):
        if len(coils) != len(_COILS) // 2:
            raise ValueError(f"it has {len(_COILS) // 2} coils, not {len(coils)}")
        self._coils = coils
        self._index = index
        self._turn_steps = turn_steps
        self._phase = 0
        self._was_there = True
        self.position: "int | None" = None
        self.rest()

    async def find_index(self) -> None:
        """Turn forward until the index is there, at most a turn and a bit. Raises DriverError if it is not."""
        self.position = None
        try:
            await self._turn(self._turn_steps + self._turn_steps // 8)
            if self.position is None:
                raise DriverError(CHIP, None, "does not find its index: it is jammed, or the sensor has failed")
        finally:
            self.rest()

    async def move(self, steps: int) -> None:
        """Turn by so many half steps, backward if negative.

        Raises DriverError if the index is not where it should be: steps were lost, and the position is unknown.
        """
        try:
            await self._turn(steps, until_index=False)
            await asyncio.sleep(_SETTLE_S)
        finally:
            self.rest()

    def rest(self) -> None:
        """Switch the coils off."""
        for coil in self._coils:
            coil.value(0)

    async def _turn(self, steps: int, until_index: bool = True) -> None:
        direction = 1 if steps > 0 else -1
        self._was_there = not self._index.value()
        for _ in range(abs(steps)):
            self._step(direction)
            await asyncio.sleep(_STEP_S)
            if self._passed_index(direction) and until_index:
                return

    def _step(self, direction: int) -> None:
        self._phase = (self._phase + direction) % len(_COILS)
        pattern = _COILS[self._phase]
        for number, coil in enumerate(self._coils):
            coil.value(pattern >> number & 1)
        if self.position is not None:
            self.position = (self.position + direction) % self._turn_steps

    def _passed_index(self, direction: int) -> bool:
        """Whether the edge at position 0 was passed forward; then the position is set by it."""
        there = not self._index.value()
        came = there and not self._was_there
        self._was_there = there
        if not came or direction < 0:
            return False
        if self.position is not None:
            off = (self.position + self._turn_steps // 2) % self._turn_steps - self._turn_steps // 2
            if abs(off) > _SLIP_STEPS:
                self.position = None
                raise DriverError(CHIP, None, f"has lost steps: its index is off by {off}")
        self.position = 0
        return True
