"""The commands on disk: one SQLite file that remembers what was begun and how it ended, so that none is done twice."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import sqlite_utils

from edge.errors import EdgeError
from protocols.command import FINAL, QUEUED, STARTED, Request, Result, check_step

migrations = sqlite_utils.Migrations("commands")

# A command's key is forgotten this long after its expiry: told again, it would be refused as expired. One whose end the
# hub has not heard is kept for longer, since the line may be down.
_REMEMBERED_MS = 24 * 3_600_000
_UNTOLD_MS = 90 * _REMEMBERED_MS


class CommandFileError(EdgeError):
    """The file of commands cannot be used: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"commands {path}: {reason}")
        self.path = path
        self.reason = reason


@migrations()
def _create(db: sqlite_utils.Database) -> None:
    db.table("command").create(
        {
            "key": str, "thing": str, "command": str, "value": str, "expires_ms": int,
            "state": str, "reason": str, "found": str, "time_ms": int, "told": int,
        },
        pk="key",
        not_null={"thing", "command", "value", "expires_ms", "state"},
    )  # fmt: skip
    db.table("command").create_index(["told", "state"])


class CommandFile:
    """The SQLite file. Every method blocks on the disk and commits; all calls come from one thread at a time.

    `connect` opens it; a simulator has another disk.
    """

    def __init__(self, path: Path, *, connect: Callable[..., sqlite3.Connection] = sqlite3.connect):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = connect(path, check_same_thread=False, isolation_level=None)
            db = sqlite_utils.Database(self._connection)
            db.enable_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            migrations.apply(db)
        except sqlite3.Error as error:
            raise CommandFileError(path, str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def find(self, key: str) -> tuple[Request, Result | None] | None:
        """What was asked for by this key, and how it ended if it has."""
        row = self._connection.execute("SELECT * FROM command WHERE key = ?", (key,)).fetchone()
        return _read(row) if row else None

    def queue(self, request: Request) -> None:
        """Remember a new command."""
        self._connection.execute(
            "INSERT INTO command VALUES (?, ?, ?, ?, ?, ?, '', 'null', 0, 0)",
            (request.key, request.thing, request.command, json.dumps(request.value), request.expires_ms, QUEUED),
        )

    def start(self, key: str) -> None:
        """It is about to be carried out: whatever happens, not again."""
        self._step(key, STARTED)

    def end(self, result: Result) -> None:
        """It has ended."""
        self._step(result.key, result.state, result.reason, json.dumps(result.value), result.time_ms)

    def unfinished(self) -> list[tuple[Request, str]]:
        """What had not ended when the program did, oldest first, with its state."""
        query = f"SELECT * FROM command WHERE state IN ('{QUEUED}', '{STARTED}') ORDER BY rowid"
        return [(_read(row)[0], row[5]) for row in self._connection.execute(query)]

    def untold(self) -> list[Result]:
        """Results that the hub has not been told yet."""
        rows = self._connection.execute("SELECT * FROM command WHERE told = 0 ORDER BY rowid").fetchall()
        return [result for _, result in map(_read, rows) if result is not None]

    def tell(self, key: str) -> None:
        """The hub has been told."""
        self._connection.execute("UPDATE command SET told = 1 WHERE key = ?", (key,))

    def forget(self, now_ms: int) -> None:
        """Forget what ended, has been expired for a day, and has been told; what is untold after 90 days."""
        self._connection.execute(
            f"""DELETE FROM command WHERE state NOT IN ('{QUEUED}', '{STARTED}')
            AND (expires_ms < ? AND told OR expires_ms < ?)""",
            (now_ms - _REMEMBERED_MS, now_ms - _UNTOLD_MS),
        )

    def _step(self, key: str, state: str, reason: str = "", found: str = "null", time_ms: int = 0) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            (before,) = self._connection.execute("SELECT state FROM command WHERE key = ?", (key,)).fetchone()
            check_step(before, state)
            self._connection.execute(
                "UPDATE command SET state = ?, reason = ?, found = ?, time_ms = ? WHERE key = ?",
                (state, reason, found, time_ms, key),
            )


def _read(row: tuple[str, str, str, str, int, str, str, str, int, int]) -> tuple[Request, Result | None]:
    key, thing, command, value, expires_ms, state, reason, found, time_ms, _ = row[:10]
    request = Request(key, thing, command, json.loads(value), expires_ms)
    return request, Result(key, state, reason, json.loads(found), time_ms) if state in FINAL else None
