"""The task by which a wearer calls for help: button, vibration, and the alarms that are on, which outlast a restart."""

import asyncio

from firmware.apps import emergency
from firmware.apps.emergency import Emergency
from firmware.apps.falls import FALLEN, SUSPECTED
from firmware.core import files
from firmware.drivers.contact import Debounce
from protocols.reading import reading
from protocols.topics import URGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.apps.falls import FallDetector
    from firmware.core.device import Device

_NAME = "/emergency"
_BOUNCE_MS = 30
_LOOK_MS = 20
_IDLE_MS = 1000
_REPEAT_MS = 10000  # who was away when an alarm began hears of it as news, not as history
_FELT_MS = 400  # how long the motor runs when a press has had its effect
_BLINK_MS = 512


class AlarmButton:
    """SOS and fall. `wake` is for whoever changes the fall detector; it may be called from an interrupt."""

    def __init__(self, device: "Device"):
        self._device = device
        self._on_alive = device.watch("button")
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        self.wake = self._flag.set
        pin = device.config.pin("sos", "input")
        self._line = device.hal.digital_in(pin["pin"], pull=pin["pull"], on_edge=self._flag.set)
        self._motor = device.hal.digital_out(device.config.pin("vibration", "output")["pin"])
        self._debounce = Debounce(_BOUNCE_MS, _BOUNCE_MS)
        self._path = device.hal.storage() + _NAME
        kept = files.read(self._path) or b""
        self._alarms = Emergency(sos=b"sos" in kept, fall=b"fall" in kept)
        self._said_ms: "int | None" = None
        self._felt_ms = 0

    async def run(self, falls: "FallDetector") -> None:
        """Watch button and detector until cancelled."""
        while True:
            self._on_alive()
            now_ms = self._device.clock.monotonic_ms()
            self._look(falls, now_ms)
            if self._said_ms is None or (self._is_on() and now_ms - self._said_ms >= _REPEAT_MS):
                self._say(now_ms)
            suspected = falls.state == SUSPECTED
            self._motor.value(int(now_ms < self._felt_ms or (suspected and now_ms % _BLINK_MS < _BLINK_MS // 2)))
            if suspected or now_ms < self._felt_ms or self._alarms.is_down or not self._line.value():
                await asyncio.sleep(_LOOK_MS / 1000)
            else:
                await self._idle()

    def _look(self, falls: "FallDetector", now_ms: int) -> None:
        self._debounce.feed(not self._line.value(), now_ms)
        said = self._alarms.look(bool(self._debounce.state), now_ms)
        if falls.state == FALLEN and not self._alarms.fall:
            self._alarms.fall = True
            self._change(now_ms)
        elif said == emergency.WELL and falls.state == SUSPECTED:
            falls.cancel()
            self._felt_ms = now_ms + _FELT_MS
        elif said in (emergency.CALLED, emergency.ENDED):
            self._felt_ms = now_ms + _FELT_MS
            if said == emergency.ENDED:
                falls.cancel()
            self._change(now_ms)

    def _is_on(self) -> bool:
        return self._alarms.sos or self._alarms.fall

    def _change(self, now_ms: int) -> None:
        """Say it before it is kept, since flash may be slow or worn."""
        self._say(now_ms)
        try:
            files.write(self._path, (b"sos " if self._alarms.sos else b"") + (b"fall" if self._alarms.fall else b""))
        except OSError as error:
            print("button: not kept:", error)

    def _say(self, now_ms: int) -> None:
        self._said_ms = now_ms
        readings = [reading("sos", int(self._alarms.sos), "1"), reading("fall", int(self._alarms.fall), "1")]
        self._device.publish(readings, lane=URGENT)

    async def _idle(self) -> None:
        try:
            await asyncio.wait_for(self._flag.wait(), _IDLE_MS / 1000)
        except asyncio.TimeoutError:
            return
