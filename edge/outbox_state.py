"""What the outbox decides: which packs wait, go to disk together, may be sent, and are let go. No disk, clock or loop.

A pack of readings that only we have heard may be sent at once, and is committed with the next group. A pack that takes
over a device's own packs is sent after its commit: were it sent before and we died, the device would send the same
readings again, and the hub would have them under two identities. What was appended behind it waits with it, so that
order is kept. So does an urgent pack, which is committed at once: it tells of alarms, and what was told of them must be
what a restart remembers; but where the disk fails it is sent nevertheless. A pack that the hub has stored before its
group's turn came is never written at all.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edge.holdings import Holdings
from edge.links.base import Origin
from edge.outbox_eviction import Evicted
from edge.outbox_rows import Batch, Content, Held, Row, gap_of, make_row
from edge.tally import Tally
from protocols.custody import Sender
from protocols.deflated import deflate
from protocols.pack import Body, encode_body
from protocols.topics import LANES, URGENT

_HOT_BYTES = 1 << 20  # of bodies kept in memory for sending; any other is read from the disk
_WAITING_BYTES = 1 << 22  # of packs that wait for a disk which fails; beyond it the oldest give way, urgent ones last

_BATCH_BYTES = 1 << 17  # of packs in one batch
_IDLE_MS = 60_000  # within which counts are written when nothing else is

Key = tuple[str, int, int, int]  # lane, epoch, first and seq of a pack, or of the gap record in the place of several


@dataclass
class _Pack:
    """A pack that is not committed yet."""

    row: Row
    due_ms: int  # when it is to be committed
    sent: bool = False  # given to its lane's sender


class OutboxState:
    """The state of one outbox, from its start in a new `epoch` on.

    held: per lane what storage holds, oldest epoch first; holdings: what is in it; tallies: (read, suppressed) of each
    thing before this epoch; commit_ms: within which what is appended is to be committed. Whoever owns it commits when
    `commit_due_ms` says so: `begin` gives a batch, and either `committed` or `failed` must follow before the next one.
    """

    def __init__(
        self,
        epoch: int,
        *,
        held: Mapping[str, Sequence[Held]],
        holdings: Holdings,
        tallies: Mapping[str, tuple[int, int]],
        commit_ms: int,
    ):
        self.epoch = epoch
        self.tally = Tally(tallies, epoch)
        self.senders = {lane: Sender() for lane in LANES}
        self.holdings = holdings
        self._seqs = dict.fromkeys(LANES, 0)
        self._waiting: list[_Pack] = []  # one group: what comes within its time; more only while the disk fails
        self._committing: list[_Pack] = []
        self._releases: dict[tuple[str, int], int] = {}
        self._releasing: dict[tuple[str, int], int] = {}  # in the batch that is under way
        self._kept: dict[str, str | None] = {}  # that is not on disk yet
        self._failing = False  # whether the last batch was not written
        self._waiting_bytes = 0
        self._commit_ms = commit_ms
        self._batch_bytes = _BATCH_BYTES
        self._other_due_ms: int | None = None  # when to commit though no pack waits
        self._on_disk: dict[
            tuple[str, int], tuple[int, int]
        ] = {}  # of each lane and epoch the first and last seq there
        self._hot: OrderedDict[Key, bytes] = OrderedDict()
        self._hot_bytes = 0
        self._hub_session: str | None = None
        self._coming: int | None = None  # an epoch that is to begin
        for lane, sender in self.senders.items():
            for old, first, last, gaps in held[lane]:
                sender.restore(old, first - 1, last, gaps)
                self._on_disk[lane, old] = first, last
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
        return min((row.content.span[0] for row in rows if row.readings), default=None)

    def line_up(self, *, after_outage: bool = False) -> None:
        """The line is up: what was under way before is sent again; after an outage what is held is history."""
        for sender in self.senders.values():
            if after_outage:
                sender.held_is_history()
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

    def append(
        self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = (), *, now_ms: int = 0
    ) -> bool:
        """Take custody of a pack; it belongs to the next batch. Returns whether there is more to send now."""
        self._seqs[lane] += 1
        row = make_row(
            lane, self.epoch, self._seqs[lane], body=deflate(encode_body(body)), content=content, origins=origins
        )
        self._waiting.append(_Pack(row, now_ms if lane == URGENT or origins else now_ms + self._commit_ms))
        self._commit_by(now_ms + _IDLE_MS)
        self._waiting_bytes += row.weight
        self._keep_hot(row)
        self.holdings.take(lane, content)
        more = self._send_what_may()
        while self._waiting_bytes > _WAITING_BYTES and self._give_way():
            pass
        return more

    def commit_due_ms(self) -> int | None:
        """When there is something to be committed, or None if there is nothing."""
        due_ms = min((pack.due_ms for pack in self._waiting), default=None)
        if due_ms is None or self._other_due_ms is None:
            return self._other_due_ms if due_ms is None else due_ms
        return min(due_ms, self._other_due_ms)

    @property
    def full(self) -> bool:
        """Whether so much waits for the disk that whoever can keep his readings shall keep them."""
        return self._waiting_bytes > _WAITING_BYTES // 2

    def keep(self, key: str, value: str | None) -> None:
        """Have this remembered together with the packs appended so far; None: forgotten."""
        self._kept[key] = value

    def cursor(self, lane: str, session: str, stored: dict[int, int], now_ms: int) -> bool:
        """The hub's cursor. Returns whether a new epoch shall begin, for the hub was away while its broker was not."""
        for release in self.senders[lane].cursor(session, stored, now_ms):
            self.release(lane, release.epoch, release.upto, now_ms)
        anew = self._hub_session not in (None, session) and bool(self.buffered())
        if anew:
            for sender in self.senders.values():
                sender.held_is_history()
        self._hub_session = session
        return anew

    def release(self, lane: str, epoch: int, upto: int, now_ms: int) -> None:
        """The hub has these packs. To say so on disk alone is worth no commit, unless they are there."""
        self._releases[lane, epoch] = upto
        first, last = self._on_disk.get((lane, epoch), (upto + 1, upto))
        if first <= upto:
            self._commit_by(now_ms + self._commit_ms)
            self._on_disk[lane, epoch] = upto + 1, last
            if upto >= last:
                del self._on_disk[lane, epoch]
        self._leave_out_released()

    def body(self, key: Key) -> bytes | None:
        """The body of a pack if it is in memory: where the disk fails, more of them wait than are hot."""
        if (hot := self._hot.get(key)) is not None:
            return hot
        return next((pack.row.body for pack in (*self._committing, *self._waiting) if pack.row.key == key), None)

    def begin(self) -> Batch:
        """What is to be committed now. If there is more than a transaction should hold, the rest stays for the next.

        Urgent packs come first, and after a failure less at once: on a full disk there may be room for a little.
        """
        self._waiting.sort(key=lambda pack: pack.row.lane != URGENT)
        count = _fitting(self._waiting, self._batch_bytes)
        self._committing, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes = sum(pack.row.weight for pack in self._waiting)
        self._other_due_ms = None
        for row in (pack.row for pack in self._committing):
            numbering = row.lane, row.epoch
            self._on_disk[numbering] = self._on_disk.get(numbering, (row.first, 0))[0], row.seq
        self._releasing, self._releases = self._releases, {}
        return self._batch(self._committing, self._releasing, rest=self._waiting)

    def committed(self, batch: Batch, freed: Iterable[tuple[str, Content]]) -> None:
        """The batch is on disk, so its origins may be answered; freed: lane and content of what its releases let go."""
        self._failing = False
        self._releasing = {}
        self._kept = {key: value for key, value in self._kept.items() if batch.kept.get(key, ...) != value}
        self._batch_bytes = min(2 * self._batch_bytes, _BATCH_BYTES)
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
        self._failing = True
        self._waiting = self._committing + self._waiting
        self._waiting_bytes += sum(pack.row.weight for pack in self._committing)
        self._committing = []
        self._batch_bytes = max(self._batch_bytes // 2, 1)
        self._other_due_ms = 0
        self._releases = {**batch.releases, **self._releases}
        self._releasing = {}
        self._leave_out_released()
        self._send_what_may()

    def gave_way(self, evicted: Evicted) -> None:
        """Packs gave way to gap records."""
        for lane, content in evicted.packs:
            self.holdings.give_way(lane, content)
        for lane, epoch, first, seq in evicted.runs:
            self.senders[lane].merged(epoch, first, seq)

    def last(self) -> Iterator[Batch]:
        """All that may not be on disk yet, at the end of the program, also of a batch that was under way."""
        releases = {**self._releasing, **self._releases}
        packs = [
            pack
            for pack in self._committing + self._waiting
            if pack.row.seq > releases.get((pack.row.lane, pack.row.epoch), 0)
        ]
        while packs or releases or self._kept or self.tally.unwritten():
            count = _fitting(packs, self._batch_bytes)
            yield self._batch(packs[:count], releases, rest=packs[count:])
            packs, releases = packs[count:], {}
            if not packs:
                return

    def _commit_by(self, due_ms: int) -> None:
        self._other_due_ms = due_ms if self._other_due_ms is None else min(due_ms, self._other_due_ms)

    def _batch(
        self, packs: Sequence[_Pack], releases: Mapping[tuple[str, int], int], *, rest: Sequence[_Pack]
    ) -> Batch:
        """Tallies are those as of its last packs, and what is kept goes with the last packs that there are: nothing on
        disk speaks of packs that are not there."""
        rows = [pack.row for pack in packs]
        tallies = self.tally.unwritten()
        if rest:
            tallies = {
                (row.lane, row.epoch, thing): tally for row in rows for thing, tally in row.content.tallies.items()
            }
        return Batch(rows, releases, tallies, {} if rest else dict(self._kept))

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
            if self._waits(pack) and not pack.sent:
                blocked.add(pack.row.lane)
            elif not pack.sent and pack.row.lane not in blocked:
                self._send(pack)
                more = True
        return more

    def _waits(self, pack: _Pack) -> bool:
        """Whether it must be on disk before it is sent."""
        return bool(pack.row.origins) or (pack.row.lane == URGENT and not self._failing)

    def _send(self, pack: _Pack) -> None:
        pack.sent = True
        self.senders[pack.row.lane].appended(pack.row.epoch, pack.row.seq, pack.row.first)

    def _leave_out_released(self) -> None:
        """What the hub has need not be written; none of it has origins, since those are sent after their commit."""
        kept = []
        for pack in self._waiting:
            if pack.row.seq > self._releases.get((pack.row.lane, pack.row.epoch), 0):
                kept.append(pack)
            else:
                self.holdings.confirm(pack.row.lane, pack.row.content)
                self._waiting_bytes -= pack.row.weight
        self._waiting = kept

    def _keep_hot(self, row: Row) -> None:
        self._hot[row.key] = row.body
        self._hot_bytes += len(row.body)
        while self._hot_bytes > _HOT_BYTES:
            _, body = self._hot.popitem(last=False)
            self._hot_bytes -= len(body)

    def _give_way(self) -> bool:
        """Put a gap record in the place of the oldest pack that waits: of our own bulk ones, of devices' own, of urgent
        ones. It takes up those of its neighbours. False if no pack holds readings any more."""
        holding = [pack for pack in self._waiting if pack.row.readings]
        if not holding:
            return False
        victim = min(holding, key=lambda pack: (pack.row.lane == URGENT, bool(pack.row.origins)))
        beside = [pack for pack in self._waiting if self._takes_up(victim, pack)]
        run = [pack for pack in self._waiting if pack is victim or pack in beside]
        gap = replace(gap_of([pack.row for pack in run]), origins=[each for pack in run for each in pack.row.origins])
        self._waiting[self._waiting.index(run[0])] = _Pack(gap, run[0].due_ms, victim.sent)
        self._waiting = [pack for pack in self._waiting if pack not in run]
        self._waiting_bytes += gap.weight - sum(pack.row.weight for pack in run)
        self._hot_bytes -= len(self._hot.pop(victim.row.key, b""))
        self.gave_way(Evicted([(victim.row.lane, victim.row.content)], [gap.key] if victim.sent else []))
        return True

    @staticmethod
    def _takes_up(victim: _Pack, other: _Pack) -> bool:
        """Whether the other one is a gap record right before or behind the victim."""
        mine, its = victim.row, other.row
        return (
            not its.readings
            and other.sent == victim.sent
            and (its.lane, its.epoch) == (mine.lane, mine.epoch)
            and (its.seq + 1 == mine.first or mine.seq + 1 == its.first)
        )


def _fitting(packs: Sequence[_Pack], most_bytes: int) -> int:
    """How many of the packs are one batch."""
    size = 0
    for count, pack in enumerate(packs):
        size += pack.row.weight
        if count and size > most_bytes:
            return count
    return len(packs)
