"""The wearable: heart rate by a MAX30102, one pack a second, custody to the gateway."""

import asyncio

from firmware.apps.pulse import PulseMeter
from firmware.core.device import Device
from firmware.drivers import max30102
from firmware.errors import DriverError
from protocols.reading import BAD_TIMEOUT, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.core.config import Config
    from firmware.hal import Port

MODEL = "kerb-wearable"
_PERIOD_MS = 1000
_POLL_MS = 500  # an interrupt comes every 170 ms; without one the sensor is asked all the same
_RETRY_MS = 1000


class _Sensor:
    """The pulse sensor as the app sees it: fed by interrupts, started again after every failure."""

    def __init__(self, device: "Device"):
        self._on_alive = device.watch("sensor")
        wiring = device.config.chip(max30102.CHIP)
        bus = device.config.bus(wiring["bus"])
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        i2c = device.hal.i2c(bus["bus"], bus["scl"], bus["sda"], bus["freq_hz"])
        self._chip = max30102.Max30102(i2c, address=wiring["address"])
        device.hal.digital_in(wiring["int_pin"], pull="up", on_edge=self._flag.set, edges="falling")
        self.meter = PulseMeter(samples_per_s=max30102.SAMPLES_PER_S)
        self.working = False
        self.lost_samples = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._on_alive()
            try:
                self._chip.start()
                self.working = True
                await self._measure()
            except DriverError as error:
                print("sensor:", error)
            self.working = False
            self.meter = PulseMeter(samples_per_s=max30102.SAMPLES_PER_S)
            await asyncio.sleep(_RETRY_MS / 1000)

    async def _measure(self) -> None:
        while True:
            self._on_alive()
            try:
                await asyncio.wait_for(self._flag.wait(), _POLL_MS / 1000)
            except asyncio.TimeoutError:
                print("sensor: no interrupt")
            count, lost = self._chip.read()
            for place in range(count):
                self.meter.feed(self._chip.infrared[place])
            if lost:
                self.lost_samples += lost
                self.meter.lost(lost)


class _Wearable:
    def __init__(self, device: "Device"):
        self._device = device
        self._sensor = _Sensor(device)
        device.check("sensor", lambda: self._sensor.working)
        self._published = device.watch("publisher")

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        await self._device.run(
            self._sensor.run(), self._publish(), figures=lambda: f", {self._sensor.lost_samples} samples lost"
        )

    async def _publish(self) -> None:
        """One pack a second, whatever the line does. The seconds are counted from the start, so they do not drift."""
        clock = self._device.clock
        due_ms = clock.monotonic_ms()
        while True:
            self._published()
            due_ms += _PERIOD_MS
            await asyncio.sleep(max(0, due_ms - clock.monotonic_ms()) / 1000)
            self._make_pack()

    def _make_pack(self) -> None:
        rate, quality, percent = None, BAD_TIMEOUT, 0
        if self._sensor.working:
            rate, quality = self._sensor.meter.rate()
            percent = self._sensor.meter.signal_quality()
        self._device.publish(
            [reading("heart_rate", rate, "/min", quality), reading("signal_quality", percent, "%")],
        )


def run(config: "Config", hal: "Port") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(_Wearable(Device(config, hal, model=MODEL)).run())
