"""The ledger's watch on what a gateway sends: nothing urgent waits behind bulk, or for long; no pack is left out."""

from typing import TYPE_CHECKING

from protocols.custody import Header, Sender
from protocols.topics import BULK, URGENT

if TYPE_CHECKING:
    from simulation.gateway import Gateway
    from simulation.ledger import Ledger

_MOST_MS = 2000


class Sending:
    """Of one life of a gateway."""

    def __init__(self, ledger: "Ledger", gateway: "Gateway"):
        self._ledger = ledger
        self._gateway = gateway
        self._up_ms: int | None = None
        self._could_ms: int | None = None  # since when something urgent may be sent without a break
        self._waiting: dict[tuple[int, int], int] = {}  # when each urgent pack was made that was not chosen yet
        self._history: dict[tuple[str, int], int] = {}  # of each lane and epoch up to which seq nobody listened
        self._unsaved = False  # whether something urgent was sent, since the disk had failed, that is not on it yet
        self._sent: dict[tuple[str, int], int] = {}  # in this session, of each lane and epoch the last seq

    def line_up(self, *, after_outage: bool) -> None:
        """Packs may be sent; after an outage what was given to the senders until now is history."""
        self._up_ms = self._ledger.world.now_ms
        self._sent = {}
        if after_outage:
            for lane, sender in self._gateway.outbox.senders.items():
                self._history[lane, sender._epochs[-1].epoch] = sender._epochs[-1].last

    def line_down(self) -> None:
        """None may."""
        self._up_ms = None

    def made(self, epoch: int, seq: int) -> None:
        """An urgent pack of what the gateway alone has heard."""
        self._waiting[epoch, seq] = self._ledger.world.now_ms

    def chosen(self, lane: str, header: Header) -> None:
        """A pack is about to be sent, or to be read from the disk for that."""
        if lane == URGENT:
            self._waiting.pop((header.epoch, header.seq), None)
        elif lane == BULK and _may_send(self._gateway.outbox.senders[URGENT]):
            self._ledger.violated("urgent", f"{self._gateway.name} sends bulk, though something urgent waits")

    def sent(self, lane: str, header: Header) -> None:
        """It is sent, or is not there any more."""
        if header.seq <= self._history.get((lane, header.epoch), 0) and not header.backfill:
            place = self._ledger.world.place(header)
            self._ledger.violated("history", f"{self._gateway.name} sends {lane} {place} as if it were current")
        before = max(self._sent.get((lane, header.epoch), 0), header.base - 1)
        if header.first > before + 1:
            place = self._ledger.world.place(header)
            self._ledger.violated("order", f"{self._gateway.name} sends {lane} {place} behind {before}")
        self._sent[lane, header.epoch] = max(before, header.seq)
        if lane == URGENT and not self._gateway.inventory.holds((lane, header.epoch, header.seq)):
            self._unsaved = True

    def saved(self) -> None:
        """Whatever was sent, and what is remembered with it, is on disk."""
        self._unsaved = False

    def halted(self) -> None:
        """The power is gone."""
        if self._unsaved:
            self._ledger.told.doubtful = True

    def check(self) -> None:
        """At each step."""
        if self._up_ms is None or not self._waiting:
            return
        now = self._ledger.world.now_ms
        if not _may_send(self._gateway.outbox.senders[URGENT]):
            self._could_ms = None
            return
        self._could_ms = now if self._could_ms is None else self._could_ms
        (epoch, seq), made_ms = next(iter(self._waiting.items()))
        if now - max(made_ms, self._up_ms, self._could_ms) > _MOST_MS:
            self._ledger.violated(
                "urgent", f"{self._gateway.name} has not sent {self._ledger.world.epoch(epoch)}/{seq}"
            )


def _may_send(sender: Sender) -> bool:
    """Whether one is due; by the sender's own state, since asking it would be sending."""
    live = sender._epochs[-1]
    if live.next <= live.last:
        return live.in_flight() < sender._narrow(sender._window)
    older = sender._epochs[:-1]
    room = sender._narrow(sender._backfill_window) - sum(outgoing.in_flight() for outgoing in older)
    return room > 0 and any(outgoing.next <= outgoing.last for outgoing in older)
