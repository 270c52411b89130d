"""A copy, beside the outbox, of the little that no pack can tell: what aliases stand for, and which numbers were given.

It is written whole each time, which is seldom: when there is a new stream or epoch. Only salvage reads it.
"""

import json
import sqlite3
from pathlib import Path
from zlib import crc32

from edge.outbox_salvage import State
from edge.outbox_tables import TABLES, rows_of
from runtime.files import write_whole

_COPIED = ("meta", "stream")


def copy_path(path: Path) -> Path:
    """Where the copy of the outbox of this path is."""
    return path.with_name(f"{path.name}-copy")


def write_copy(path: Path, connection: sqlite3.Connection) -> None:
    """Write the copy of the outbox of this path. Raises OSError."""
    text = json.dumps({table: rows_of(connection, table) for table in _COPIED}, separators=(",", ":"))
    write_whole(copy_path(path), f"{crc32(text.encode()):08x} {text}\n".encode())


def read_copy(path: Path) -> State | None:
    """What the copy says, None if there is none or it is damaged too."""
    try:
        known, _, text = copy_path(path).read_text(encoding="utf-8").strip().partition(" ")
        if int(known, 16) != crc32(text.encode()):
            return None
        found = json.loads(text)
    except (OSError, ValueError):
        return None
    return {
        table: {tuple(row[: TABLES[table][1]]): tuple(row[TABLES[table][1] :]) for row in found[table]}
        for table in _COPIED
    }
