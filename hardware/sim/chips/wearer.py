"""Who wears the simulated board: moves it, has skin and blood, and takes it off; after a script, or at rest."""

from hardware.sim.chips.max30102 import Max30102, ratio_milli
from hardware.sim.chips.max30205 import Max30205
from hardware.sim.chips.motion import Motion
from hardware.sim.chips.mpu6050 import Mpu6050

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROOM_MC, _SETTLE_S = 24000, 30  # from the room's temperature the sensor comes two thirds of the way in so many seconds


class Wearer:
    """Acts on those of the chips that feel him.

    `motion`: (from which second on, activity of motion.py); `spo2`, `skin_c`: percent and degrees, `worn`: (from which
    second on, whether), all in order.
    """

    def __init__(
        self,
        chips: "Iterable[object]",
        *,
        motion: "Sequence[tuple[float, str]]" = ((0, "still"),),
        spo2: float = 97,
        skin_c: float = 33.5,
        worn: "Sequence[tuple[float, bool]]" = ((0, True),),
        seed: int = 1,
        repeat_s: "float | None" = None,
    ):
        self._motion = Motion(motion, seed=seed, repeat_s=repeat_s)
        self._skin_mc = int(1000 * skin_c)
        self._worn = worn
        self._warmth_mc = _ROOM_MC
        self._second = 0
        self._light: "Max30102 | None" = None
        for chip in chips:
            if isinstance(chip, Max30102):
                self._light = chip
                chip.ratio_milli = ratio_milli(spo2)
            elif isinstance(chip, Mpu6050):
                chip.motion = self._motion.at
            elif isinstance(chip, Max30205):
                chip.temperature = lambda at_us: self._warmth_mc

    def advance(self, to_us: int) -> None:
        """Live on, second by second."""
        while self._second * 1000000 <= to_us:
            worn = [put_on for begin, put_on in self._worn if begin <= self._second][-1]
            self._warmth_mc += ((self._skin_mc if worn else _ROOM_MC) - self._warmth_mc) // _SETTLE_S
            if self._light is not None:
                self._light.is_worn = worn
            self._second += 1
