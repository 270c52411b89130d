"""The outbox at work as bench.parts.power.outbox_work has it, with one thing done wrong: what the rig must find.

`python -m tests.faults.broken_outbox FILE SEED STEPS BUG`
"""

import sqlite3
import sys
from typing import Any

from bench.parts.power import outbox_work
from edge import outbox_disk, outbox_file, outbox_tables
from edge.outbox_rows import Batch


class _Careless(sqlite3.Connection):
    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *arguments)


def _no_sync() -> None:
    """Nothing is ever written through."""
    real = sqlite3.connect
    outbox_disk.sqlite3.connect = lambda *args, **options: real(*args, factory=_Careless, **options)  # type: ignore[assignment]


def _two_transactions() -> None:
    """The devices' cursors are written after their packs."""
    put = outbox_tables.put_cursors
    write = outbox_file.OutboxFile.write

    def later(self: outbox_file.OutboxFile, batch: Batch) -> dict[str, int]:
        missed: list[tuple[object, ...]] = []
        outbox_tables.put_cursors = lambda _, rows: missed.extend(rows)
        freed = write(self, batch)
        outbox_tables.put_cursors = put
        with self._transaction():
            put(self._connection, missed)
        return freed

    outbox_file.OutboxFile.write = later  # type: ignore[method-assign]


def _folder_forgotten() -> None:
    """The folder that the files are in is not written through in its own."""
    outbox_disk.make_folder = lambda path: path.mkdir(parents=True, exist_ok=True)


def _tallies_forgotten() -> None:
    """The tallies are left out."""
    put = outbox_tables.put
    outbox_tables.put = lambda connection, table, rows: None if table == "tally" else put(connection, table, rows)


BUGS = {
    "no sync": _no_sync,
    "two transactions": _two_transactions,
    "folder forgotten": _folder_forgotten,
    "tallies forgotten": _tallies_forgotten,
}

if __name__ == "__main__":
    BUGS[sys.argv.pop()]()
    outbox_work.main()
