"""Has done what people want done about alarms: the hub's own at once, those of gateways by commands."""

import logging
from typing import Protocol

from hub.deeds import ACKNOWLEDGE, DONE, Deed, Deeds
from protocols import topics
from protocols.command import EXPIRED, REFUSED, Request, Result, encode_request

logger = logging.getLogger(__name__)

_PREFIX = "deed-"
_TARGET = "alarms"  # what a gateway's alarms are called in commands
_EXPIRES_MS = 3_600_000
_AGAIN_MS = 5000


class AlarmStore(Protocol):
    """What is needed of the store's writing side."""

    def origin_of_alarm(self, rule: str, thing: str, onset_ms: int) -> str | None: ...
    def act_on_alarm(self, deed: Deed) -> bool: ...


class DeedWork:
    """The deeds that are queued. All calls come from one thread at a time, between transactions."""

    def __init__(self, deeds: Deeds, store: AlarmStore):
        self._deeds = deeds
        self._store = store
        self._sent_ms: dict[int, int] = {}  # when a deed was last sent to its gateway

    def due(self, now_ms: int) -> list[tuple[str, bytes]]:
        """Do what can be done here. The commands to publish now: topic and payload."""
        commands = []
        queued = self._deeds.queued()
        self._sent_ms = {deed.id: self._sent_ms[deed.id] for deed in queued if deed.id in self._sent_ms}
        for deed in queued:
            origin = self._store.origin_of_alarm(deed.rule, deed.thing, deed.onset_ms)
            if now_ms - deed.time_ms > _EXPIRES_MS:
                self._deeds.end(deed.id, EXPIRED, "nobody did it within an hour")
            elif origin is None:
                self._deeds.end(deed.id, REFUSED, "there is no such alarm")
            elif not origin:
                if self._store.act_on_alarm(deed):
                    self._deeds.end(deed.id, DONE)
            elif now_ms - self._sent_ms.get(deed.id, 0) > _AGAIN_MS:
                self._sent_ms[deed.id] = now_ms
                commands.append((topics.command(topics.GATEWAY, origin), encode_request(_request(deed))))
        return commands

    def result(self, result: Result) -> None:
        """A gateway says how a command ended; it may be none of ours."""
        number = result.key.removeprefix(_PREFIX)
        if result.key.startswith(_PREFIX) and number.isdigit():
            self._deeds.end(int(number), result.state, result.reason)


def _request(deed: Deed) -> Request:
    number = deed.onset_ms if deed.what == ACKNOWLEDGE else deed.seconds
    value = f"{deed.thing}/{deed.rule}/{number}/{deed.who}"
    return Request(f"{_PREFIX}{deed.id}", _TARGET, deed.what, value, deed.time_ms + _EXPIRES_MS)
