"""Custody: who holds a pack, and when the holder may let go of it. Pure state machines, the same at every hop.

A Sender numbers its packs 1, 2, 3 ... within an epoch and keeps each one until the Receiver's cursor has passed it. A
Receiver stores packs of an epoch in order, each once, and says "stored up to seq N" only after its commit. Neither does
any I/O nor reads a clock: events come in as calls, times as arguments, and what to do comes back.

An epoch is one unbroken numbering. Its number is made by `epoch_number` from the sender's incarnation (random, made
with its storage), a counter kept there, and a nonce (random each time): so a sender with fresh storage is never taken
for its predecessor, nor one whose storage was restored from an old image for what it has been since.
"""

from collections import namedtuple

from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    class Header(NamedTuple):
        """What a pack says of itself to the receiver; it stands first in the message.

        epoch, seq: the pack's identity (with sender and lane). base: everything below it in this epoch has been
        acknowledged. oldest: every older epoch of this incarnation has been acknowledged whole. backfill: the pack's
        epoch is not the sender's newest, or nobody listened when it was made: its readings are history and pose as no
        current value. first: less than
        seq in a gap record alone, which takes the place of the packs first..seq.
        """

        epoch: int
        seq: int
        base: int
        oldest: int
        backfill: bool
        first: int

    class Release(NamedTuple):
        """The packs of this epoch up to and including this seq are stored by the receiver: delete them."""

        epoch: int
        upto: int

else:
    Header = namedtuple("Header", ("epoch", "seq", "base", "oldest", "backfill", "first"))
    Release = namedtuple("Release", ("epoch", "upto"))

INCARNATION_BITS = 24
COUNTER_BITS = 20
NONCE_BITS = 18
MAX_EPOCH = 1 << 62
_UNHEARD_EPOCHS = 32
_MOST_NARROWED = 4

_MAX_SEQ = 1 << 53

# What a receiver does with an offered pack. Each is answered with the cursor, STORE only after the commit.
STORE = "store"
DUPLICATE = "duplicate"  # stored already; the sender has not heard of it
AHEAD = "ahead"  # a pack before it is missing; the sender will send from there


def epoch_number(incarnation: int, count: int, nonce: int) -> int:
    """The number of the `count`-th epoch of a storage's incarnation, below 2^62; later ones are greater.

    incarnation and count are positive; the nonce is drawn anew for every epoch. Raises ProtocolError beyond
    INCARNATION_BITS, COUNTER_BITS and NONCE_BITS.
    """
    if not (0 < incarnation < 1 << INCARNATION_BITS and 0 < count < 1 << COUNTER_BITS and 0 <= nonce < 1 << NONCE_BITS):
        raise ProtocolError(f"no epoch number for incarnation {incarnation}, count {count}, nonce {nonce}")
    return (incarnation << COUNTER_BITS | count) << NONCE_BITS | nonce


def incarnation_of(epoch: int) -> int:
    """The incarnation of the storage that an epoch's number was made from."""
    return epoch >> COUNTER_BITS + NONCE_BITS


def count_of(epoch: int) -> int:
    """Which epoch of its storage's incarnation it is."""
    return epoch >> NONCE_BITS & (1 << COUNTER_BITS) - 1


def header_problem(epoch: object, seq: object, base: object, oldest: object, first: object) -> str:
    """What is wrong with a header that came from outside; empty if nothing is."""
    limits = (
        ("epoch", epoch, MAX_EPOCH),
        ("seq", seq, _MAX_SEQ),
        ("base", base, _MAX_SEQ),
        ("oldest", oldest, MAX_EPOCH),
        ("first", first, _MAX_SEQ),
    )
    for name, number, limit in limits:
        if not isinstance(number, int) or number is True or not 0 < number < limit:
            return f"{name} is missing or out of range"
    for name, number in (("base", base), ("first", first)):
        if number > seq:  # type: ignore[operator]
            return f"{name} {number} is beyond seq {seq}"
    return ""


class _Outgoing:
    """One epoch as its sender sees it: packs base..last are held, those below `next` are under way.

    gaps: runs (first, last) of packs in whose place a single gap record is held, in order.
    """

    def __init__(self, epoch: int, base: int, last: int, gaps: "list[tuple[int, int]]"):
        self.epoch = epoch
        self.base = base
        self.next = base
        self.last = last
        self.gaps = gaps
        self.history = 0  # up to this seq they are backfill, though the epoch may be the newest
        self.progress_ms = 0

    def rewind(self) -> None:
        self.next = self.base

    def in_flight(self) -> int:
        return self.next - self.base

    def held_at(self, seq: int) -> tuple[int, int]:
        """(first, last) of what is held in the place of this pack: a gap record's run, or the pack itself."""
        for first, last in self.gaps:
            if first <= seq <= last:
                return first, last
        return seq, seq


class Sender:
    """The holder of one lane's packs, on a device over its journal or in a gateway over its outbox.

    At most `window` packs of the newest epoch are under way unacknowledged, and `backfill_window` of all older ones
    together; without progress for `resend_ms` an epoch is sent again from its first unacknowledged pack. Each time that
    happens both windows are halved, and as packs get through they widen again: a receiver that cannot keep up must not
    be buried under what it has been sent already.
    """

    def __init__(self, *, window: int = 64, backfill_window: int = 32, resend_ms: int = 3000):
        self._window = window
        self._backfill_window = backfill_window
        self._resend_ms = resend_ms
        self._epochs: list[_Outgoing] = []  # in the order of their opening; the last one is live
        self._narrowed = 0  # how often the windows are halved
        self._passed = 0  # packs that have got through since that was last so
        self._online = False
        self._session: str | None = None

    def restore(self, epoch: int, acked: int, last: int, gaps: "Sequence[tuple[int, int]]" = ()) -> None:
        """An epoch found in storage at start, oldest first: acknowledged up to `acked`, held up to `last`.

        gaps: runs of packs (first, last) that have given way to a single gap record each.
        """
        if last > acked:
            self._epochs.append(_Outgoing(epoch, acked + 1, last, sorted(gaps)))

    def open(self, epoch: int) -> None:
        """From now on packs are appended to this new epoch; those of the former ones become backfill."""
        self._epochs.append(_Outgoing(epoch, 1, 0, []))
        self._drop_finished()

    def appended(self, epoch: int, seq: int, first: int = 0) -> None:
        """The pack is held and may be sent: the next one of the newest epoch, or a last one of the epoch before it.

        first: where it is a gap record in the place of first..seq. Raises ProtocolError if it is neither.
        """
        for outgoing in self._epochs[-2:]:
            if outgoing.epoch == epoch and outgoing.last + 1 == (first or seq):
                outgoing.last = seq
                if 0 < first < seq:
                    outgoing.gaps.append((first, seq))
                return
        raise ProtocolError(f"pack {epoch}/{seq} follows none of the packs held")

    def merged(self, epoch: int, first: int, last: int) -> None:
        """The packs first..last, which are held, have given way to a single gap record."""
        for outgoing in self._epochs:
            if outgoing.epoch == epoch:
                apart = [gap for gap in outgoing.gaps if gap[1] < first or gap[0] > last]
                outgoing.gaps = sorted(apart + [(first, last)])

    def held_is_history(self) -> None:
        """Nobody has listened for a while: what is held by now is backfill, that of the newest epoch, too."""
        if self._epochs:
            self._epochs[-1].history = self._epochs[-1].last

    def connected(self) -> None:
        """The line is up: whatever was under way before is sent again."""
        self._online = True
        for outgoing in self._epochs:
            outgoing.rewind()

    def disconnected(self) -> None:
        """The line is down: nothing is due until it is up again."""
        self._online = False

    def cursor(self, session: str, stored: dict[int, int], now_ms: int) -> "list[Release]":
        """The receiver's cursor: per open epoch the highest seq stored. Returns what may be deleted.

        A changed `session` means that the receiver has started anew and has lost what was under way to it; what was
        sent before its first word may have met nobody.
        """
        if self._session != session:
            for outgoing in self._epochs:
                outgoing.rewind()
        self._session = session
        releases = []
        for outgoing in self._epochs:
            # A crash can have kept the tail of an epoch from our storage after it had reached the receiver.
            upto = min(stored.get(outgoing.epoch, 0), outgoing.last)
            if upto >= outgoing.base:
                self._passed += upto + 1 - outgoing.base
                outgoing.base = upto + 1
                outgoing.next = max(outgoing.next, outgoing.base)
                outgoing.progress_ms = now_ms
                outgoing.gaps = [gap for gap in outgoing.gaps if gap[1] > upto]
                releases.append(Release(outgoing.epoch, upto))
        if self._narrowed and self._passed >= self._narrow(self._window):
            self._narrowed -= 1
            self._passed = 0
        self._drop_finished()
        return releases

    def due(self, now_ms: int, *, most: int = _MAX_SEQ) -> "list[Header]":
        """The packs to send now, as headers, in this order, at most so many; they count as under way from here on."""
        if not self._online or not self._epochs:
            return []
        self._rewind_stalled(now_ms)
        live = self._epochs[-1]
        room = min(most, self._narrow(self._window) - live.in_flight())
        headers = self._send(live, room, now_ms, backfill=False)
        if live.next <= live.last:
            return headers  # the window is full: what bandwidth there is belongs to the live packs
        under_way = sum(outgoing.in_flight() for outgoing in self._epochs[:-1])
        room = min(most - len(headers), self._narrow(self._backfill_window) - under_way)
        for outgoing in self._epochs[:-1]:
            sent = self._send(outgoing, room, now_ms, backfill=True)
            room -= len(sent)
            headers.extend(sent)
        return headers

    def ready(self) -> bool:
        """Whether the next pack of the newest epoch would be due as soon as it is appended."""
        if not self._online or not self._epochs:
            return False
        live = self._epochs[-1]
        return live.next > live.last and live.in_flight() < self._narrow(self._window)

    def _rewind_stalled(self, now_ms: int) -> None:
        stalled = [
            outgoing
            for outgoing in self._epochs
            if outgoing.in_flight() and now_ms - outgoing.progress_ms >= self._resend_ms
        ]
        for outgoing in stalled:
            outgoing.rewind()
        if stalled:
            self._narrowed = min(self._narrowed + 1, _MOST_NARROWED)
            self._passed = 0

    def _narrow(self, window: int) -> int:
        return max(1, window >> self._narrowed)

    def open_epochs(self) -> "list[int]":
        """The epochs of which something is held or may yet be, the newest last."""
        return [outgoing.epoch for outgoing in self._epochs]

    def next_due_ms(self) -> int | None:
        """When `due` has something to send again though nothing else happens, or None if nothing is under way."""
        times = [outgoing.progress_ms + self._resend_ms for outgoing in self._epochs if outgoing.in_flight()]
        return min(times) if times and self._online else None

    def _send(self, outgoing: _Outgoing, room: int, now_ms: int, *, backfill: bool) -> "list[Header]":
        headers: "list[Header]" = []
        if not outgoing.in_flight():
            outgoing.progress_ms = now_ms
        while outgoing.next <= outgoing.last and len(headers) < room:
            first, seq = outgoing.held_at(outgoing.next)
            is_history = backfill or seq <= outgoing.history
            headers.append(Header(outgoing.epoch, seq, outgoing.base, self._epochs[0].epoch, is_history, first))
            outgoing.next = seq + 1
        return headers

    def _drop_finished(self) -> None:
        """Forget epochs that are acknowledged whole; the two newest stay, since packs may still be appended to them."""
        self._epochs = [o for o in self._epochs[:-2] if o.base <= o.last] + self._epochs[-2:]


class Receiver:
    """The taker of one sender's packs on one lane: in the gateway for a device, in the hub for a gateway."""

    def __init__(self) -> None:
        self._committed: dict[int, int] = {}
        self._accepted: dict[int, int] = {}
        self._oldest = 0  # the oldest epoch that the sender has open, by its last header
        self._heard: set[int] = set()  # the epochs that it has offered packs of

    def restore(self, stored: dict[int, int]) -> None:
        """The cursor found in storage at start: per epoch the highest seq stored, of every epoch that ever was.

        None may be left out: a sender that crashed before its deletions were on disk offers packs of an epoch again
        that it had called finished.
        """
        self._committed = dict(stored)
        self._accepted = dict(stored)

    def knows(self, epoch: int) -> bool:
        """Whether a pack of this epoch was ever accepted."""
        return epoch in self._accepted

    def skipped(self, header: "Header") -> int:
        """How many packs of an epoch that we know would be passed over by taking this one, as its base tells.

        To be asked before `offer`. They were acknowledged to a predecessor whose storage was lost, or somebody lies.
        """
        accepted = self._accepted.get(header.epoch, 0)
        return max(0, header.first - 1 - accepted) if accepted and header.first <= header.base else 0

    def offer(self, header: "Header") -> str:
        """STORE: write it, together with the cursor, in one transaction, then call `stored`. Else only answer."""
        if header.oldest != self._oldest:
            self._oldest = header.oldest
            self._heard = {epoch for epoch in self._heard if epoch >= header.oldest}
        self._heard.add(header.epoch)
        accepted = self._accepted.get(header.epoch, 0)
        if header.seq <= accepted:
            return DUPLICATE
        # What begins at the base follows whatever there was: the packs below it were acknowledged, by us or by a
        # predecessor whose storage was lost. Waiting for them would stall the sender for ever.
        if header.first > max(accepted + 1, header.base):
            return AHEAD
        self._accepted[header.epoch] = header.seq
        return STORE

    def withdraw(self, header: "Header") -> None:
        """The pack that was just accepted could not be taken after all: it must be offered again."""
        self._accepted[header.epoch] = max(header.first - 1, self._committed.get(header.epoch, 0))

    def stored(self, header: "Header") -> None:
        """The pack and its place in the cursor are committed."""
        self._committed[header.epoch] = max(header.seq, self._committed.get(header.epoch, 0))

    def rolled_back(self) -> None:
        """The commit failed: what was accepted since the last one must be offered again."""
        self._accepted = dict(self._committed)

    def cursor(self) -> dict[int, int]:
        """What to publish: per epoch that the sender has open, and was heard of, the highest seq committed.

        As long as it has not been heard, the newest epochs of each of its incarnations.
        """
        if self._heard:
            return {epoch: self._committed[epoch] for epoch in sorted(self._heard) if epoch in self._committed}
        newest: dict[int, int] = {}
        counts: dict[int, int] = {}
        for epoch in sorted(self._committed, reverse=True):
            incarnation = incarnation_of(epoch)
            counts[incarnation] = counts.get(incarnation, 0) + 1
            if counts[incarnation] <= _UNHEARD_EPOCHS:
                newest[epoch] = self._committed[epoch]
        return newest
