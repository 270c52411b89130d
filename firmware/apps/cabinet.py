"""The dispenser's cabinet: wheel, chute, tray, door, lock, button and buzzer, at the pins that the board has for them.

The wheel has a magnet at each compartment (pin "wheel") and one at each odd one (pin "odd"), so that it can be told
without turning it whether it has left its place.
"""

import asyncio

from firmware.apps.doses import ESCALATE, PROMPT, QUIET, REMIND
from firmware.drivers.drop_sensor import DropSensor
from firmware.drivers.stepper import TURN_STEPS, Stepper
from firmware.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.core.config import Config
    from firmware.hal import DigitalIn, Port

COMPARTMENTS = 28
PRESSED, HELD = "pressed", "held"
_LOOK_MS = 50
_TRAY_MS, _DOOR_MS, _BUTTON_MS = 500, 200, 100  # a state is believed once it has lasted so long
_HOLD_MS = 5000
_FALL_MS = 1000  # within which the dose has fallen once the wheel stands
_UNLOCKED_MS = 30000
_BEEP_MS = 200
_EVERY_MS = {PROMPT: 10000, REMIND: 5000, ESCALATE: 2500}


class _Steady:
    """An input whose state is believed once it has lasted."""

    def __init__(self, line: "DigitalIn", lasting_ms: int):
        self._line = line
        self._needed = max(1, lasting_ms // _LOOK_MS)
        self._seen = 0
        self.low = not line.value()

    def look(self) -> bool:
        """Look again, every 50 ms; whether the believed state has changed."""
        self._seen = self._seen + 1 if (not self._line.value()) != self.low else 0
        if self._seen < self._needed:
            return False
        self._seen = 0
        self.low = not self.low
        return True


class Cabinet:
    """See firmware/apps/dispensing.py for what it is asked. `run` and `buzz` are tasks; `look` goes on each 50 ms."""

    def __init__(self, config: "Config", hal: "Port"):
        def line(name: str) -> "DigitalIn":
            found = config.pin(name, "input")
            return hal.digital_in(found["pin"], pull=found["pull"])

        coils = [hal.digital_out(config.pin(f"coil_{number}", "output")["pin"]) for number in range(1, 5)]
        self._at, self._odd = line("wheel"), line("odd")
        # One part of a turn is what the driver takes for a whole one: each magnet is an index.
        self._motor = Stepper(coils, self._at, turn_steps=TURN_STEPS // COMPARTMENTS + 1)
        self._drop = DropSensor(hal, config.pin("drop", "input")["pin"])
        self._tray = _Steady(line("tray"), _TRAY_MS)
        self._door = _Steady(line("door"), _DOOR_MS)
        self._button = _Steady(line("button"), _BUTTON_MS)
        self._lock = hal.digital_out(config.pin("lock", "output")["pin"])
        self._buzzer = hal.digital_out(config.pin("buzzer", "output")["pin"])
        self._turn = asyncio.Event()
        self._turning = False
        self._level = QUIET
        self._louder = asyncio.Event()
        self._held_ms = 0
        self._unlocked_ms = 0

    def turn(self) -> None:
        """Begin to turn the wheel by one compartment."""
        self._turning = True
        self._turn.set()

    def parity(self) -> "int | None":
        """Whether the wheel stands at an even (0) or odd (1) compartment, or between two (None)."""
        if self._turning or self._at.value():
            return None
        return 0 if self._odd.value() else 1

    def alert(self, level: int) -> None:
        """From now on beep as this level wants it."""
        if level != self._level:
            self._level = level
            self._louder.set()

    def tray_full(self) -> bool:
        """Whether something lies on the tray."""
        return self._tray.low

    def door_open(self) -> bool:
        """Whether the door to the cartridge is open."""
        return not self._door.low

    def unlock(self) -> None:
        """Let the door be opened for half a minute."""
        self._unlocked_ms = _UNLOCKED_MS
        self._lock.value(1)

    def look(self) -> str:
        """Look at all inputs, every 50 ms; returns PRESSED or HELD when the button has been, else nothing."""
        self._tray.look()
        self._door.look()
        if self._unlocked_ms:
            self._unlocked_ms -= _LOOK_MS
            if not self._unlocked_ms:
                self._lock.value(0)
        changed = self._button.look()
        if self._button.low:
            self._held_ms += _LOOK_MS
            return HELD if self._held_ms == _HOLD_MS else ""
        held_ms, self._held_ms = self._held_ms, 0
        return PRESSED if changed and held_ms < _HOLD_MS else ""

    async def run(self, on_dropped: "Callable[[], None]", on_stopped: "Callable[[], None]") -> None:
        """Turn when asked to, and say how it ended."""
        while True:
            await self._turn.wait()
            self._turn.clear()
            self._drop.arm()
            try:
                await self._motor.find_index()
            except DriverError as error:
                print("cabinet:", error)
            for _ in range(_FALL_MS // _LOOK_MS):
                if self._drop.pulses:
                    break
                await asyncio.sleep(_LOOK_MS / 1000)
            self._turning = False
            if self._drop.pulses:
                on_dropped()
            else:
                on_stopped()

    async def buzz(self) -> None:
        """Beep: the more urgent, the more often."""
        while True:
            self._louder.clear()
            if self._level == QUIET:
                await self._louder.wait()
                continue
            self._buzzer.value(1)
            await asyncio.sleep(_BEEP_MS / 1000)
            self._buzzer.value(0)
            try:
                await asyncio.wait_for(self._louder.wait(), _EVERY_MS[self._level] / 1000)
            except asyncio.TimeoutError:
                continue
