"""The program that makes notices of what the store says has happened, and sends them until they are taken.

It only reads the store; what it has made and sent is in people.db. Killed at any moment it goes on where it was.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from pathlib import Path

from hub.errors import SetupError, StoreError
from hub.notify import directory as directories
from hub.notify.directory import Directory
from hub.notify.errors import DeliveryError
from hub.notify.making import Draft, drafts, unheard
from hub.notify.outbox import Notice, Outbox
from hub.notify.sending import send
from hub.only_one import only_one
from hub.store.alarm_book import AlarmBook
from hub.store.events import Event, EventLog
from hub.store.writing import now_ms
from protocols.alarm import Identity

logger = logging.getLogger(__name__)

_LOOK_S = 0.25
_FAILED_S = 5.0
_EVENTS = 200  # at a time
_MOST = 32  # that are being sent at once
_FIRST_GAP_S = 2.0
_LAST_GAP_S = 300.0


def gap_s(tries: int) -> float:
    """How long to wait after so many tries: twice as long each time, and a random part of it less."""
    return min(_LAST_GAP_S, _FIRST_GAP_S * 2.0 ** min(tries, 20)) * random.uniform(0.5, 1)


class Notifier:
    """Follows one hub's events."""

    def __init__(self, data: Path):
        self._data = data
        self._log = EventLog(data)
        self._book = AlarmBook(data)
        self._outbox = Outbox(data)
        self._directory: Directory | None = None
        self._seen: object = ()
        self._usable = False  # whether the directory, or that there is none, is known
        self._sending: set[tuple[str, str]] = set()  # person, channel
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                wait_s = _LOOK_S
                try:
                    for notice in await asyncio.to_thread(self._look):
                        to = (notice.person, notice.channel)
                        if to not in self._sending and len(self._sending) < _MOST:
                            self._sending.add(to)
                            group.create_task(self._deliver(notice), name=f"notice-{notice.id}")
                except StoreError as error:
                    logger.error("nobody is told for now: %s", error)
                    wait_s = _FAILED_S
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()

    def _look(self) -> list[Notice]:
        """Make notices of what is new; those that are to be sent now."""
        self._renew()
        if not self._usable:
            return []
        while events := self._log.after(self._outbox.cursor(), _EVENTS):
            for event in events:
                made = [*self._drafts(event)]
                if made or event is events[-1]:
                    self._add(event, made)
        return self._outbox.due(now_ms()) if self._directory else []

    def _add(self, event: Event, made: list[Draft]) -> None:
        """That it lies back too far to be told is seen when they are to be sent."""
        heard_ms = event.id // 1000
        minutes = self._directory.give_up_minutes if self._directory else 0
        self._outbox.add(made, upto=event.id, now_ms=now_ms(), until_ms=heard_ms + minutes * 60_000)

    def _drafts(self, event: Event) -> Iterator[Draft]:
        said = event.content
        if self._directory is None or "rule" not in said:
            return
        key = Identity(said["rule"], said["thing"], said["onset_ms"])
        alarm = self._book.now(*key) or unheard(key)
        yield from drafts(
            event, self._directory, alarm, thing_name=self._book.name_of(alarm.thing), told=self._outbox.told(*key)
        )

    def _renew(self) -> None:
        """Take over notify.toml if it was changed; one that is wrong changes nothing, and the log says so."""
        if (signature := directories.signature(self._data)) == self._seen:
            return
        self._seen = signature
        try:
            self._directory = directories.load(self._data)
            self._usable = True
        except SetupError as error:
            kept = "is left as it was" if self._usable else "cannot be used, and nobody is told until it can"
            logger.error("who is told of alarms %s: %s", kept, error.reason)

    async def _deliver(self, notice: Notice) -> None:
        """Try once, and write down how that ended."""
        try:
            await self._try(notice)
        except StoreError as error:
            logger.error("notice %s: how it ended cannot be written, it is sent again: %s", notice.key, error)
            await asyncio.sleep(_FAILED_S)
        finally:
            self._sending.discard((notice.person, notice.channel))
            self._wake.set()

    async def _try(self, notice: Notice) -> None:
        directory = self._directory
        if directory is None:
            return
        final, reason = now_ms() > notice.until_ms, notice.reason or "too old when it could first be sent"
        if not final:
            try:
                await send(directory, notice.person, notice.channel, notice.key, notice.body, now_ms=now_ms())
            except DeliveryError as error:
                final, reason = error.final, error.reason
            else:
                await asyncio.to_thread(self._outbox.sent, notice.id, now_ms())
                return
        next_ms = now_ms() + round(gap_s(notice.tries) * 1000)
        if final or next_ms > notice.until_ms:
            logger.error("notice %s to %s by %s is given up: %s", notice.key, notice.person, notice.channel, reason)
            await asyncio.to_thread(self._outbox.given_up, notice.id, now_ms(), reason)
        else:
            logger.warning("notice %s to %s by %s: %s", notice.key, notice.person, notice.channel, reason)
            await asyncio.to_thread(self._outbox.failed, notice.id, next_ms=next_ms, reason=reason)


async def run(data: Path) -> None:
    """Serve until cancelled. Raises SetupError if another one does so already."""
    with only_one(data, "notify"):
        await Notifier(data).run()
