"""Model of the dispenser's cabinet: wheel with a magnet at each compartment, chute, tray, and who takes doses.

What is in it outlasts a loss of power, as things do: it lies in a file.
"""

import json
import os

from hardware.sim.chips.wheel import TURN_STEPS, Wheel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hardware.sim.shims.simboard import Line

_MAGNET_STEPS = 40
_PRESS_US = 300_000


class Carousel(Wheel):
    """`pins`: coil_1 to coil_4, index (of each compartment), odd, drop, tray, door, button and buzzer.

    `memory`: the file that keeps where the wheel is, what it holds and what lies on the tray. `patient_ms`: so long
    after the buzzer somebody presses the button, and so long after a dose fell takes it; None: nobody is there.
    """

    def __init__(
        self,
        lines: "dict[str, Line]",
        clock: "Callable[[], int]",
        compartments: int = 28,
        memory: str = "",
        patient_ms: "int | None" = None,
    ) -> None:
        self._lines = lines
        self._memory = ""  # not before what is in it is known
        self.tray = 0
        self._parts = compartments
        self._patient_us = None if patient_ms is None else 1000 * patient_ms
        self._presses_us: "int | None" = None
        self._takes_us: "int | None" = None
        lines["door"].drive(0)
        super().__init__(lines, clock, compartments=compartments, full=range(1, compartments + 1), at=0)
        self._memory = memory
        self._remember()
        lines["tray"].drive(0 if self.tray else 1)
        lines["buzzer"].watchers.append(self._heard)
        lines["drop"].watchers.append(self._fallen)

    def advance(self, to_us: int) -> None:
        """What falls passes the barrier, and somebody may take it."""
        super().advance(to_us)
        self._act(to_us)

    def take(self) -> None:
        """Somebody takes what lies on the tray."""
        self.tray = 0
        self._lines["tray"].drive(1)
        self._keep()

    def load(self) -> None:
        """Somebody puts a new cartridge in."""
        self.full = set(range(1, self._parts + 1))
        self.at = 0
        self._show()

    def _act(self, now_us: int) -> None:
        """The patient."""
        if self._patient_us is None:
            return
        if self._presses_us is not None and now_us >= self._presses_us:
            pressed = now_us < self._presses_us + _PRESS_US
            self._lines["button"].drive(0 if pressed else None)
            if not pressed:
                self._presses_us = None
        if self.tray and self._takes_us is None:
            self._takes_us = now_us + self._patient_us
        elif self._takes_us is not None and now_us >= self._takes_us:
            self._takes_us = None
            self.take()

    def _fallen(self, level: int) -> None:
        """What has passed the barrier lies on the tray, until somebody takes it."""
        if not level:
            self.tray += 1
            self._lines["tray"].drive(0)
            self._keep()

    def _heard(self, level: int) -> None:
        if level and self._patient_us is not None and self._presses_us is None and not self.tray:
            self._presses_us = self._clock() + self._patient_us

    def _show(self) -> None:
        part = self.at % TURN_STEPS * self._parts // TURN_STEPS
        near = self.at % TURN_STEPS - -(-part * TURN_STEPS // self._parts) < _MAGNET_STEPS
        self._index.drive(0 if near else 1)
        self._lines["odd"].drive(0 if near and part & 1 else 1)
        self._keep()

    def _keep(self) -> None:
        if self._memory:
            with open(self._memory + ".new", "w") as file:
                json.dump({"at": self.at, "full": sorted(self.full), "tray": self.tray}, file)
            os.rename(self._memory + ".new", self._memory)

    def _remember(self) -> None:
        try:
            with open(self._memory) as file:
                kept: "dict[str, Any]" = json.load(file)
        except OSError:
            return
        self.at, self.full, self.tray = kept["at"], set(kept["full"]), kept["tray"]
        self._show()
