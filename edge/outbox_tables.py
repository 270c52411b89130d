"""The tables of the outbox's file. Every row ends in a checksum over its values: SQLite has none, and flash forgets.

A pack is one row, never a reading. Of each lane and epoch a mark tells what the hub has: what is held begins behind it
and has no hole, so that a row which has vanished is missed.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

import sqlite_utils

from edge.errors import EdgeError
from edge.outbox_rows import Row, checksum
from protocols.topics import LANES

PAGE_BYTES = 1024  # small: a commit writes whole pages, and on a memory card each byte counts
FOLDED = 0  # in the place of an epoch: all those that are over

migrations = sqlite_utils.Migrations("outbox")

_SCHEMA = """
-- incarnation: drawn once, see protocols.custody; epochs: how many were given; damages: times it was salvaged
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE pack (
    lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, first INTEGER NOT NULL, note TEXT NOT NULL,
    checksum INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (lane, epoch, seq)
) WITHOUT ROWID;
CREATE TABLE mark (
    lane TEXT NOT NULL, epoch INTEGER NOT NULL, released INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (lane, epoch)
) WITHOUT ROWID;
CREATE TABLE stream (
    alias INTEGER PRIMARY KEY, thing TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
    checksum INTEGER NOT NULL, UNIQUE (thing, metric, unit)
) WITHOUT ROWID;
CREATE TABLE tally (
    lane TEXT NOT NULL, epoch INTEGER NOT NULL, thing TEXT NOT NULL, read INTEGER NOT NULL, suppressed INTEGER NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (lane, epoch, thing)
) WITHOUT ROWID;
-- Twice: a device would be asked for packs again that it handed over, and they would be stored twice.
CREATE TABLE cursor (
    sender TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (sender, lane, epoch)
) WITHOUT ROWID;
CREATE TABLE cursor_copy (
    sender TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (sender, lane, epoch)
) WITHOUT ROWID;
-- What other parts remember together with packs; each version is greater than the one before, no value: forgotten.
CREATE TABLE kept (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
"""

# table -> its columns beside the checksum, and how many of them are its key
TABLES = {"meta": (2, 1), "mark": (3, 2), "stream": (4, 1), "tally": (5, 3), "cursor": (4, 3), "cursor_copy": (4, 3),
          "kept": (3, 1)}  # fmt: skip
PACK_COLUMNS = 7


class DamagedError(EdgeError):
    """What the file holds is not what was written: `reason`."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@migrations()
def first_tables(db: sqlite_utils.Database) -> None:
    """Not by executescript, which would commit the migration's transaction."""
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            db.execute(statement)


def put(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Write rows of a table other than `pack`, in the place of those with the same keys."""
    marks = ", ".join("?" * (TABLES[table][0] + 1))
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES ({marks})", [(*row, checksum(table, *row)) for row in rows]
    )


def rows_of(connection: sqlite3.Connection, table: str) -> "list[tuple[Any, ...]]":
    """All rows of a table other than `pack`, in the order of their keys. Raises DamagedError."""
    found = []
    for *row, known in connection.execute(f"SELECT * FROM {table}"):
        if checksum(table, *row) != known:
            raise DamagedError(f"a row of {table} is not as it was written")
        found.append(tuple(row))
    return found


def put_cursors(connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    """Write the cursors of devices: (sender, lane, epoch, seq)."""
    for table in ("cursor", "cursor_copy"):
        put(connection, table, rows)


def cursors(connection: sqlite3.Connection) -> list[tuple[str, str, int, int]]:
    """The cursors of devices. Raises DamagedError."""
    found = rows_of(connection, "cursor")
    if found != rows_of(connection, "cursor_copy"):
        raise DamagedError("the two copies of the devices' cursors differ")
    return found


def put_packs(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write packs, in the place of those with the same lane, epoch and seq."""
    connection.executemany(
        "INSERT OR REPLACE INTO pack VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (row.lane, row.epoch, row.seq, row.first, row.note,
             checksum("pack", row.lane, row.epoch, row.seq, row.first, row.note), row.body)
            for row in rows
        ],
    )  # fmt: skip


def notes(connection: sqlite3.Connection) -> Iterator[tuple[str, int, int, int, str]]:
    """(lane, epoch, first, seq, note) of all packs, in their order. Raises DamagedError."""
    query = "SELECT lane, epoch, seq, first, note, checksum FROM pack ORDER BY lane, epoch, seq"
    for lane, epoch, seq, first, note, known in connection.execute(query):
        if checksum("pack", lane, epoch, seq, first, note) != known:
            raise DamagedError(f"pack {epoch}/{seq} of {lane} is not as it was written")
        yield lane, epoch, first, seq, note


def oldest_notes(connection: sqlite3.Connection, lane: str) -> list[str]:
    """The note of the first pack that holds readings of each epoch on a lane."""
    found = []
    epoch = FOLDED
    query = (
        "SELECT epoch, note FROM pack WHERE lane = ? AND epoch > ? AND note NOT LIKE '[0,%' ORDER BY epoch, seq LIMIT 1"
    )
    while row := connection.execute(query, (lane, epoch)).fetchone():
        epoch, note = row
        found.append(note)
    return found


def pack(connection: sqlite3.Connection, lane: str, epoch: int, seq: int) -> Row | None:
    """A pack, whose body may be damaged, or None if it is not held. Raises DamagedError."""
    query = "SELECT first, note, checksum, body FROM pack WHERE lane = ? AND epoch = ? AND seq = ?"
    found = connection.execute(query, (lane, epoch, seq)).fetchone()
    if found is None:
        return None
    first, note, known, body = found
    if checksum("pack", lane, epoch, seq, first, note) != known:
        raise DamagedError(f"pack {epoch}/{seq} of {lane} is not as it was written")
    return Row(lane, epoch, first, seq, note, body)


def oldest_epochs(connection: sqlite3.Connection) -> list[int]:
    """The oldest epoch of which packs are held, of each lane that holds any."""
    query = "SELECT min(epoch) FROM pack WHERE lane = ?"
    found = [connection.execute(query, (lane,)).fetchone()[0] for lane in LANES]
    return [epoch for epoch in found if epoch is not None]


def newest_tally(connection: sqlite3.Connection) -> int:
    """The newest epoch that was counted, FOLDED if there is none."""
    return int(connection.execute("SELECT coalesce(max(epoch), 0) FROM tally").fetchone()[0])


def folded(connection: sqlite3.Connection) -> int:
    """Up to which epoch the tallies have been added up."""
    query = "SELECT coalesce(max(released), 0) FROM mark WHERE epoch = ?"
    return int(connection.execute(query, (FOLDED,)).fetchone()[0])


def fold(connection: sqlite3.Connection, upto: int) -> None:
    """Add up the tallies of the epochs up to this one, which are over, and forget their marks: else there would be more
    rows with each of them. The mark of FOLDED tells how far this went."""
    sums: dict[tuple[str, str], list[int]] = {}
    folded = FOLDED
    for lane, epoch, thing, read, suppressed in rows_of(connection, "tally"):
        if epoch <= upto:
            total = sums.setdefault((lane, thing), [0, 0])
            total[0] += read
            total[1] += suppressed
            folded = max(folded, epoch)
    if folded == FOLDED:
        return
    for table in ("tally", "mark"):
        connection.execute(f"DELETE FROM {table} WHERE epoch BETWEEN ? AND ?", (FOLDED, folded))
    put(connection, "tally", [(lane, FOLDED, thing, *total) for (lane, thing), total in sums.items()])
    put(connection, "mark", [(lane, FOLDED, folded) for lane in LANES])
