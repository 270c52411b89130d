"""The sensors on a body, each a task that starts its chip again after every failure, and what it feeds."""

import asyncio

from firmware.apps.falls import FallDetector
from firmware.apps.pulse import PulseMeter
from firmware.apps.skin import SkinThermometer
from firmware.apps.spo2 import OxygenMeter
from firmware.apps.steps import StepCounter
from firmware.drivers import max30102, max30205, mpu6050
from firmware.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from firmware.core.device import Device

_RETRY_MS = 1000
_PULSE_POLL_MS = 500  # an interrupt comes every 170 ms; without one the sensor is asked all the same
_MOTION_POLL_MS = 200  # ten samples
_SKIN_POLL_MS = 1000


class _Sensor:
    """One chip. `working`: it answers. `lost`: samples, or at least one for each time that some were."""

    def __init__(self, device: "Device", task: str):
        self._on_alive = device.watch(task)
        self._task = task
        self.working = False
        self.lost = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._on_alive()
            try:
                self._start()
                self.working = True
                while True:
                    self._on_alive()
                    await self._measure()
            except DriverError as error:
                print(self._task + ":", error)
            self.working = False
            self._forget()
            await asyncio.sleep(_RETRY_MS / 1000)

    def _start(self) -> None:
        """Set the chip. Raises DriverError."""

    async def _measure(self) -> None:
        """Wait for what the chip has next and take it. Raises DriverError."""

    def _forget(self) -> None:
        """What comes next does not follow what was before."""


class Light(_Sensor):
    """Pulse and oxygen by a MAX30102, fed by its interrupts."""

    def __init__(self, device: "Device", buses: "Callable[[int], Any]"):
        super().__init__(device, "light")
        wiring = device.config.chip(max30102.CHIP)
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        self._chip = max30102.Max30102(buses(wiring["bus"]), address=wiring["address"])
        device.hal.digital_in(wiring["int_pin"], pull="up", on_edge=self._flag.set, edges="falling")
        self._forget()

    @property
    def is_worn(self) -> bool:
        """Whether skin is seen; a sensor that does not answer is believed to be worn, lest no fall is told."""
        return self.pulse.is_worn or not self.working

    def _forget(self) -> None:
        self.pulse = PulseMeter(samples_per_s=max30102.SAMPLES_PER_S)
        self.oxygen = OxygenMeter(self.pulse, samples_per_s=max30102.SAMPLES_PER_S)

    def _start(self) -> None:
        self._chip.start()

    async def _measure(self) -> None:
        try:
            await asyncio.wait_for(self._flag.wait(), _PULSE_POLL_MS / 1000)
        except asyncio.TimeoutError:
            print("light: no interrupt")
        count, lost = self._chip.read()
        for place in range(count):
            self.pulse.feed(self._chip.infrared[place])
            self.oxygen.feed(self._chip.red[place])
        if lost:
            self.lost += lost
            self.pulse.lost(lost)
            self.oxygen.lost()


class Motion(_Sensor):
    """Steps and falls by an MPU-6050, whose FIFO loses nothing. `on_change`: the detector's state is another."""

    def __init__(
        self,
        device: "Device",
        buses: "Callable[[int], Any]",
        is_worn: "Callable[[], bool]",
        on_change: "Callable[[], None]",
    ):
        super().__init__(device, "motion")
        wiring = device.config.chip(mpu6050.CHIP)
        self._chip = mpu6050.Mpu6050(buses(wiring["bus"]), address=wiring["address"])
        self._is_worn = is_worn
        self._on_change = on_change
        self.steps = StepCounter(samples_per_s=mpu6050.SAMPLES_PER_S)
        self.falls = FallDetector(samples_per_s=mpu6050.SAMPLES_PER_S)

    def _start(self) -> None:
        self._chip.start()
        self._chip.collect()

    def _forget(self) -> None:
        self.steps.lost()
        self.falls.lost()

    async def _measure(self) -> None:
        await asyncio.sleep(_MOTION_POLL_MS / 1000)
        count, lost = self._chip.read()
        if lost:
            self.lost += 1
            self._forget()
        worn = self._is_worn()
        samples = self._chip.samples_mg
        for place in range(0, 3 * count, 3):
            x, y, z = samples[place], samples[place + 1], samples[place + 2]
            self.steps.feed(x, y, z)
            if self.falls.feed((x, y, z), worn=worn):
                self._on_change()


class Skin(_Sensor):
    """Skin temperature by a MAX30205."""

    def __init__(self, device: "Device", buses: "Callable[[int], Any]", is_worn: "Callable[[], bool]"):
        super().__init__(device, "skin")
        wiring = device.config.chip(max30205.CHIP)
        self._clock = device.clock
        self._chip = max30205.Max30205(buses(wiring["bus"]), address=wiring["address"])
        self._is_worn = is_worn
        self._forget()

    def _forget(self) -> None:
        self.thermometer = SkinThermometer()

    def _start(self) -> None:
        self._chip.start()

    async def _measure(self) -> None:
        await asyncio.sleep(_SKIN_POLL_MS / 1000)
        self.thermometer.feed(self._chip.temperature_mc(), self._clock.monotonic_ms(), worn=self._is_worn())
