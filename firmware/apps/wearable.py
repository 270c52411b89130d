"""The wearable: heart rate, oxygen, skin temperature, steps; falls and the SOS button. Custody to the gateway."""

import asyncio

from firmware.apps.alarm_button import AlarmButton
from firmware.apps.body import Light, Motion, Skin
from firmware.core.device import Device
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, GOOD, STALE, UNCERTAIN, DecimalFraction, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.core.config import Config
    from firmware.hal import Port
    from protocols.reading import Reading

MODEL = "kerb-wearable"
_PERIOD_MS = 1000
_ALL_EACH = 10  # packs: the slow values are sent with every tenth
_FAST = 2  # heart rate and its quality
_PER_1024_S = 9765625  # 1/1024 s in units of 10^-10 s


class _Wearable:
    """`measured`: the readings of the last second; `intervals_s`: those between beats that came in it."""

    def __init__(self, device: "Device"):
        self._device = device
        self._i2c: "dict[int, Any]" = {}
        self._button = AlarmButton(device)
        self._light = Light(device, self._bus)
        self._motion = Motion(device, self._bus, lambda: self._light.is_worn, self._button.wake)
        self._skin = Skin(device, self._bus, lambda: self._light.is_worn)
        self._sensors = (self._light, self._motion, self._skin)
        device.check("sensors", lambda: all(sensor.working for sensor in self._sensors))
        self._published = device.watch("publisher")
        self._sure = 0
        self.measured: "list[Reading]" = []
        self.intervals_s: "list[DecimalFraction]" = []

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        tasks = [sensor.run() for sensor in self._sensors]
        tasks += [self._button.run(self._motion.falls), self._publish()]
        await self._device.run(*tasks, figures=lambda: f", {sum(sensor.lost for sensor in self._sensors)} samples lost")

    def _bus(self, number: int) -> "Any":
        """The bus of this number, which several chips share."""
        if number not in self._i2c:
            bus = self._device.config.bus(number)
            self._i2c[number] = self._device.hal.i2c(number, bus["scl"], bus["sda"], bus["freq_hz"])
        return self._i2c[number]

    async def _publish(self) -> None:
        """One pack a second, whatever the line does. The seconds are counted from the start, so they do not drift."""
        clock = self._device.clock
        due_ms = clock.monotonic_ms()
        packs = 0
        while True:
            self._published()
            due_ms += _PERIOD_MS
            await asyncio.sleep(max(0, due_ms - clock.monotonic_ms()) / 1000)
            self._measure()
            self._device.publish(self.measured if packs % _ALL_EACH == 0 else self.measured[:_FAST])
            packs += 1

    def _measure(self) -> None:
        """What is so now. An arm that walks shakes the light in the rhythm of its steps: no rate is good then."""
        pulse, oxygen = self._light.pulse, self._light.oxygen
        self.measured = self._of_light(pulse.rate(), oxygen.saturation(), pulse.signal_quality())
        amplitude = oxygen.perfusion() if self._light.working else None
        quality = BAD_INVALID if amplitude is None else GOOD
        self.measured.append(reading("pulse_amplitude_index", amplitude, "%", quality))
        warmth, quality = self._skin.thermometer.temperature() if self._skin.working else (None, BAD_TIMEOUT)
        self.measured.append(reading("skin_temperature", warmth, "Cel", quality))
        self.measured.append(reading("steps", self._motion.steps.steps, "1", GOOD if self._motion.working else STALE))
        fresh, self._sure = pulse.sure - self._sure, pulse.sure
        self.intervals_s = [DecimalFraction(each * _PER_1024_S, -10) for each in pulse.intervals_1024(max(0, fresh))]

    def _of_light(
        self,
        rate: "tuple[DecimalFraction | None, int]",
        saturation: "tuple[DecimalFraction | None, int]",
        percent: int,
    ) -> "list[Reading]":
        if not self._light.working:
            rate = saturation = (None, BAD_TIMEOUT)
            percent = 0
        worst = UNCERTAIN if self._motion.steps.is_walking else GOOD
        return [
            reading("heart_rate", rate[0], "/min", max(rate[1], worst)),
            reading("signal_quality", percent, "%"),
            reading("oxygen_saturation", saturation[0], "%", max(saturation[1], worst)),
        ]


def run(config: "Config", hal: "Port") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(_Wearable(Device(config, hal, model=MODEL)).run())
