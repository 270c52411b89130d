"""The outbox's files on their disk: opened after whatever happened to them, and kept within their room.

    outbox.db            packs, and what must survive with them
    outbox.db-wal        SQLite's write-ahead log: what is committed, and not yet in the file
    outbox.db-reserve    bytes that nobody needs, to be given up when the disk is full
    outbox.db-copy       see outbox_copy
    outbox.db.TIME.damaged, outbox.db-wal.TIME.damaged    set aside, never deleted: see outbox_repair

The log and the reserve have their size from the beginning, so what is committed needs no new room but for new pages of
the file. When the disk is full those can still be written where the reserve was, after which the file grows no more
until the reserve can be had again: packs that give way make room within it.
"""

import contextlib
import errno
import os
import sqlite3
import time
from pathlib import Path

from edge import outbox_repair
from edge.outbox_copy import write_copy
from edge.outbox_tables import PAGE_BYTES, DamagedError
from runtime.files import make_folder, sync_folder, write_whole

LOG_BYTES = 1 << 18
_FRAME_BYTES = PAGE_BYTES + 24
_FULL_AGAIN_S = 10.0


class OutboxDisk:
    """The files of one outbox. `max_bytes` bounds the file, its log and the reserve together.

    spare_pages: kept free in the file, for the next commit.
    """

    spare_pages = 64

    def __init__(self, path: Path, *, max_bytes: int):
        self.path = path
        self.log = outbox_repair.log_of(path)
        self.reserve = path.with_name(f"{path.name}-reserve")
        self._most_pages = max(2 * self.spare_pages, (max_bytes - LOG_BYTES - LOG_BYTES) // PAGE_BYTES)
        self._file = -1
        self._full_s: float | None = None  # when the disk was found to be full, if the reserve is given up

    def open(self) -> sqlite3.Connection:
        """Make what is missing, and open the file. Raises sqlite3.Error, OSError or DamagedError."""
        make_folder(self.path.parent)
        outbox_repair.finish(self.path)
        if self._is_log_cut() or outbox_repair.is_log_damaged(self.path):
            raise DamagedError("its write-ahead log is not as it was written")
        with contextlib.ExitStack() as undo:
            # Before SQLite opens it, and closed after it: a process that closes a file loses its locks on it.
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            undo.callback(os.close, self._file)
            connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            undo.callback(connection.close)
            for setting in (
                f"page_size = {PAGE_BYTES}",
                "locking_mode = EXCLUSIVE",  # one gateway an outbox; and no shared memory, which a full disk breaks
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = OFF",  # Debian's SQLite else writes zeros over all that is let go
                f"wal_autocheckpoint = {LOG_BYTES // 2 // _FRAME_BYTES}",
                f"journal_size_limit = {LOG_BYTES}",
            ):
                connection.execute(f"PRAGMA {setting}")
            if not _allocate(self.log, LOG_BYTES):
                self.reserve.unlink(missing_ok=True)
                _allocate(self.log, LOG_BYTES)
            self._take_reserve(connection)
            sync_folder(self.path.parent)
            undo.pop_all()
        return connection

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the file."""
        connection.close()
        os.close(self._file)

    def room(self, connection: sqlite3.Connection) -> int:
        """How many pages more may be used by `max_bytes`."""
        return self._most_pages - used_pages(connection)

    def free(self, connection: sqlite3.Connection) -> int:
        """How many pages more can be used now. Takes the reserve again if it can be had."""
        if self._full_s is not None and time.monotonic() - self._full_s > _FULL_AGAIN_S:
            self._take_reserve(connection)
        return _pragma(connection, "max_page_count") - used_pages(connection)

    def was_full(self, connection: sqlite3.Connection) -> None:
        """A commit found no room where there should be some: the disk is full, and the file grows no more for now.

        Raises sqlite3.Error or OSError if not even the reserve helps.
        """
        self.reserve.unlink(missing_ok=True)
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if self._full_s is None:
            pages = _pragma(connection, "page_count")
            os.posix_fallocate(self._file, 0, pages * PAGE_BYTES)
            _pragma(connection, f"max_page_count = {pages}")
        self._full_s = time.monotonic()

    def repair(self, reason: str) -> None:
        """Salvage the file, which is not open. Raises sqlite3.Error or OSError."""
        outbox_repair.repair(self.path, reason)

    def set_aside(self, what: str, content: bytes) -> None:
        """Keep what is damaged in a file of its own, for inspection."""
        write_whole(outbox_repair.aside(self.path.with_name(f"{self.path.name}-{what}")), content)

    def write_copy(self, connection: sqlite3.Connection) -> None:
        """Write the copy beside the file anew. Raises OSError."""
        write_copy(self.path, connection)

    def _is_log_cut(self) -> bool:
        """Whether the log is shorter than it was made; without a reserve, the disk had no room for all of it."""
        return self.log.exists() and 0 < self.log.stat().st_size < LOG_BYTES and self.reserve.exists()

    def _take_reserve(self, connection: sqlite3.Connection) -> None:
        if _allocate(self.reserve, LOG_BYTES):
            self._full_s = None
            _pragma(connection, f"max_page_count = {self._most_pages}")
        else:
            self._full_s = time.monotonic()
            _pragma(connection, f"max_page_count = {_pragma(connection, 'page_count')}")


def used_pages(connection: sqlite3.Connection) -> int:
    """Pages that hold something."""
    return _pragma(connection, "page_count") - _pragma(connection, "freelist_count")


def _pragma(connection: sqlite3.Connection, text: str) -> int:
    value: int = connection.execute(f"PRAGMA {text}").fetchone()[0]
    return value


def _allocate(path: Path, size: int) -> bool:
    """See that the file has this size, all of it on the disk; False, and no larger file, if there is no room."""
    before = path.stat().st_size if path.exists() else 0
    if before >= size:
        return True
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(file, 0, size)
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        with contextlib.suppress(OSError):
            os.ftruncate(file, before)
        return False
    finally:
        os.close(file)
    return True
