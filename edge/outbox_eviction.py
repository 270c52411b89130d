"""What gives way when the outbox is full: the oldest packs, urgent ones last; one gap record in the place of many."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge import outbox_tables
from edge.outbox_rows import Content, Row, gap_of
from protocols.topics import BULK, URGENT

_AT_ONCE = 256
_BYTES_AT_ONCE = 1 << 16

_HOLDS_NOTHING = "note LIKE '[0,%'"  # see outbox_rows: how many readings it holds comes first


@dataclass
class Evicted:
    """What gave way: lane and content of each pack; and runs (lane, epoch, first, last) that are one gap record now."""

    packs: list[tuple[str, Content]] = field(default_factory=list)
    runs: list[tuple[str, int, int, int]] = field(default_factory=list)


def oldest(connection: sqlite3.Connection) -> list[Row]:
    """Some of the oldest packs that hold readings, without their bodies, following one another; empty if none does."""
    query = (
        "SELECT epoch, first, seq, note, length(body) FROM pack"
        f" WHERE lane = ? AND NOT {_HOLDS_NOTHING} ORDER BY epoch, seq LIMIT {_AT_ONCE}"
    )
    for lane in (BULK, URGENT):
        rows: list[Row] = []
        size = 0
        for epoch, first, seq, note, length in connection.execute(query, (lane,)).fetchall():
            if rows and (size > _BYTES_AT_ONCE or (epoch, first) != (rows[-1].epoch, rows[-1].seq + 1)):
                break
            rows.append(Row(lane, epoch, first, seq, note, b""))
            size += len(note) + length
        if rows:
            return rows
    return []


def give_way(connection: sqlite3.Connection, rows: Sequence[Row], evicted: Evicted) -> None:
    """Put one gap record in the place of these packs, and of the gap records right before and behind them."""
    lane, epoch = rows[0].lane, rows[0].epoch
    before = _beside(connection, lane, epoch, "seq <= ? ORDER BY seq DESC", rows[0].first - 1)
    behind = _beside(connection, lane, epoch, "seq > ? ORDER BY seq", rows[-1].seq)
    gap = gap_of([*before, *rows, *behind])
    connection.execute(
        "DELETE FROM pack WHERE lane = ? AND epoch = ? AND seq BETWEEN ? AND ?", (lane, epoch, gap.first, gap.seq)
    )
    outbox_tables.put_packs(connection, [gap])
    evicted.packs += [(lane, row.content) for row in rows]
    evicted.runs.append(gap.key)


def _beside(connection: sqlite3.Connection, lane: str, epoch: int, where: str, seq: int) -> list[Row]:
    """The next pack there, if it is a gap record. What is held has no holes, so it is right beside."""
    query = f"SELECT first, seq, note FROM pack WHERE lane = ? AND epoch = ? AND {where} LIMIT 1"
    beside = connection.execute(query, (lane, epoch, seq)).fetchall()
    found = [Row(lane, epoch, first, last, note, b"") for first, last, note in beside]
    return [row for row in found if not row.readings]
