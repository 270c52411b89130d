"""Bugs of the kind that lose readings, store them twice or act twice, each as a small change of a real core.

Each is a name and what it puts in the place of what: the simulator must find it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge import outbox_tables
from edge.command_state import Act, CommandState, Start, Steps, Unfinished
from edge.errors import ActionFailed, ActionRefused
from edge.links.base import Origin
from edge.links.entrusted import Entrusted
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Batch
from edge.outbox_state import OutboxState
from edge.packing import Packing
from edge.uplink.send_order import SendOrder
from protocols.command import DONE, FAILED, REFUSED, STARTED, Request, Result
from protocols.custody import STORE, Header, Receiver, Release, Sender
from protocols.topics import BULK
from simulation.device import _Journal
from simulation.hub import Store

_FILE = "simulation.gateway.OutboxFile"
_STATE = "edge.outbox_state.OutboxState"
_SENDERS = ("edge.outbox_state.Sender", "firmware.core.handover.Sender")
_RECEIVERS = ("edge.links.entrusted.Receiver", "hub.intake.Receiver")


class AcknowledgesBeforeCommit(Entrusted):
    """The gateway tells a device "stored" when it has its pack in memory."""

    def offer(self, device: str, lane: str, header: Header, take: Any) -> str:
        verdict = super().offer(device, lane, header, take)
        if verdict == STORE:
            self.committed([Origin(device, lane, header.epoch, header.seq)])
        return verdict


class HubAcknowledgesWhatItCouldNotCommit(Receiver):
    """The hub goes on as if a failed commit had been none."""

    def rolled_back(self) -> None:
        """Forgotten."""


def _without_origins(batch: Batch) -> Batch:
    return replace(batch, rows=[replace(row, origins=()) for row in batch.rows])


class CursorOutsideTheTransaction(OutboxFile):
    """The packs first, then what they took over of devices."""

    def write(self, batch: Batch) -> Any:
        freed = super().write(_without_origins(batch))
        super().write(Batch(batch.rows, {}, {}))
        return freed


class CursorBeforeThePacks(OutboxFile):
    """The other way round."""

    def write(self, batch: Batch) -> Any:
        with self._transaction():
            outbox_tables.put_cursors(self._connection, [(o.sender, o.lane, o.epoch, o.seq) for o in batch.origins])
        return super().write(batch)


class TallyOutsideTheTransaction(OutboxFile):
    """The counts later than the packs that they are of."""

    def write(self, batch: Batch) -> Any:
        freed = super().write(replace(batch, tallies={}))
        super().write(Batch([], {}, batch.tallies))
        return freed


class HubCursorOutsideTheTransaction(Store):
    """The hub's cursor moves after the readings."""

    def _keep(self, gateway: str, lane: str, header: Header, body: Any) -> None:
        sender = self._cursors.setdefault((gateway, lane), {})
        before = dict(sender)
        super()._keep(gateway, lane, header, body)
        after = dict(sender)
        sender.clear()
        sender.update(before)
        self._node.act()
        sender.update(after)


class OffByOneAtTheEndOfAnEpoch(Sender):
    """An epoch is finished when its last pack has been sent."""

    def _drop_finished(self) -> None:
        self._epochs = [o for o in self._epochs[:-2] if o.base < o.last] + self._epochs[-2:]


class ReleasesOneTooMany(Sender):
    """The cursor is taken for the first one that is missing."""

    def cursor(self, session: str, stored: dict[int, int], now_ms: int) -> list[Release]:
        return super().cursor(session, {epoch: seq + 1 for epoch, seq in stored.items()}, now_ms)


class NeverSendsAgain(Sender):
    """What was lost on the way is not missed."""

    def due(self, now_ms: int) -> list[Header]:
        for outgoing in self._epochs:
            outgoing.progress_ms = now_ms
        return super().due(now_ms)


class ForgetsEpochs(Receiver):
    """After a restart a receiver knows nothing of what it has stored."""

    def restore(self, stored: dict[int, int]) -> None:
        """Forgotten."""


class StoresAhead(Receiver):
    """Whatever comes is stored, though something before it is missing."""

    def offer(self, header: Header) -> str:
        return super().offer(header._replace(first=min(header.first, self._accepted.get(header.epoch, 0) + 1)))


class BulkFirst(SendOrder):
    """What is urgent waits for what was due before."""

    def next(self, now_ms: int, at_hand: Any = None) -> tuple[str, Header] | None:
        ready = self._found_due(BULK, now_ms)
        return (BULK, ready.pop(0)) if ready else super().next(now_ms, at_hand)


class SendsEntrustedPacksBeforeTheirCommit(OutboxState):
    """As if the gateway alone had heard them."""

    def append(self, lane: str, body: Any, content: Any, origins: Sequence[Origin] = (), *, now_ms: int = 0) -> bool:
        more = super().append(lane, body, content, origins, now_ms=now_ms)
        for pack in self._waiting:
            if not pack.sent:
                self._send(pack)
                more = True
        return more


class LosesWhatAFailedCommitHeld(OutboxState):
    """A group that could not be written is not written with the next."""

    def failed(self, batch: Batch) -> None:
        self._committing = []


class GivesWayWithoutAGapRecord(OutboxFile):
    """What has no room is deleted, and that is all."""

    def evict(self) -> Any:
        evicted = super().evict()
        for lane, epoch, first, seq in evicted.runs:
            query = "DELETE FROM pack WHERE lane = ? AND epoch = ? AND first = ? AND seq = ?"
            self._connection.execute(query, (lane, epoch, first, seq))
        return evicted


class NumbersStreamsAnew(OutboxFile):
    """Aliases count on from what is on the disk, which may be an old image."""

    def _unused_alias(self) -> int:
        (last,) = self._connection.execute("SELECT coalesce(max(alias), 0) FROM stream").fetchone()
        return int(last) + 1


class JournalLetsGoOfWhatWasSent(_Journal):
    """The device deletes up to the pack that it has just sent."""

    def read(self, epoch: int, seq: int) -> tuple[bytes | None, int]:
        found = super().read(epoch, seq)
        self.release(epoch, seq - 1)
        return found


class ActsBeforeItIsOnRecord(CommandState):
    """The start of a command is put on disk when it has acted."""

    def _attempt(self, request: Request) -> Steps[Result]:
        result = yield from _act(request, self._clock())
        yield Start(request.key)
        return result


class RepeatsWhatWasBegun(CommandState):
    """What was under way when the power went is done again."""

    def recover(self) -> Steps[None]:
        self._begun: set[str] = set()
        for request, state in (yield Unfinished()):
            if state == STARTED:
                self._begun.add(request.key)
            yield from self._enqueue(request)

    def _attempt(self, request: Request) -> Steps[Result]:
        if request.key not in self._begun:
            yield Start(request.key)
        return (yield from _act(request, self._clock()))


class PacksForgetWhatIsLost(Packing):
    """A device's gap record is taken over, and not passed on."""

    def lose(self, lane: str, thing: str, count: int, now_ms: int, origin: Origin) -> None:
        super().put(lane, thing, [], origin)


def _act(request: Request, now_ms: int) -> Steps[Result]:
    try:
        found = yield Act(request)
    except ActionRefused as error:
        return Result(request.key, REFUSED, error.reason, None, now_ms)
    except ActionFailed as error:
        return Result(request.key, FAILED, error.reason, None, now_ms)
    return Result(request.key, DONE, "", found, now_ms)


def epoch_number_without_nonce(incarnation: int, count: int, nonce: int) -> int:
    """A restored storage counts on from where its image was."""
    return (incarnation << 20 | count) << 18


# name -> where which is put in the place of the real one
PLANTED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a device is answered before the commit": (AcknowledgesBeforeCommit, ("edge.links.entrusted.Entrusted",)),
    "the hub acknowledges what it could not commit": (HubAcknowledgesWhatItCouldNotCommit, ("hub.intake.Receiver",)),
    "the cursor is moved after the packs' transaction": (CursorOutsideTheTransaction, (_FILE,)),
    "the cursor is moved before the packs' transaction": (CursorBeforeThePacks, (_FILE,)),
    "the tally is written after the packs' transaction": (TallyOutsideTheTransaction, (_FILE,)),
    "the hub's cursor is moved after the readings": (HubCursorOutsideTheTransaction, ("simulation.hub.Store",)),
    "an epoch ends one pack too early": (OffByOneAtTheEndOfAnEpoch, _SENDERS),
    "a pack too many is released": (ReleasesOneTooMany, _SENDERS),
    "nothing is sent again": (NeverSendsAgain, _SENDERS),
    "a receiver forgets epochs at a restart": (ForgetsEpochs, _RECEIVERS),
    "a receiver stores what is ahead": (StoresAhead, _RECEIVERS),
    "bulk goes before urgent": (BulkFirst, ("edge.uplink.send_order.SendOrder",)),
    "entrusted packs are sent before their commit": (SendsEntrustedPacksBeforeTheirCommit, (_STATE,)),
    "a failed commit's packs are lost": (LosesWhatAFailedCommitHeld, (_STATE,)),
    "packs give way without a gap record": (GivesWayWithoutAGapRecord, (_FILE,)),
    "an alias is given again after a restore": (NumbersStreamsAnew, (_FILE,)),
    "an epoch's number is given again after a restore": (
        epoch_number_without_nonce,
        ("protocols.custody.epoch_number",),
    ),
    "a device deletes what it has sent": (JournalLetsGoOfWhatWasSent, ("simulation.device._Journal",)),
    "a device's gap record is not passed on": (PacksForgetWhatIsLost, ("edge.pipeline.Packing",)),
    "a command acts before that is on record": (ActsBeforeItIsOnRecord, ("edge.command_state.CommandState",)),
    "a command is repeated after a restart": (RepeatsWhatWasBegun, ("edge.command_state.CommandState",)),
}
