"""The gateway's report to the hub of what it holds: often while something waits, seldom while nothing does."""

import asyncio
import contextlib

from edge.backlog import Backlog
from protocols import topics
from protocols.deflated import deflate_large
from protocols.status import Status, encode
from protocols.topics import GATEWAY
from runtime.mqtt import Session

_LOOK_S = 5.0  # no two reports are closer, but for the first ones of a session
_IDLE_MS = 60_000
_WAITS_MS = 3_000  # a reading that is older is not just under way


class Report:
    """Keeps the hub told. `keep` serves one session."""

    def __init__(self, gateway: str, backlog: Backlog):
        self._topic = topics.status(GATEWAY, gateway)
        self._backlog = backlog
        self._hub_session = ""
        self._anew = asyncio.Event()  # set when the hub may have missed what it was told before

    def heard(self, hub_session: str) -> None:
        """The hub has said by what session it knows us; a new one has missed what came before it."""
        if hub_session != self._hub_session:
            self._hub_session = hub_session
            self._anew.set()

    async def keep(self, session: Session) -> None:
        """Report until cancelled."""
        self._anew.set()
        told: Status | None = None
        while True:
            past = self._anew.is_set()
            self._anew.clear()
            status = await self._backlog.status(past=past)
            if told is None or past or worth_telling(status, told):
                await session.publish(self._topic, deflate_large(encode(status)), retain=True)
                told = status
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._anew.wait()


def worth_telling(status: Status, told: Status) -> bool:
    """Whether the hub should hear of this status, having been told that one."""
    if status.time_ms - told.time_ms >= _IDLE_MS or status.time_ms < told.time_ms:
        return True
    return _waits(status) or _waits(told) or (status.lost, status.failure) != (told.lost, told.failure)


def _waits(status: Status) -> bool:
    times = [lane.oldest_ms for lane in status.lanes.values() if lane.oldest_ms is not None]
    return any(status.time_ms - time > _WAITS_MS for time in times)
