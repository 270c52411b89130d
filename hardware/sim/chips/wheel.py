"""Model of a wheel with compartments on a 28BYJ-48 behind a ULN2003, with its index sensor and the chute below it.

The shaft follows the coils: each pattern attracts the rotor to one of eight places, and within half a millisecond it is
there; what is four half steps away does not move it. Without current the gears hold it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.sim.shims.simboard import Line

TURN_STEPS = 4076
_INDEX_STEPS = 40  # how wide the magnet is
_FOLLOW_US = 500
_FALL_US, _PULSE_US = 80_000, 1_500
_PLACES = {0b0001: 0, 0b0011: 1, 0b0010: 2, 0b0110: 3, 0b0100: 4, 0b1100: 5, 0b1000: 6, 0b1001: 7}


class Wheel:
    """`pins`: coil_1 to coil_4, index and drop. `full`: the compartments that hold something, from 1 on.

    `at`: half steps forward of the index, without end. Compartment n opens when the wheel comes, forward, to n parts of
    its turn; what is in it falls, once. `jammed`: it does not follow; `slips`: so many steps it does not follow.
    """

    def __init__(
        self,
        lines: "dict[str, Line]",
        clock: "Callable[[], int]",
        compartments: int = 28,
        full: "Sequence[int]" = (),
        at: int = 100,
    ) -> None:
        self._clock = clock
        self._coils = [lines[f"coil_{number}"] for number in range(1, 5)]
        self._index, self._drop = lines["index"], lines["drop"]
        self._compartments = compartments
        self.full = set(full)
        self.at = at
        self.jammed = False
        self.slips = 0
        self.current_us = 0  # for how long a coil has been on
        self._place = 0
        self._pattern = 0
        self._changed_us = self._counted_us = clock()
        self._pulses: "list[tuple[int, int]]" = []  # (time, level of the chute's barrier)
        for coil in self._coils:
            coil.watchers.append(self._switched)
        self._show()

    def advance(self, to_us: int) -> None:
        """What falls passes the barrier."""
        self._follow(to_us)
        while self._pulses and self._pulses[0][0] <= to_us:
            self._drop.drive(self._pulses.pop(0)[1])

    def _switched(self, _level: int) -> None:
        now_us = self._clock()
        self._follow(now_us)
        self._changed_us = now_us
        self._pattern = 0
        for number, coil in enumerate(self._coils):
            self._pattern |= coil.level << number

    def _follow(self, now_us: int) -> None:
        """The rotor has been drawn to where the pattern wants it, if that has lasted long enough."""
        if self._pattern:
            self.current_us += now_us - self._counted_us
        self._counted_us = now_us
        place = _PLACES.get(self._pattern)
        if place is None or now_us - self._changed_us < _FOLLOW_US:
            return
        way = (place - self._place + 3) % 8 - 3
        if way == 4 or self.jammed:
            return
        self._place = place
        for _ in range(abs(way)):
            if self.slips:
                self.slips -= 1
            else:
                self._go(1 if way > 0 else -1)

    def _go(self, direction: int) -> None:
        self.at += direction
        number = round(self.at % TURN_STEPS * self._compartments / TURN_STEPS) or self._compartments
        opens = number * TURN_STEPS // self._compartments % TURN_STEPS
        if direction > 0 and self.at % TURN_STEPS == opens and number in self.full:
            self.full.remove(number)
            begin_us = self._clock() + _FALL_US
            self._pulses += [(begin_us, 0), (begin_us + _PULSE_US, 1)]
        self._show()

    def _show(self) -> None:
        self._index.drive(0 if self.at % TURN_STEPS < _INDEX_STEPS else 1)
