"""What every app stands on: clock, journal, custody to the gateway, watchdog, and the birth certificate."""

import asyncio

from firmware import VERSION
from firmware.core import crash
from firmware.core.clock import Clock
from firmware.core.epochs import Epochs
from firmware.core.journal import Journal
from firmware.core.updating import Updating
from firmware.core.uplink import Uplink
from firmware.core.watchdog import TIMEOUT_MS, Watchdog
from firmware.errors import JournalError
from protocols.reading import Reading
from protocols.topics import BULK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from firmware.core.config import Config
    from firmware.hal import Port

_REPORT_S = 60
_LOOK_S = 5
_LIMIT_MS = 10000  # within which a task has to report
_UPLINK_LIMIT_MS = 60000  # it may wait for a broker, several times


class Device:
    """The device that an app makes of its board. `model`: its file under hardware/devices."""

    def __init__(self, config: "Config", hal: "Port", *, model: str):
        self.config = config
        self.hal = hal
        self.clock = Clock(hal)
        self.packs = 0
        self._storage = storage = hal.storage()
        self._watchdog = Watchdog(hal.watchdog(TIMEOUT_MS), self.clock, lambda reason: crash.keep(storage, reason))
        self._journal = Journal(hal.partition("journal"))
        self._urgent = Journal(hal.partition("urgent"))
        self._birth = {"model": model, "firmware": VERSION}
        if crash.kept(storage):
            self._birth["crash"] = crash.kept(storage)
        self._uplink = Uplink(
            config,
            self.clock,
            self._journal,
            Epochs(storage, hal),
            urgent=self._urgent,
            storage=storage,
            birth=self._birth,
            on_alive=self.watch("uplink", _UPLINK_LIMIT_MS),
            on_announced=self._announced,
        )
        self._checks: "dict[str, Callable[[], bool]]" = {
            "broker": lambda: self._uplink.online,
            "journal": lambda: self.packs > 0 and not self._uplink.refused,
        }
        self._updating = Updating(
            storage,
            self._uplink,
            device=config.device,
            birth=self._birth,
            checks=self._checks,
            restart=hal.restart,
            on_alive=self.watch("updating", _UPLINK_LIMIT_MS),
        )

    def check(self, name: str, well: "Callable[[], bool]") -> None:
        """A new version of the firmware is confirmed only once this holds too, beside broker and journal."""
        self._checks[name] = well

    def watch(self, task: str, limit_ms: int = _LIMIT_MS) -> "Callable[[], None]":
        """From now on this task must report within so many milliseconds, by calling what is returned."""
        return self._watchdog.watch(task, limit_ms)

    def publish(self, readings: "Sequence[Reading]", *, lane: str = BULK) -> None:
        """Take readings of this moment into custody as one pack, to be sent when the line allows; URGENT ones first.

        What the flash refuses is declared lost as soon as it takes a record again.
        """
        try:
            self.keep(readings, lane=lane)
        except JournalError as error:
            print("device:", error)

    def keep(self, readings: "Sequence[Reading]", *, lane: str = BULK) -> None:
        """As `publish`, for what must not be lost: raises JournalError if the flash refuses it."""
        unix_ms = self.clock.unix_ms()
        now_ms = self.clock.monotonic_ms() if unix_ms is None else unix_ms
        timed = [Reading(each.metric, each.value, each.unit, each.quality, now_ms) for each in readings]
        self.packs += 1
        self._uplink.append(timed, wall_clock=unix_ms is not None, lane=lane)

    def listen(self, topic: str, take: "Callable[[bytes], None]") -> None:
        """Have each message of this topic given to `take`, which must not block. To be called before `run`."""
        self._uplink.listen(topic, take)

    async def send(self, topic: str, payload: bytes) -> None:
        """Publish a message beside the packs. Raises MqttError, also when there is no connection now."""
        await self._uplink.publish(topic, payload)

    async def run(self, *tasks: "Coroutine[Any, Any, None]", figures: "Callable[[], str]" = lambda: "") -> None:
        """Run the app's tasks with those that every device has, until one fails; then the device starts anew.

        `figures`: what the app adds to the report that is printed each minute.
        """
        ours = (self._uplink.run(), self._updating.run(), self._watchdog.run(), self._report(figures))
        await asyncio.gather(*ours, *tasks)

    def _announced(self) -> None:
        """The broker has the birth certificate, and with it why the device started anew."""
        if self._birth.pop("crash", None):
            crash.forget(self._storage)

    async def _report(self, figures: "Callable[[], str]") -> None:
        alive = self.watch("report")
        while True:
            for _ in range(_REPORT_S // _LOOK_S):
                alive()
                await asyncio.sleep(_LOOK_S)
            gave_way = self._journal.lost_readings + self._urgent.lost_readings
            print(
                f"{self.config.app}: {self.packs} packs, {self._uplink.refused} readings refused,"
                f" {gave_way} readings gave way, journal {self._journal.size()} bytes{figures()}"
            )
