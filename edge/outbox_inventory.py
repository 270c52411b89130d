"""What an outbox's file holds, read through once: it must have no holes."""

import sqlite3
from dataclasses import dataclass, field

from edge.holdings import Holdings
from edge.outbox_rows import Held, read_note
from edge.outbox_tables import DamagedError, notes, rows_of
from protocols.topics import LANES


@dataclass
class Inventory:
    """held: per lane, oldest epoch first; holdings: what is in it."""

    held: dict[str, list[Held]] = field(default_factory=lambda: {lane: [] for lane in LANES})
    holdings: Holdings = field(default_factory=Holdings)


def take_stock(connection: sqlite3.Connection) -> Inventory:
    """Find what is held. Raises DamagedError if packs are missing between the mark and the first, or between others."""
    found = Inventory()
    marks = {(lane, epoch): seq for lane, epoch, seq in rows_of(connection, "mark")}
    for lane, epoch, first, seq, note in notes(connection):
        held = found.held[lane]
        if not held or held[-1].epoch != epoch:
            begin = marks.get((lane, epoch), 0) + 1
            held.append(Held(epoch, begin, begin - 1, []))
        before = held[-1]
        if first != before.last + 1 and not (before.last < before.first and first <= before.first <= seq):
            raise DamagedError(f"after pack {epoch}/{before.last} of {lane} comes {first}: those between are gone")
        if first < seq:
            before.gaps.append((first, seq))
        held[-1] = before._replace(last=seq)
        found.holdings.found(lane, read_note(note)[0])
    return found
