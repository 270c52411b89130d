"""Which pack goes next: what is urgent before all else, and what is live before history. No I/O, no clock.

Whatever was found due before, and though the disk takes its time to read something: what is at hand passes what is not,
but never within an epoch, where order is kept.
"""

from collections.abc import Callable, Mapping

from protocols.custody import Header, Sender
from protocols.topics import LANES


class SendOrder:
    """The packs of one session, one after another. `senders` by lane."""

    def __init__(self, senders: Mapping[str, Sender]):
        self._senders = senders
        self._ready: dict[str, list[Header]] = {lane: [] for lane in LANES}  # bounded by the senders' windows

    def next(self, now_ms: int, at_hand: Callable[[str, Header], bool] | None = None) -> tuple[str, Header] | None:
        """Lane and header of the pack to send now, or None if there is none.

        at_hand: while the disk is reading a pack, whether another one needs no disk, nor follows that one in its epoch;
        None: it may be any.
        """
        for lane in LANES:  # in the order of their rank
            ready = self._found_due(lane, now_ms)
            passed_over: set[int] = set()
            for header in sorted(ready, key=lambda header: -header.epoch):  # the newest first; each in its order
                if header.epoch in passed_over:
                    continue
                if at_hand is None or at_hand(lane, header):
                    ready.remove(header)
                    return lane, header
                passed_over.add(header.epoch)
        return None

    def _found_due(self, lane: str, now_ms: int) -> list[Header]:
        """All of a lane, in order. Where its sender has gone back in an epoch, what was due of it before is void."""
        ready = self._ready[lane]
        if due := self._senders[lane].due(now_ms):
            begins: dict[int, int] = {}
            for header in due:
                begins.setdefault(header.epoch, header.first)
            ready[:] = [header for header in ready if header.seq < begins.get(header.epoch, header.seq + 1)] + due
        return ready

    def next_due_ms(self) -> int | None:
        """When one may be due again though nothing else happens, or None if nothing is under way."""
        times = [sender.next_due_ms() for sender in self._senders.values()]
        return min((time for time in times if time is not None), default=None)
