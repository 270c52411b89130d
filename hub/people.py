"""people.db: what people do about alarms, and what they are told of them; several processes may write it."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database, Migrations

from hub.errors import StoreError
from hub.store.schema import connect

FILE = "people.db"

migrations = Migrations("people")


@migrations()
def deeds_about_alarms(db: Database) -> None:
    """What people do: see deeds.py."""
    db.execute(
        """
        CREATE TABLE deed (
            id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, rule TEXT NOT NULL, thing TEXT NOT NULL,
            onset_ms INTEGER NOT NULL, seconds INTEGER NOT NULL, comment TEXT NOT NULL, who TEXT NOT NULL,
            time_ms INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX deed_of_alarm ON deed (rule, thing, onset_ms)")
    db.execute("CREATE INDEX deed_queued ON deed (id) WHERE state = 'queued'")


@migrations()
def notices(db: Database) -> None:
    """What people are told: see notify/outbox.py."""
    db.execute(
        """
        CREATE TABLE notice (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, person TEXT NOT NULL, channel TEXT NOT NULL,
            rule TEXT NOT NULL, thing TEXT NOT NULL, onset_ms INTEGER NOT NULL, made_ms INTEGER NOT NULL,
            until_ms INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL,
            next_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, reason TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX notice_by_state ON notice (state, next_ms)")
    db.execute("CREATE INDEX notice_of_alarm ON notice (rule, thing, onset_ms)")
    db.execute("CREATE TABLE notice_cursor (upto INTEGER NOT NULL)")
    db.execute("INSERT INTO notice_cursor VALUES (0)")


class PeopleFile:
    """The file of one hub."""

    def __init__(self, data: Path):
        self._data = data
        self._prepared = False

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection; the tables are there. Raises StoreError if the file cannot be used."""
        try:
            with closing(connect(self._data / FILE)) as db:
                if not self._prepared:
                    self._prepare(db)
                yield db
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        with (self._data / "people.lock").open("w") as lock:  # several processes may come upon a new file at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            migrations.apply(Database(db))
        self._prepared = True
