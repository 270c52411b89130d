"""What the outbox decides: which packs wait, go to disk together, may be sent, and are let go. No disk, clock or loop.

A pack of readings that only we have heard may be sent at once, and is committed with the next group. A pack that takes
over a device's own packs is sent after its commit: were it sent before and we died, the device would send the same
readings again, and the hub would have them under two identities. What was appended behind it waits with it, so that
order is kept. A pack that the hub has stored before its group's turn came is never written at all.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge.holdings import Holdings
from edge.links.base import Origin
from edge.outbox_file import Batch, Content, Row
from edge.tally import Tally
from protocols.custody import Sender
from protocols.deflated import deflate
from protocols.pack import Body, encode_body
from protocols.topics import LANES, URGENT

_HOT = 512  # bodies kept in memory for sending; any other is read from the disk
_MAX_WAITING = 4096  # packs that wait for a disk which fails; beyond it the oldest of the bulk lane give way

Key = tuple[str, int, int]  # a pack's lane, epoch and seq


@dataclass
class _Pack:
    """A pack that is not committed yet."""

    row: Row
    origins: Sequence[Origin]
    sent: bool = False  # given to its lane's sender

    @property
    def key(self) -> Key:
        return self.row.lane, self.row.epoch, self.row.seq


class OutboxState:
    """The state of one outbox, from its start in a new `epoch` on.

    held: per lane (epoch, first seq, last seq) of what storage holds, oldest first; holdings: what is in it; tallies:
    (read, suppressed) of each thing before this epoch. Whoever owns it commits: `begin` gives a batch, and either
    `committed` or `failed` must follow before the next one.
    """

    def __init__(
        self,
        epoch: int,
        *,
        held: Mapping[str, Sequence[tuple[int, int, int]]],
        holdings: Holdings,
        tallies: Mapping[str, tuple[int, int]],
    ):
        self.epoch = epoch
        self.tally = Tally(tallies, epoch)
        self.senders = {lane: Sender() for lane in LANES}
        self.holdings = holdings
        self._seqs = dict.fromkeys(LANES, 0)
        self._waiting: list[_Pack] = []  # one group: what comes within its time; more only while the disk fails
        self._committing: list[_Pack] = []
        self._releases: dict[tuple[str, int], int] = {}
        self._hot: OrderedDict[Key, bytes] = OrderedDict()
        self._hub_session: str | None = None
        self._coming: int | None = None  # an epoch that is to begin
        for lane, sender in self.senders.items():
            for old, first, last in held[lane]:
                sender.restore(old, first - 1, last)
            sender.open(epoch)

    def buffered(self) -> dict[str, int]:
        """Readings of each thing that we hold and the hub has not confirmed."""
        return self.holdings.by_thing()

    def uncommitted(self) -> int:
        """How many packs are not on disk yet; there is room for some thousands while it fails."""
        return len(self._committing) + len(self._waiting)

    def oldest_ms(self, lane: str) -> int | None:
        """When the oldest of those readings on a lane was made that are not on disk yet, None if there are none."""
        rows = (pack.row for pack in (*self._committing, *self._waiting) if pack.row.lane == lane)
        return min((row.content.span[0] for row in rows if row.content.counts), default=None)

    def line_up(self) -> None:
        """The line is up: what was under way before is sent again."""
        for sender in self.senders.values():
            sender.connected()

    def line_down(self) -> None:
        """The line is down: nothing is due until it is up again."""
        for sender in self.senders.values():
            sender.disconnected()

    def open(self, epoch: int) -> None:
        """From the next moment on what is appended is live, and what is held is history to be sent behind it.

        A sender takes packs of its two newest epochs only: as long as one of an earlier epoch has not been given to it,
        which takes a disk that fails, the present epoch goes on.
        """
        self._coming = epoch
        self._open_if_may()

    def append(self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = ()) -> bool:
        """Take custody of a pack; it belongs to the next batch. Returns whether there is more to send now."""
        self._seqs[lane] += 1
        pack = _Pack(Row(lane, self.epoch, self._seqs[lane], deflate(encode_body(body)), content), origins)
        self._waiting.append(pack)
        self._hot[pack.key] = pack.row.body
        if len(self._hot) > _HOT:
            self._hot.popitem(last=False)
        self.holdings.take(lane, content)
        more = self._send_what_may()
        if len(self._waiting) > _MAX_WAITING:
            self._give_way()
        return more

    def cursor(self, lane: str, session: str, stored: dict[int, int], now_ms: int) -> bool:
        """The hub's cursor. Returns whether a new epoch shall begin, for the hub was away while its broker was not."""
        for release in self.senders[lane].cursor(session, stored, now_ms):
            self.release(lane, release.epoch, release.upto)
        anew = self._hub_session not in (None, session) and bool(self.buffered())
        self._hub_session = session
        return anew

    def release(self, lane: str, epoch: int, upto: int) -> None:
        """The hub has these packs."""
        self._releases[lane, epoch] = upto
        self._leave_out_released()

    def body(self, key: Key) -> bytes | None:
        """The body of a pack if it is in memory: where the disk fails, more of them wait than are hot."""
        if (hot := self._hot.get(key)) is not None:
            return hot
        return next((pack.row.body for pack in (*self._committing, *self._waiting) if pack.key == key), None)

    def begin(self) -> Batch:
        """What is to be committed now."""
        self._committing, self._waiting = self._waiting, []
        releases, self._releases = self._releases, {}
        return self._batch(self._committing, releases)

    def committed(self, batch: Batch, freed: Iterable[tuple[str, Content]]) -> None:
        """The batch is on disk, so its origins may be answered; freed: lane and content of what its releases let go."""
        self.tally.written(batch.tallies)
        for lane, content in freed:
            self.holdings.confirm(lane, content)
        group, self._committing = self._committing, []
        for pack in group:
            if not pack.sent:
                self._send(pack)
        self._send_what_may()
        self._open_if_may()

    def failed(self, batch: Batch) -> None:
        """The batch is not on disk: it belongs to the next one."""
        self._waiting = self._committing + self._waiting
        self._committing = []
        self._releases = {**batch.releases, **self._releases}
        self._leave_out_released()

    def gave_way(self, lost: Iterable[tuple[str, Content]]) -> None:
        """Packs of this lane and content gave way on disk to gap records."""
        for lane, content in lost:
            self.holdings.give_way(lane, content)

    def last(self) -> Batch:
        """All that may not be on disk yet, at the end of the program, also of a batch that was under way."""
        return self._batch(self._committing + self._waiting, self._releases)

    def _batch(self, packs: Sequence[_Pack], releases: Mapping[tuple[str, int], int]) -> Batch:
        return Batch(
            rows=[pack.row for pack in packs],
            releases=releases,
            tallies=self.tally.unwritten(),
            origins=[origin for pack in packs for origin in pack.origins],
        )

    def _open_if_may(self) -> None:
        packs = (*self._committing, *self._waiting)
        if self._coming is None or not all(pack.sent or pack.row.epoch == self.epoch for pack in packs):
            return
        self.epoch, self._coming = self._coming, None
        self._seqs = dict.fromkeys(LANES, 0)
        self.tally.open_epoch(self.epoch)
        for sender in self.senders.values():
            sender.open(self.epoch)

    def _send_what_may(self) -> bool:
        """Give the senders, in order, the packs that need not wait for a commit: theirs or one before them."""
        more = False
        blocked = {pack.row.lane for pack in self._committing if not pack.sent}
        for pack in self._waiting:
            if pack.origins and not pack.sent:
                blocked.add(pack.row.lane)
            elif not pack.sent and pack.row.lane not in blocked:
                self._send(pack)
                more = True
        return more

    def _send(self, pack: _Pack) -> None:
        pack.sent = True
        self.senders[pack.row.lane].appended(pack.row.epoch, pack.row.seq)

    def _leave_out_released(self) -> None:
        """What the hub has need not be written; none of it has origins, since those are sent after their commit."""
        kept = []
        for pack in self._waiting:
            if pack.row.seq > self._releases.get((pack.row.lane, pack.row.epoch), 0):
                kept.append(pack)
            else:
                self.holdings.confirm(pack.row.lane, pack.row.content)
        self._waiting = kept

    def _give_way(self) -> None:
        for pack in self._waiting:
            if pack.row.lane != URGENT and pack.row.content.counts:
                self.holdings.give_way(pack.row.lane, pack.row.content)
                pack.row = pack.row.as_gap()
                self._hot.pop(pack.key, None)
                return
