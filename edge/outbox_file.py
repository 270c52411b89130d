"""The outbox on disk: one SQLite file that holds packs until the hub has them, and what must survive with them.

What belongs together is written in one transaction: packs, the tallies as of those packs, and the cursors of the
devices whose packs they took over.
"""

import copy
import logging
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sqlite_utils

from edge import outbox_eviction, outbox_tables
from edge.errors import EdgeError
from edge.holdings import Holdings
from edge.outbox_disk import OutboxDisk, used_pages
from edge.outbox_eviction import Evicted
from edge.outbox_inventory import Inventory, take_stock
from edge.outbox_rows import Batch, Content, Held, Row, make_gap, read_note
from edge.outbox_tables import PAGE_BYTES, DamagedError
from protocols import custody

logger = logging.getLogger(__name__)

# Aliases are given from a place drawn at each opening: a file restored from an old image would else give numbers
# again that the hub knows by another meaning, and one thing's readings would be taken for another's.
_ALIASES_TOGETHER = 1 << 12
_MAX_ALIAS = 1 << 31

# What SQLite says of a file that is not as it was written. All other errors speak of the disk.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}


class OutboxError(EdgeError):
    """The outbox file cannot be used: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"outbox {path}: {reason}")
        self.path = path
        self.reason = reason


class Disk(Protocol):
    """Where the file is: see OutboxDisk. A simulator has another one."""

    spare_pages: int

    def open(self) -> sqlite3.Connection: ...

    def close(self, connection: sqlite3.Connection) -> None: ...

    def room(self, connection: sqlite3.Connection) -> int: ...

    def free(self, connection: sqlite3.Connection) -> int: ...

    def was_full(self, connection: sqlite3.Connection) -> None: ...

    def repair(self, reason: str) -> None: ...

    def set_aside(self, what: str, content: bytes) -> None: ...

    def write_copy(self, connection: sqlite3.Connection) -> None: ...


class OutboxFile:
    """The SQLite file. Every method blocks on the disk; all calls come from one thread at a time.

    Opening salvages a damaged file, and raises OutboxError where the disk cannot be used. The methods raise
    sqlite3.Error where it fails, and DamagedError if they find that the file is damaged: then it must be opened anew.
    """

    def __init__(self, path: Path, *, max_bytes: int, disk: Disk | None = None):
        self.path = path
        self.max_bytes = max_bytes
        self.bytes_held = 0
        self._disk = disk or OutboxDisk(path, max_bytes=max_bytes)
        self._inventory: Inventory | None = None  # of what is held, unless it has changed since
        self._meta: dict[str, int] = {}
        self._next_alias = 0
        self._copied = False  # whether the copy beside the file is as new as the file
        self._writes = 0
        self._given: list[tuple[int, int]] = []  # epochs of this run, and the count of writes when each was given
        self._wanted = 0  # pages that the last write found no room for
        self._found: Evicted = Evicted()  # damaged packs, to be told with what is evicted
        try:
            try:
                self._open()
            except DamagedError as error:
                self._disk.repair(error.reason)
                self._open()
        except (sqlite3.Error, OSError, DamagedError) as error:
            raise OutboxError(path, str(error)) from error

    @property
    def incarnation(self) -> int:
        """Drawn once for this file: a gateway that starts over with an empty outbox is another sender to the hub."""
        return self._meta["incarnation"]

    @property
    def damages(self) -> int:
        """How many times something in the file was found damaged, and set aside."""
        return self._meta["damages"]

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._connection)

    def next_epoch(self) -> int:
        """A number for a new epoch, never given before; it is on disk before anybody hears of it."""
        with self._transaction():
            outbox_tables.fold(self._connection, self._over())
            self._count("epochs")
        epoch = custody.epoch_number(self.incarnation, self._meta["epochs"], random.getrandbits(custody.NONCE_BITS))
        self._given.append((epoch, self._writes))
        return epoch

    def alias(self, thing: str, metric: str, unit: str) -> int:
        """The number that stands for this stream in packs, the same for ever."""
        key = (thing, metric, unit)
        query = "SELECT alias FROM stream WHERE thing = ? AND metric = ? AND unit = ?"
        known = self._connection.execute(query, key).fetchone()
        if known:
            return int(known[0])
        alias = self._unused_alias()
        with self._transaction():
            outbox_tables.put(self._connection, "stream", [(alias, *key)])
        self._copied = False
        return alias

    def streams(self) -> list[tuple[int, str, str, str]]:
        """(alias, thing, metric, unit) of every stream that ever was."""
        with self._damage_told():
            return outbox_tables.rows_of(self._connection, "stream")

    def held(self, lane: str) -> list[Held]:
        """What is held on a lane, oldest epoch first."""
        return self._taken_stock().held[lane]

    def holdings(self) -> Holdings:
        """What all packs hold."""
        return copy.deepcopy(self._taken_stock().holdings)

    def oldest_ms(self, lane: str) -> int | None:
        """When the oldest reading held on a lane was made, by the first pack with readings of each epoch."""
        with self._damage_told():
            notes = outbox_tables.oldest_notes(self._connection, lane)
        return min((read_note(note)[0].span[0] for note in notes), default=None)

    def tallies(self) -> dict[str, tuple[int, int]]:
        """(read, suppressed) of each thing over all lanes and epochs."""
        totals: dict[str, tuple[int, int]] = {}
        with self._damage_told():
            for _, _, thing, read, suppressed in outbox_tables.rows_of(self._connection, "tally"):
                before = totals.get(thing, (0, 0))
                totals[thing] = (before[0] + read, before[1] + suppressed)
        return totals

    def former_tallies(self) -> dict[tuple[str, int, str], tuple[int, int]]:
        """(read, suppressed) by lane, epoch and thing of the epochs that have not been added up."""
        with self._damage_told():
            rows = outbox_tables.rows_of(self._connection, "tally")
        return {(lane, epoch, thing): (read, suppressed) for lane, epoch, thing, read, suppressed in rows if epoch}

    @property
    def tallies_over(self) -> int:
        """Up to this epoch they have been added up."""
        with self._damage_told():
            return outbox_tables.folded(self._connection)

    def cursors(self) -> dict[tuple[str, str], dict[int, int]]:
        """Per (sender, lane) of the devices: the highest seq taken over of each epoch."""
        found: dict[tuple[str, str], dict[int, int]] = {}
        with self._damage_told():
            for sender, lane, epoch, seq in outbox_tables.cursors(self._connection):
                found.setdefault((sender, lane), {})[epoch] = seq
        return found

    def kept(self) -> dict[str, str]:
        """What other parts remember."""
        return {key: value for key, (_, value) in self._kept.items() if value}

    def write(self, batch: Batch) -> list[tuple[str, Content]]:
        """Commit the batch in one transaction. Returns what its releases let go: lane and content of each pack."""
        freed: list[tuple[str, Content]] = []
        try:
            with self._transaction():
                self._write(batch, freed)
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_FULL:
                self._wanted = sum(row.weight for row in batch.rows) * 3 // 2 // PAGE_BYTES + 16
            raise
        self._writes += 1
        self.bytes_held = used_pages(self._connection) * PAGE_BYTES
        if not self._copied:
            self._write_copy()
        return freed

    def body(self, lane: str, epoch: int, first: int, seq: int) -> bytes | None:
        """The body of what is held in the place of these packs, or None if it is held no more."""
        with self._damage_told():
            row = outbox_tables.pack(self._connection, lane, epoch, seq)
        if row is None or row.first != first:
            return None
        return row.body if row.sound else self._give_up(row).body

    def evict(self, *, pressed: bool) -> Evicted:
        """If there is more than may be: put gap records in the place of the oldest packs, urgent ones last.

        On a full disk this is done only if `pressed`: as long as what found no room can wait, it may find some.
        """
        if self._wanted and self._disk.room(self._connection) >= self._wanted:
            self._disk.was_full(self._connection)
        evicted, self._found = self._found, Evicted()
        while self._lacks_room(pressed=pressed) and (rows := outbox_eviction.oldest(self._connection)):
            with self._transaction():
                outbox_eviction.give_way(self._connection, rows, evicted)
        self._wanted = 0
        self.bytes_held = used_pages(self._connection) * PAGE_BYTES
        return evicted

    def _lacks_room(self, *, pressed: bool) -> bool:
        free = self._disk.free(self._connection)
        return self._disk.room(self._connection) < max(self._disk.spare_pages, self._wanted) or (
            pressed and free < self._wanted
        )

    def _unused_alias(self) -> int:
        while True:
            if self._next_alias % _ALIASES_TOGETHER == 0:
                self._next_alias = random.randrange(1, _MAX_ALIAS // _ALIASES_TOGETHER) * _ALIASES_TOGETHER
            alias, self._next_alias = self._next_alias, self._next_alias + 1
            if not self._connection.execute("SELECT 1 FROM stream WHERE alias = ?", (alias,)).fetchone():
                return alias

    def _open(self) -> None:
        with self._damage_told():
            self._connection = self._disk.open()
            try:
                self._load()
            except BaseException:
                self.close()
                raise

    def _load(self) -> None:
        """Read all but the bodies, and see that it is whole. Raises DamagedError."""
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        outbox_tables.migrations.apply(sqlite_utils.Database(self._connection))
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedError(verdict)
        self._meta = {str(key): int(value) for key, value in outbox_tables.rows_of(self._connection, "meta")}
        if "incarnation" not in self._meta:
            incarnation = random.randrange(1, 1 << custody.INCARNATION_BITS)
            self._meta = {"incarnation": incarnation, "epochs": 0, "damages": 0} | self._meta
            with self._transaction():
                outbox_tables.put(self._connection, "meta", self._meta.items())
        for table in ("stream", "tally"):
            outbox_tables.rows_of(self._connection, table)
        outbox_tables.cursors(self._connection)
        self._kept = {
            str(key): (int(version), str(value))
            for key, version, value in outbox_tables.rows_of(self._connection, "kept")
        }
        self._taken_stock()
        self.bytes_held = used_pages(self._connection) * PAGE_BYTES

    def _taken_stock(self) -> Inventory:
        with self._damage_told():
            self._inventory = self._inventory or take_stock(self._connection)
        return self._inventory

    def _write(self, batch: Batch, freed: list[tuple[str, Content]]) -> None:
        for (lane, epoch), upto in batch.releases.items():
            query = "DELETE FROM pack WHERE lane = ? AND epoch = ? AND seq <= ? RETURNING note"
            found = self._connection.execute(query, (lane, epoch, upto)).fetchall()
            freed += [(lane, read_note(note)[0]) for (note,) in found]
        outbox_tables.put(self._connection, "mark", [(*key, upto) for key, upto in batch.releases.items()])
        outbox_tables.put_packs(self._connection, batch.rows)
        outbox_tables.put(self._connection, "tally", [(*key, *tally) for key, tally in batch.tallies.items()])
        cursors = {(each.sender, each.lane, each.epoch): each.seq for each in batch.origins}
        outbox_tables.put_cursors(self._connection, [(*key, seq) for key, seq in cursors.items()])
        kept = {key: (self._kept.get(key, (0, ""))[0] + 1, value or "") for key, value in batch.kept.items()}
        outbox_tables.put(self._connection, "kept", [(key, *versioned) for key, versioned in kept.items()])
        self._kept |= kept

    def _write_copy(self) -> None:
        try:
            self._disk.write_copy(self._connection)
            self._copied = True
        except OSError as error:
            logger.warning("the copy beside the outbox cannot be written, and will be tried again: %s", error)

    def _give_up(self, row: Row) -> Row:
        """A pack whose body is damaged: it is set aside, and a gap record takes its place."""
        logger.error("pack %d/%d of %s is damaged, and declared lost", row.epoch, row.seq, row.lane)
        self._disk.set_aside(f"{row.lane}-{row.epoch}-{row.seq}", row.note.encode() + b"\n" + row.body)
        gap = make_gap(row.lane, row.epoch, row.first, row.seq, [row.content])
        with self._transaction():
            outbox_tables.put_packs(self._connection, [gap])
            self._count("damages")
        self._found.packs.append((row.lane, row.content))
        return gap

    def _over(self) -> int:
        """The newest epoch of which nothing is held any more, nor can come: two more have begun since, and two batches
        were written. At the start all those of which nothing is held but the last one that was counted: if we were
        killed in it, the hub knows more of it than we do, and will say so."""
        pairs = zip(self._given, self._given[2:], strict=False)
        over = [epoch for (epoch, _), (_, writes) in pairs if self._writes >= writes + 2]
        newest = max(over, default=0) if self._given else outbox_tables.newest_tally(self._connection) - 1
        return min([newest, *(epoch - 1 for epoch in outbox_tables.oldest_epochs(self._connection))])

    def _count(self, what: str) -> None:
        """Move on one of the counts, in the transaction that is open."""
        self._meta[what] += 1
        outbox_tables.put(self._connection, "meta", [(what, self._meta[what])])
        self._copied = False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._inventory = None
        before = dict(self._meta)
        try:
            with self._damage_told(), self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
        except BaseException:
            self._meta = before
            raise

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """Tell apart what is wrong with the file from what is wrong with the disk."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_FULL)
            if code & 0xFF in _DAMAGE or code in _UNREADABLE:
                raise DamagedError(str(error)) from error
            raise


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF
