"""Firmware updates from the gateway, while the app runs: the trial of a new version, then offers and their parts.

The device sets the pace: it asks for one part after the other and keeps each before it asks for the next. A restart of
either side, or a lost message, costs one part.
"""

import asyncio

from firmware.core import trial
from firmware.errors import MqttError, UpdateError
from protocols import topics, update
from protocols.errors import DecodeError
from protocols.update import REFUSED, TRIAL, WANTS, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from firmware.core.ota import Updates
    from firmware.core.uplink import Uplink
    from protocols.update import Offer, Part

PART_BYTES = 512
_ANSWER_S = 5  # within which a part comes, else it is asked for again
_IDLE_S = 10  # between two words that this task lives
_TRIAL_S = 120  # within which a version on trial must pass its test in each of its starts


class Updating:
    """Takes updates, and confirms the version that runs once all of its `checks` (name -> whether it is well) hold.

    `birth` is the birth certificate's content: it tells board, app and version, whether it is on trial, and which
    version `failed`. `restart` starts the device anew.
    """

    def __init__(
        self,
        storage: str,
        uplink: "Uplink",
        *,
        device: str,
        birth: "dict[str, Any]",
        checks: "Mapping[str, Callable[[], bool]]",
        restart: "Callable[[], None]",
        on_alive: "Callable[[], None]" = lambda: None,
    ):
        self._storage = storage
        self._uplink = uplink
        self._birth = birth
        self._checks = checks
        self._restart = restart
        self._on_alive = on_alive
        self._topic = topics.update(topics.DEVICE, device)
        self._news = asyncio.Event()
        self._offer: "Offer | None" = None  # the newest, until it is taken up
        self._taking = 0
        self._part: "Part | None" = None
        self._tell_birth()
        uplink.listen(topics.offer(topics.DEVICE, device), self._take_offer)
        uplink.listen(topics.part(topics.DEVICE, device), self._take_part)

    async def run(self) -> None:
        """Pass the trial, if this is one, then take updates until cancelled. Raises UpdateError if it is not passed."""
        if trial.is_on(self._storage):
            await self._pass_trial()
        while True:
            offer = self._offer
            if offer is None:
                await self._wait(_IDLE_S)
                continue
            self._offer, self._taking = None, offer.id
            try:
                await self._take(offer)
            except UpdateError as error:
                print("updating:", error)
                await self._say(Step(offer.id, REFUSED, 0, 0, error.reason))
            self._taking = 0

    async def _pass_trial(self) -> None:
        left_s = _TRIAL_S
        while True:
            missing = [name for name in sorted(self._checks) if not self._checks[name]()]
            if not missing:
                break
            if not left_s:
                raise UpdateError(f"version {self._birth['version']} is on trial: no {', '.join(missing)}")
            left_s -= 1
            self._on_alive()
            await asyncio.sleep(1)
        trial.confirm(self._storage)
        self._tell_birth()
        print("updating: version", self._birth["version"], "is confirmed")
        try:
            await self._uplink.announce()
        except MqttError as error:
            print("updating:", error)  # the next connection announces it

    def _tell_birth(self) -> None:
        self._birth.update(trial.running(self._storage))
        for name, value in (("trial", trial.is_on(self._storage)), ("failed", trial.failed(self._storage))):
            self._birth.pop(name, None)
            if value:
                self._birth[name] = value

    async def _take(self, offer: "Offer") -> None:
        from firmware.core.ota import Updates  # noqa: PLC0415 - some 10 kB that are seldom needed

        updates = Updates(self._storage)
        updates.begin(offer)
        await self._collect(offer, updates)  # manifest and signature
        await self._through(updates.check())
        await self._collect(offer, updates)  # the patch
        await self._through(updates.finish())
        await self._say(Step(offer.id, TRIAL, 0, 0, ""))
        self._restart()

    async def _collect(self, offer: "Offer", updates: "Updates") -> None:
        while True:
            length = updates.wanted(PART_BYTES)
            if not length:
                return
            updates.write(updates.at, await self._fetch(offer, updates.at, length))

    async def _through(self, steps: "Iterator[None]") -> None:
        """Go through these steps, and let everything else have its turn between them."""
        for _ in steps:
            self._on_alive()
            await asyncio.sleep(0)

    async def _fetch(self, offer: "Offer", at: int, count: int) -> bytes:
        """Bytes of the image from a place, one at least. Asks until they come. Raises UpdateError."""
        while True:
            self._part = None
            await self._say(Step(offer.id, WANTS, at, count, ""))
            await self._wait(_ANSWER_S)
            if self._offer is not None:
                raise UpdateError("another one was offered")
            part = self._part
            if part is None or part.id != offer.id or part.at != at:
                continue
            if not part.data:
                raise UpdateError(f"truncated: it ends at {at} of {at + count} bytes and more")
            return part.data[:count]

    async def _wait(self, seconds: int) -> None:
        """For something from the gateway, or so many seconds."""
        self._on_alive()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except asyncio.TimeoutError:
            pass  # nothing has come
        self._news.clear()

    async def _say(self, step: Step) -> None:
        try:
            await self._uplink.publish(self._topic, update.encode_step(step))
        except MqttError as error:
            print("updating:", error)  # when the line is back, the gateway offers again

    def _take_offer(self, payload: bytes) -> None:
        try:
            offer = update.decode_offer(payload)
        except DecodeError as error:
            print("updating:", error)
            return
        if offer.id != self._taking:
            self._offer = offer
        self._news.set()  # also of the one that is being taken: the gateway is back, and is asked at once

    def _take_part(self, payload: bytes) -> None:
        try:
            self._part = update.decode_part(payload)
        except DecodeError as error:
            print("updating:", error)
            return
        self._news.set()
