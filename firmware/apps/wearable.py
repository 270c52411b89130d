"""The wearable: heart rate by a MAX30102, one pack a second, custody to the gateway."""

import asyncio

from firmware import VERSION
from firmware.apps.pulse import PulseMeter
from firmware.core import crash
from firmware.core.clock import Clock, Epochs
from firmware.core.journal import Journal
from firmware.core.uplink import Uplink
from firmware.core.watchdog import TIMEOUT_MS, Watchdog
from firmware.drivers import max30102
from firmware.errors import DriverError, JournalError
from protocols.reading import BAD_TIMEOUT, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from firmware.core.config import Config

MODEL = "kerb-wearable"
_PERIOD_MS = 1000
_POLL_MS = 500  # an interrupt comes every 170 ms; without one the sensor is asked all the same
_RETRY_MS = 1000
_REPORT_S = 60
_LIMIT_MS = 10000  # within which a task has to report
_UPLINK_LIMIT_MS = 60000  # it may wait for a broker, several times


class _Sensor:
    """The pulse sensor as the app sees it: fed by interrupts, started again after every failure."""

    def __init__(self, config: "Config", hal: "Any", on_alive: "Callable[[], None]"):
        self._on_alive = on_alive
        wiring = config.chip(max30102.CHIP)
        bus = config.bus(wiring["bus"])
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        i2c = hal.i2c(bus["bus"], bus["scl"], bus["sda"], bus["freq_hz"])
        self._chip = max30102.Max30102(i2c, address=wiring["address"])
        hal.on_falling(wiring["int_pin"], self._flag.set)
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
    def __init__(self, config: "Config", hal: "Any"):
        self._clock = Clock(hal)
        self._storage = storage = hal.storage()
        self._watchdog = Watchdog(hal.watchdog(TIMEOUT_MS), self._clock, lambda reason: crash.keep(storage, reason))
        self._journal = Journal(hal.partition("journal"))
        self._birth = {"model": MODEL, "firmware": VERSION}
        if crash.kept(storage):
            self._birth["crash"] = crash.kept(storage)
        self._uplink = Uplink(
            config,
            self._clock,
            self._journal,
            Epochs(storage, hal),
            birth=self._birth,
            on_alive=self._watchdog.watch("uplink", _UPLINK_LIMIT_MS),
            on_announced=self._announced,
        )
        self._sensor = _Sensor(config, hal, self._watchdog.watch("sensor", _LIMIT_MS))
        self._published = self._watchdog.watch("publisher", _LIMIT_MS)
        self._packs = 0

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        await asyncio.gather(self._sensor.run(), self._uplink.run(), self._publish(), self._watchdog.run())

    def _announced(self) -> None:
        """The broker has the birth certificate, and with it why the device started anew."""
        if self._birth.pop("crash", None):
            crash.forget(self._storage)

    async def _publish(self) -> None:
        """One pack a second, whatever the line does. The seconds are counted from the start, so they do not drift."""
        due_ms = self._clock.monotonic_ms()
        while True:
            self._published()
            due_ms += _PERIOD_MS
            await asyncio.sleep(max(0, due_ms - self._clock.monotonic_ms()) / 1000)
            self._make_pack()
            if self._packs % _REPORT_S == 0:
                self._report()

    def _make_pack(self) -> None:
        unix_ms = self._clock.unix_ms()
        time_ms = self._clock.monotonic_ms() if unix_ms is None else unix_ms
        rate, quality, percent = None, BAD_TIMEOUT, 0
        if self._sensor.working:
            rate, quality = self._sensor.meter.rate()
            percent = self._sensor.meter.signal_quality()
        readings = [
            reading("heart_rate", rate, "/min", quality, time_ms),
            reading("signal_quality", percent, "%", time_ms=time_ms),
        ]
        self._packs += 1
        try:
            self._uplink.append(readings, wall_clock=unix_ms is not None)
        except JournalError as error:
            print("wearable:", error)

    def _report(self) -> None:
        print(
            f"wearable: {self._packs} packs, {self._uplink.refused} readings refused,"
            f" {self._journal.lost_readings} readings gave way, {self._sensor.lost_samples} samples lost,"
            f" journal {self._journal.size()} bytes"
        )


def run(config: "Config", hal: "Any") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(_Wearable(config, hal).run())
