"""Which pack goes next: one that is urgent before any other, whatever was found due before it. No I/O, no clock."""

from collections import deque
from collections.abc import Mapping

from protocols.custody import Header, Sender
from protocols.topics import LANES


class SendOrder:
    """The packs of one session, one after another. `senders` by lane."""

    def __init__(self, senders: Mapping[str, Sender]):
        self._senders = senders
        self._ready: dict[str, deque[Header]] = {lane: deque() for lane in LANES}  # bounded by the senders' windows

    def next(self, now_ms: int) -> tuple[str, Header] | None:
        """Lane and header of the pack to send now, or None if none is due."""
        for lane in LANES:  # in the order of their rank
            ready = self._ready[lane]
            if not ready:
                ready.extend(self._senders[lane].due(now_ms))
            if ready:
                return lane, ready.popleft()
        return None

    def next_due_ms(self) -> int | None:
        """When one may be due again though nothing else happens, or None if nothing is under way."""
        times = [sender.next_due_ms() for sender in self._senders.values()]
        return min((time for time in times if time is not None), default=None)
