"""Whether a store is whole: SQLite's own check, and the checksum of everything that is sealed. It only reads."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from hub.errors import DamagedBlockError, StoreError
from hub.store import block, steps
from hub.store.readings import DAY_MS, RECORD
from hub.store.schema import FILE, connect

_BLOCKS = "SELECT stream, day, count, data FROM block"
_SUMMARIES = "SELECT stream, day, data FROM summary"
_NAME = "SELECT thing || ' ' || metric FROM stream WHERE id = ?"


def problems(data: Path) -> Iterator[str]:
    """What is wrong, one sentence each; nothing if the store is whole. Raises StoreError if it cannot be opened.

    It may be done while the hub runs; that then works on, but its log grows until this has ended.
    """
    try:
        with closing(connect(data / FILE, readonly=True)) as db:
            db.execute("BEGIN")
            yield from (found for (found,) in db.execute("PRAGMA quick_check") if found != "ok")
            for stream, day, count, content in db.execute(_BLOCKS):
                if not _is_block(content, stream, day, count):
                    yield f"{_where(db, stream, day)}: a block of {count} readings is damaged"
            for stream, day, content in db.execute(_SUMMARIES):
                if not _is_summary(content, stream, day):
                    yield f"{_where(db, stream, day)}: the steps that are left of it are damaged"
            for shelf, size in db.execute("SELECT shelf, length(data) FROM hot"):
                if size % RECORD.itemsize:
                    yield f"shelf {shelf}: a row of what has come lately is damaged"
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error


def _is_block(content: bytes, stream: int, day: int, count: int) -> bool:
    try:
        times = block.decode(content, stream, day).records["time_ms"]
    except DamagedBlockError:
        return False
    return len(times) == count and bool((times // DAY_MS == day).all())


def _is_summary(content: bytes, stream: int, day: int) -> bool:
    try:
        return bool((steps.decode(content, stream, day).begins_ms // DAY_MS == day).all())
    except DamagedBlockError:
        return False


def _where(db: sqlite3.Connection, stream: int, day: int) -> str:
    (name,) = db.execute(_NAME, (stream,)).fetchone() or (f"stream {stream}",)
    return f"{name}, {datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"
