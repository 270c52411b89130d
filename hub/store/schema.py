"""The store's tables, and how they came to be. Every change is one more migration."""

import fcntl
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database, Migrations

from hub.errors import SetupError, StoreError

logger = logging.getLogger(__name__)

FILE = "readings.db"
_PAGE_BYTES = 8192  # a block of a few kilobytes fits in, and a hot row dirties little else
_CACHE_KB = 65_536
_LOG_PAGES = 8192  # 64 MB: what many transactions touch is copied out of the log once, not with each of them

migrations = Migrations("hub")

_FIRST = """
CREATE TABLE gateway (
    id TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, name_en TEXT NOT NULL, name_zh TEXT NOT NULL,
    state TEXT NOT NULL, changed_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- The youngest birth owns a thing: one that moves to another gateway keeps its streams and its history.
CREATE TABLE thing (
    id TEXT PRIMARY KEY, gateway TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, maker TEXT NOT NULL,
    name_en TEXT NOT NULL, name_zh TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, position INTEGER NOT NULL,
    born_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- A metric that changes its unit becomes a stream of its own; the one announced last is the current one. states: what
-- the codes of an enumeration mean, JSON, code -> names by language; empty of all else.
CREATE TABLE stream (
    id INTEGER PRIMARY KEY, thing TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL,
    name_en TEXT NOT NULL, name_zh TEXT NOT NULL, states TEXT NOT NULL, position INTEGER NOT NULL,
    current INTEGER NOT NULL, UNIQUE (thing, metric, unit)
);
CREATE INDEX stream_of_thing ON stream (thing, position);

CREATE TABLE alias (
    gateway TEXT NOT NULL, incarnation INTEGER NOT NULL, alias INTEGER NOT NULL, stream INTEGER NOT NULL,
    PRIMARY KEY (gateway, incarnation, alias)
) WITHOUT ROWID;

-- What has come lately: plain records of 64 neighbouring streams a row (see hot.py). id: when it came, in microseconds,
-- or one more than the row before: it keeps the order of arrival, and is no identity (that is the pack's). In the file
-- the rows lie in that order, with the shelves in an index: so a transaction fills pages, and touches few others.
CREATE TABLE hot (
    shelf INTEGER NOT NULL, id INTEGER NOT NULL, data BLOB NOT NULL, texts TEXT, PRIMARY KEY (shelf, id)
);

-- What is sealed: some of a stream's readings of one UTC day, in order of time (see block.py). Blocks of a day may
-- overlap; of equal times the one with the lower id came first. kept: the day has expired, but these are texts.
CREATE TABLE block (
    id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, day INTEGER NOT NULL, kept INTEGER NOT NULL,
    count INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX block_of_stream ON block (stream, day);

-- What is left of a day that has expired (see steps.py).
CREATE TABLE summary (
    stream INTEGER NOT NULL, day INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (stream, day)
);

-- value has no type: integer, real, text, NULL, and x'00' / x'01' for false and true. exponent: the value is a decimal
-- fraction known to 10^exponent. stored: readings that ever were. interval_ms: how far apart they usually lie.
CREATE TABLE latest (
    stream INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, value, exponent INTEGER, quality INTEGER NOT NULL,
    backfill INTEGER NOT NULL, stored INTEGER NOT NULL, interval_ms REAL NOT NULL
);

CREATE TABLE cursor (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (gateway, lane, epoch)
) WITHOUT ROWID;

-- read, suppressed: what packs say of their epoch; stored: what came of it. Epoch 0: all that were added up.
CREATE TABLE tally (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, thing TEXT NOT NULL,
    read INTEGER NOT NULL, suppressed INTEGER NOT NULL, stored INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (gateway, lane, epoch, thing)
) WITHOUT ROWID;

-- What statuses say of an epoch, over all things; of epoch 0 also what was added up of those that none spoke of.
CREATE TABLE told (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, read INTEGER NOT NULL,
    suppressed INTEGER NOT NULL, PRIMARY KEY (gateway, lane, epoch)
) WITHOUT ROWID;

CREATE TABLE added_up (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, upto INTEGER NOT NULL, PRIMARY KEY (gateway, lane)
) WITHOUT ROWID;

-- Each gateway's last status, without its counts and its past, and what was missing then.
CREATE TABLE status (
    gateway TEXT PRIMARY KEY, heard_ms INTEGER NOT NULL, missing INTEGER NOT NULL, message BLOB NOT NULL
) WITHOUT ROWID;

-- What gateways held, by the minute.
CREATE TABLE backlog (
    gateway TEXT NOT NULL, time_ms INTEGER NOT NULL, readings INTEGER NOT NULL, age_ms INTEGER NOT NULL,
    PRIMARY KEY (gateway, time_ms)
) WITHOUT ROWID;

CREATE TABLE lost (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, thing TEXT NOT NULL,
    count INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
    PRIMARY KEY (gateway, lane, epoch, seq, thing)
) WITHOUT ROWID;

-- Packs from..upto of an epoch were taken over by a store that is no more, and are not here: a backup was restored.
CREATE TABLE skipped (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, from_seq INTEGER NOT NULL,
    upto_seq INTEGER NOT NULL, found_ms INTEGER NOT NULL, PRIMARY KEY (gateway, lane, epoch, from_seq)
) WITHOUT ROWID;

CREATE TABLE restored (backup_ms INTEGER NOT NULL, restored_ms INTEGER NOT NULL);

-- Packs of a good header whose body cannot be read: kept as they came, so that their lane goes on and nothing is lost.
CREATE TABLE set_aside (
    gateway TEXT NOT NULL, lane TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, stored_ms INTEGER NOT NULL,
    reason TEXT NOT NULL, message BLOB NOT NULL, PRIMARY KEY (gateway, lane, epoch, seq)
);

-- Alarms, of gateways and of the hub's own rules: the last change of each that has come. origin: the gateway that
-- evaluates it, empty for the hub. value: JSON.
CREATE TABLE alarm (
    rule TEXT NOT NULL, thing TEXT NOT NULL, onset_ms INTEGER NOT NULL, origin TEXT NOT NULL, number INTEGER NOT NULL,
    state TEXT NOT NULL, priority TEXT NOT NULL, version INTEGER NOT NULL, changed_ms INTEGER NOT NULL,
    metric TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (rule, thing, onset_ms)
) WITHOUT ROWID;
CREATE INDEX alarm_by_time ON alarm (onset_ms);
CREATE INDEX alarm_open ON alarm (origin) WHERE state != 'cleared';

-- All changes of each; who: who did it, empty if nobody.
CREATE TABLE alarm_change (
    rule TEXT NOT NULL, thing TEXT NOT NULL, onset_ms INTEGER NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
    time_ms INTEGER NOT NULL, who TEXT NOT NULL, PRIMARY KEY (rule, thing, onset_ms, number)
) WITHOUT ROWID;

-- Who was to be told since nobody acknowledged; people: JSON.
CREATE TABLE alarm_escalation (
    rule TEXT NOT NULL, thing TEXT NOT NULL, onset_ms INTEGER NOT NULL, step INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    people TEXT NOT NULL, PRIMARY KEY (rule, thing, onset_ms, step, time_ms)
) WITHOUT ROWID;

-- The rules that are in force, as those who evaluate them last said.
CREATE TABLE alarm_rule (
    origin TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, priority TEXT NOT NULL, name_en TEXT NOT NULL,
    name_zh TEXT NOT NULL, PRIMARY KEY (origin, id)
) WITHOUT ROWID;

-- What the hub's own rules have to remember of each thing: JSON.
CREATE TABLE alarm_kept (
    rule TEXT NOT NULL, thing TEXT NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (rule, thing)
) WITHOUT ROWID;

-- Of each gateway the start of its program whose alarms were last set against these.
CREATE TABLE alarm_origin (origin TEXT PRIMARY KEY, instance TEXT NOT NULL) WITHOUT ROWID;

-- What became of messages: births, packs by verdict, refused ones.
CREATE TABLE counter (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;

-- In the order of latencies, of which a transaction brings few, but of many things.
CREATE TABLE lag (
    thing TEXT NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (bucket, thing)
) WITHOUT ROWID;
"""


@migrations()
def readings_and_their_custody(db: Database) -> None:
    """The first tables. Not by executescript, which would commit the migration's transaction."""
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            db.execute(statement)


@migrations()
def events(db: Database) -> None:
    """What has happened, for those who follow it (see events.py)."""
    db.execute(
        "CREATE TABLE event (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, thing TEXT NOT NULL, content TEXT NOT NULL)"
    )


def prepare(data: Path) -> Path:
    """Make or migrate the store in this directory; several processes may do so at once. Returns the file.

    Raises SetupError if it is of a newer version, StoreError if it cannot be used; it is never made anew.
    """
    data.mkdir(parents=True, exist_ok=True)
    try:
        with (data / "migrate.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _check_log(data / FILE)
            with closing(connect(data / FILE)) as connection:
                migrations.apply(Database(connection))
                newer = unknown_migrations(connection)
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error
    if newer:
        raise SetupError(f"{data / FILE} is of a newer version of the hub, which knows {', '.join(newer)}")
    return data / FILE


def _check_log(file: Path) -> None:
    """Raises StoreError if the file is gone or empty and its log is not: SQLite would delete that, too."""
    log = file.with_name(f"{file.name}-wal")
    if _size(log) and not _size(file):
        raise StoreError("its file is gone or empty, but its log is there")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def prepare_if_possible(data: Path) -> None:
    """As `prepare`; a store that cannot be used is only reported: the hub comes up all the same, and says so."""
    try:
        prepare(data)
    except StoreError as error:
        logger.error("%s cannot be used, and is left as it is: %s", data / FILE, error.reason)


def unknown_migrations(db: sqlite3.Connection) -> list[str]:
    """Migrations of this store that are not ours: a newer version has made them."""
    with closing(sqlite3.connect(":memory:")) as empty:
        ours = {migration.name for migration in migrations.pending(Database(empty))}
    return [one.name for one in migrations.applied(Database(db)) if one.name not in ours]


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with the store's settings; transactions are begun and ended by the caller."""
    mode = "ro" if readonly else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=10
    )
    connection.row_factory = sqlite3.Row
    if not readonly:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # has an effect on a new file only
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = FAST")  # what has become free is not written once more
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    return connection
