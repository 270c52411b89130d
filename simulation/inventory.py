"""The ledger's account of one gateway's disk: which packs are on it, what is in them, and what is counted as read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge.links.base import Origin
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Batch
from edge.outbox_state import OutboxState
from protocols.pack import Body
from protocols.topics import URGENT
from simulation.ledger import Key, Ledger

if TYPE_CHECKING:
    from simulation.gateway import Gateway

Tallies = dict[tuple[str, int, str], tuple[int, int]]
_BOOKS_EACH = 8  # commits


class Inventory:
    """What is on the disk of `gateway`, as of the last word from it."""

    def __init__(self, ledger: Ledger, gateway: "Gateway"):
        self._ledger = ledger
        self._gateway = gateway
        self._packs: set[Key] = set()
        self._seqs: dict[tuple[str, int], int] = {}
        self._found: Mapping[str, tuple[int, int]] | None = None  # counts at the last start; None: unknown
        self._counted: Tallies = {}  # and those written since
        self._begun: tuple[set[Key], Tallies] = (set(), {})  # the commit that is under way
        self._commits = 0

    @property
    def empty(self) -> bool:
        """Whether no pack is on it."""
        return not self._packs

    def opened(self, epoch: int) -> None:
        """A new epoch has a number."""
        self._ledger.epoch_opened(self._gateway.name, epoch)

    def packed(self, lane: str, epoch: int, body: Body, origins: Sequence[Origin]) -> None:
        """A pack is closed, and about to be the next one of this epoch."""
        seq = self._seqs[lane, epoch] = self._seqs.get((lane, epoch), 0) + 1
        numbers = self._ledger.numbers_in(body)
        numbers.update(*(self._ledger.gap(origin) for origin in origins))
        self._ledger.contents[lane, epoch, seq] = frozenset(numbers)
        if lane == URGENT and not origins:
            self._gateway.watch.made(epoch, seq)

    def begins(self, batch: Batch) -> None:
        """A commit begins."""
        self._begun = (_keys(batch), dict(batch.tallies))

    def written(self, batch: Batch) -> None:
        """This is on the disk from now on."""
        self._add(_keys(batch) - self._packs)
        gone = {key for key in self._packs if key[2] <= batch.releases.get(key[:2], 0)}
        self._remove(gone, "has released")
        self._counted |= self._begun[1]
        self._begun = (set(), {})

    def all_written(self) -> None:
        """Nothing waits for the disk any more."""
        self._gateway.watch.saved()

    def holds(self, key: Key) -> bool:
        """Whether a pack is on the disk."""
        return key in self._packs

    def rescan(self) -> None:
        """Packs may have given way: look what is on the disk."""
        packs = self._on_disk()
        self._add(packs - self._packs)
        self._remove(self._packs - packs, "has no more on its disk")

    def started(self, file: OutboxFile) -> None:
        """The program begins anew, over what is on the disk: the last commit may have been kept, or not."""
        self.rescan()
        found = file.tallies()
        if self._found is not None:
            keys, tallies = self._begun
            may_be = [] if keys & self._packs else [_sums(self._found, self._counted)]
            if not keys or keys & self._packs:
                may_be.append(_sums(self._found, self._counted | tallies))
            if found not in may_be:
                self._ledger.violated("books", f"{self._gateway.name} has counted {found}, and not {may_be}")
        self._found, self._counted, self._begun = found, {}, (set(), {})

    def changed(self) -> None:
        """Another disk is in its place."""
        for key in self._packs:
            self._ledger.let_go(self._ledger.contents[key])
        self._packs, self._found = set(), None

    def says(self, device: str, lane: str, stored: dict[int, int]) -> None:
        """A cursor goes out to a device."""
        for epoch, seq in stored.items():
            query = "SELECT seq FROM cursor WHERE sender = ? AND lane = ? AND epoch = ?"
            found = self._gateway.storage.outbox.execute(query, (device, lane, epoch)).fetchone()
            self._ledger.said(self._gateway.name, (device, lane, epoch), seq, found[0] if found else 0)

    def check_books(self, file: OutboxFile, state: OutboxState) -> None:
        """After a commit: what the gateway says that it holds is what is on disk and in memory; each so many times."""
        self._commits += 1
        if self._commits % _BOOKS_EACH:
            return
        holdings = file.holdings()
        for batch in state.last():
            for row in batch.rows:
                holdings.take(row.lane, row.content)
        if (said := state.buffered()) != (held := holdings.by_thing()):
            self._ledger.violated("books", f"{self._gateway.name} says {said}, and holds {held}")

    def _add(self, keys: set[Key]) -> None:
        for key in keys:
            self._ledger.taken(self._ledger.contents[key])
        self._packs |= keys

    def _remove(self, keys: set[Key], what: str) -> None:
        self._packs -= keys
        for lane, epoch, seq in sorted(keys):
            numbers = self._ledger.contents[lane, epoch, seq]
            self._ledger.let_go(numbers)
            place = f"{lane} {self._ledger.world.epoch(epoch)}/{seq}"
            self._ledger.check_held(numbers, f"{self._gateway.name} {what} pack {place}")

    def _on_disk(self) -> set[Key]:
        rows = self._gateway.storage.outbox.execute("SELECT lane, epoch, first, seq FROM pack")
        return _expanded(rows)


def _keys(batch: Batch) -> set[Key]:
    return _expanded((row.lane, row.epoch, row.first, row.seq) for row in batch.rows)


def _expanded(rows: Iterable[tuple[str, int, int, int]]) -> set[Key]:
    return {(lane, epoch, seq) for lane, epoch, first, last in rows for seq in range(first, last + 1)}


def _sums(found: Mapping[str, tuple[int, int]], counted: Tallies) -> dict[str, tuple[int, int]]:
    sums = dict(found)
    for (_, _, thing), (read, suppressed) in counted.items():
        before = sums.get(thing, (0, 0))
        sums[thing] = before[0] + read, before[1] + suppressed
    return sums
