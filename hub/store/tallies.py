"""What gateways have counted, in the packs of each epoch and in their statuses; and what was stored of it.

The two are kept apart. What packs say is of the packs that have come, and gap records are reckoned against it; what
statuses say is ahead of that by what the gateway holds. Of an epoch the larger count is true.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from protocols.custody import COUNTER_BITS, NONCE_BITS, incarnation_of
from protocols.pack import Body
from protocols.status import Lane
from protocols.topics import LANES

Numbering = tuple[str, str, int]  # a pack's gateway, lane and epoch
Loss = tuple[int, int, int]  # readings, from ms, to ms
ByLane = dict[str, dict[str, tuple[int, int]]]  # (read, suppressed) of each thing, by lane

_APART = 8  # epochs of a gateway's lane: what is older, and acknowledged whole, is added up under epoch 0

_TALLY = """
INSERT INTO tally (gateway, lane, epoch, thing, read, suppressed, stored) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET read = max(read, excluded.read), suppressed = max(suppressed, excluded.suppressed),
    stored = stored + excluded.stored
"""
_TOLD = """
INSERT INTO told (gateway, lane, epoch, read, suppressed) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET read = max(read, excluded.read), suppressed = max(suppressed, excluded.suppressed)
"""
_PACKED = "SELECT read - suppressed FROM tally WHERE gateway = ? AND lane = ? AND epoch = ? AND thing = ?"
_OF_EPOCHS = """
SELECT gateway, lane, epoch, sum(read), sum(suppressed), sum(stored) FROM tally {where} GROUP BY gateway, lane, epoch
"""
_OLD_EPOCHS = """
SELECT DISTINCT epoch FROM tally WHERE gateway = ?1 AND lane = ?2 AND epoch > ?3 AND epoch < ?4
UNION SELECT epoch FROM told WHERE gateway = ?1 AND lane = ?2 AND epoch > ?3 AND epoch < ?4 ORDER BY epoch DESC
"""
_ADD_UP_TOLD = """
INSERT INTO told (gateway, lane, epoch, read, suppressed) VALUES (?, ?, 0, ?, ?)
ON CONFLICT DO UPDATE SET read = read + excluded.read, suppressed = suppressed + excluded.suppressed
"""
_ADD_UP = """
INSERT INTO tally (gateway, lane, epoch, thing, read, suppressed, stored)
SELECT gateway, lane, 0, thing, read, suppressed, stored FROM tally WHERE gateway = ? AND lane = ? AND epoch = ?
ON CONFLICT DO UPDATE SET read = read + excluded.read, suppressed = suppressed + excluded.suppressed,
    stored = stored + excluded.stored
"""


class Sums(NamedTuple):
    """Readings of a gateway over all epochs."""

    read: int = 0
    suppressed: int = 0
    stored: int = 0


class Tallies:
    """What the packs of a batch say was read and suppressed, and what was stored of it, until it is written."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int, str], list[int]] = {}  # read, suppressed, stored

    def add(self, numbering: Numbering, tallies: Mapping[str, tuple[int, int]], stored: Mapping[str, int]) -> None:
        """Take over what a pack says of the time since its epoch began, and how much it brought of each thing."""
        for thing, (read, suppressed) in tallies.items():
            counts = self._counts.setdefault((*numbering, thing), [0, 0, 0])
            counts[:2] = max(counts[0], read), max(counts[1], suppressed)
        for thing, count in stored.items():
            self._counts.setdefault((*numbering, thing), [0, 0, 0])[2] += count

    def write(self, db: sqlite3.Connection) -> None:
        """Write them, and begin anew."""
        db.executemany(_TALLY, ((*key, *counts) for key, counts in self._counts.items()))
        self._counts.clear()


def write_told(db: sqlite3.Connection, gateway: str, lanes: Mapping[str, Lane]) -> None:
    """Take over the counts of a status, but for those of epochs that have been added up: it was held up on its way."""
    for name, lane in lanes.items():
        row = db.execute("SELECT upto FROM added_up WHERE gateway = ? AND lane = ?", (gateway, name)).fetchone()
        upto = row[0] if row else 0
        news = [each for each in lane.counts if each.epoch > upto or incarnation_of(each.epoch) != incarnation_of(upto)]
        db.executemany(_TOLD, [(gateway, name, *each) for each in news])


def add_up(db: sqlite3.Connection, gateway: str, lane: str, oldest: int) -> None:
    """Add up the counts of old epochs, that they may not become more for ever with each loss of the line.

    Those below `oldest` have been acknowledged whole, so that no more comes of them.
    """
    first = incarnation_of(oldest) << COUNTER_BITS + NONCE_BITS
    old = [epoch for (epoch,) in db.execute(_OLD_EPOCHS, (gateway, lane, first, oldest))][_APART:]
    for epoch in old:
        key = (gateway, lane, epoch)
        read, suppressed, _ = _of_epoch(db, key)
        db.execute(_ADD_UP_TOLD, (gateway, lane, read, suppressed))
        db.execute(_ADD_UP, key)
        for table in ("tally", "told"):
            db.execute(f"DELETE FROM {table} WHERE gateway = ? AND lane = ? AND epoch = ?", key)
    if old:
        db.execute("INSERT OR REPLACE INTO added_up VALUES (?, ?, ?)", (gateway, lane, old[0]))


def not_stored(db: sqlite3.Connection, numbering: Numbering, body: Body) -> dict[str, Loss]:
    """What a gap record declares lost, without what came here before its packs gave way.

    The tallies tell it: ours those of the last pack that came, its own those of the last one that gave way.
    """
    lost = {}
    for thing, (count, from_ms, to_ms) in body.lost.items():
        read, suppressed = body.tallies.get(thing, (0, 0))
        (before,) = db.execute(_PACKED, (*numbering, thing)).fetchone() or (0,)
        if (between := read - suppressed - before) > 0:
            lost[thing] = (min(count, between), from_ms, to_ms)
    return lost


def newest(db: sqlite3.Connection, gateway: str, incarnation: int) -> tuple[int, ByLane] | None:
    """The newest epoch of this incarnation of a gateway's storage that packs came of, and what they say of it."""
    begin, end = (each << COUNTER_BITS + NONCE_BITS for each in (incarnation, incarnation + 1))
    query = "SELECT max(epoch) FROM tally WHERE gateway = ? AND lane = ? AND epoch BETWEEN ? AND ?"
    newest_of = [db.execute(query, (gateway, lane, begin, end)).fetchone()[0] for lane in LANES]
    epoch = max((each for each in newest_of if each), default=None)
    if epoch is None:
        return None
    query = "SELECT thing, read, suppressed FROM tally WHERE gateway = ? AND lane = ? AND epoch = ?"
    return epoch, {
        lane: {thing: (read, suppressed) for thing, read, suppressed in db.execute(query, (gateway, lane, epoch))}
        for lane in LANES
    }


def sums(db: sqlite3.Connection, gateway: str | None = None) -> dict[str, Sums]:
    """The sums of every gateway that was heard of, or of one."""
    where, of = ("", ()) if gateway is None else ("WHERE gateway = ?", (gateway,))
    counted = {tuple(row[:3]): row[3:] for row in map(tuple, db.execute(_OF_EPOCHS.format(where=where), of))}
    told = {tuple(row[:3]): row[3:] for row in map(tuple, db.execute(f"SELECT * FROM told {where}", of))}
    found: dict[str, Sums] = {}
    for key in counted.keys() | told.keys():
        ours = _larger(counted.get(key, (0, 0, 0)), told.get(key, (0, 0)))
        found[key[0]] = Sums(*map(sum, zip(found.get(key[0], Sums()), ours, strict=True)))
    return found


def _of_epoch(db: sqlite3.Connection, key: Numbering) -> Sums:
    where = "gateway = ? AND lane = ? AND epoch = ?"
    query = f"SELECT coalesce(sum(read), 0), coalesce(sum(suppressed), 0), 0 FROM tally WHERE {where}"
    told = db.execute(f"SELECT read, suppressed FROM told WHERE {where}", key).fetchone()
    return _larger(db.execute(query, key).fetchone(), told or (0, 0))


def _larger(counted: Iterable[int], told: Iterable[int]) -> Sums:
    read, suppressed, stored = counted
    told_read, told_suppressed = told
    return Sums(max(read, told_read), max(suppressed, told_suppressed), stored)
