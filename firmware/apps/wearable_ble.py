"""The wearable without Wi-Fi: pulse and oxygen by a MAX30102, told by Bluetooth's own health services.

An app of its own, because the memory of a board does not hold both this and what it takes to reach a broker by TLS.
"""

import asyncio

from firmware.apps.battery import Battery
from firmware.apps.pulse import PulseMeter
from firmware.apps.spo2 import OxygenMeter
from firmware.core import crash
from firmware.core.bonds import Bonds
from firmware.core.clock import Clock
from firmware.core.gatt_server import GattServer
from firmware.core.health_services import HealthServices
from firmware.core.records import Records
from firmware.core.watchdog import TIMEOUT_MS, Watchdog
from firmware.drivers import max30102
from firmware.errors import DriverError
from protocols.reading import BAD_TIMEOUT, DecimalFraction, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.core.config import Config
    from firmware.hal import Port
    from protocols.reading import Reading

MODEL = "kerb-wearable-ble"
_MAKER = "Kerb"
_PERIOD_MS = 1000
_POLL_MS = 500  # an interrupt comes every 170 ms; without one the sensor is asked all the same
_RETRY_MS = 1000
_LIMIT_MS = 10000  # within which a task has to report
_PER_1024_S = 9765625  # 1/1024 s in 10^-10 s


class _Light:
    """Pulse and oxygen, started again after every failure."""

    def __init__(self, config: "Config", hal: "Port", on_alive: "Callable[[], None]"):
        self._on_alive = on_alive
        wiring = config.chip(max30102.CHIP)
        bus = config.bus(wiring["bus"])
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        i2c = hal.i2c(bus["bus"], bus["scl"], bus["sda"], bus["freq_hz"])
        self._chip = max30102.Max30102(i2c, address=wiring["address"])
        hal.digital_in(wiring["int_pin"], pull="up", on_edge=self._flag.set, edges="falling")
        self._begin()

    def _begin(self) -> None:
        self.working = False
        self.pulse = PulseMeter(samples_per_s=max30102.SAMPLES_PER_S)
        self.oxygen = OxygenMeter(self.pulse, samples_per_s=max30102.SAMPLES_PER_S)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._on_alive()
            try:
                self._chip.start()
                self.working = True
                while True:
                    await self._measure()
            except DriverError as error:
                print("light:", error)
            self._begin()
            await asyncio.sleep(_RETRY_MS / 1000)

    async def _measure(self) -> None:
        self._on_alive()
        try:
            await asyncio.wait_for(self._flag.wait(), _POLL_MS / 1000)
        except asyncio.TimeoutError:
            print("light: no interrupt")
        count, lost = self._chip.read()
        for place in range(count):
            self.pulse.feed(self._chip.infrared[place])
            self.oxygen.feed(self._chip.red[place])
        if lost:
            self.pulse.lost(lost)
            self.oxygen.lost()


class _Wearable:
    def __init__(self, config: "Config", hal: "Port"):
        storage = hal.storage()
        self._clock = Clock(hal)
        self._watchdog = Watchdog(hal.watchdog(TIMEOUT_MS), self._clock, lambda reason: crash.keep(storage, reason))
        self._light = _Light(config, hal, self._watchdog.watch("light", _LIMIT_MS))
        self._told = self._watchdog.watch("publisher", _LIMIT_MS)
        self._sure = 0
        battery = Battery(hal.analog_in(config.pin("battery", "analog")["pin"]))
        self._services = HealthServices(
            GattServer(hal.bluetooth(), Bonds(storage), name=config.device),
            self._clock,
            Records(hal.partition("records")),
            maker=_MAKER,
            model=MODEL,
            serial=config.device,
            battery=battery.percent,
        )

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        self._services.start()
        await asyncio.gather(self._light.run(), self._services.run(), self._tell(), self._watchdog.run())

    async def _tell(self) -> None:
        """Once a second. The seconds are counted from the start, so they do not drift."""
        due_ms = self._clock.monotonic_ms()
        while True:
            self._told()
            due_ms += _PERIOD_MS
            await asyncio.sleep(max(0, due_ms - self._clock.monotonic_ms()) / 1000)
            pulse = self._light.pulse
            fresh, self._sure = pulse.sure - self._sure, pulse.sure
            intervals = [DecimalFraction(each * _PER_1024_S, -10) for each in pulse.intervals_1024(max(0, fresh))]
            self._services.measured(self._readings(), intervals)

    def _readings(self) -> "list[Reading]":
        rate, saturation = self._light.pulse.rate(), self._light.oxygen.saturation()
        if not self._light.working:
            rate = saturation = (None, BAD_TIMEOUT)
        return [
            reading("heart_rate", rate[0], "/min", rate[1]),
            reading("oxygen_saturation", saturation[0], "%", saturation[1]),
        ]


def run(config: "Config", hal: "Port") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(_Wearable(config, hal).run())
