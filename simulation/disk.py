"""Disks. SQLite runs in memory, with the power going between any two statements; flash is torn within a write.

A transaction is kept whole or not at all, whichever the moment was: SQLite promises it with synchronous=FULL, and the
fault laboratory tries it on real files. What may be forgotten is therefore what was not committed. A full disk is met
as SQLite meets it, by files that cannot grow; a broken one refuses every change.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

from edge.outbox_disk import used_pages
from hardware.sim.chips.norflash import NorFlash
from simulation.world import Node, PowerCut

_USUAL_MS, _SLOW_MS = (1, 15), (200, 3000)  # how long work takes
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Database(sqlite3.Connection):
    """A file that outlives the programs that open it."""

    node: Node
    refuses_until_ms = 0

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """As sqlite3 does, with an action before it."""
        self._write(sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """As sqlite3 does, with an action before it."""
        self._write(sql)
        return super().executemany(sql, *arguments)

    def __exit__(self, *error: Any) -> Any:
        """The commit: the power may go before it and after it."""
        if error[0] is None:
            try:
                self.node.act()
            except PowerCut:
                super().__exit__(PowerCut, None, None)
                raise
        answer = super().__exit__(*error)
        self.node.act()
        return answer

    def close(self) -> None:
        """The program lets go of it; the file stays."""

    def _write(self, sql: str) -> None:
        if sql.lstrip().startswith(_WRITES):
            if self.node.world.now_ms < self.refuses_until_ms:
                raise sqlite3.OperationalError("disk I/O error")
            if not self.in_transaction:  # a statement alone commits itself
                self.node.act()

    @classmethod
    def of(cls, node: Node, image: bytes) -> "Database":
        """A disk of this node with this content."""
        made = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None, factory=cls)
        made.node = node
        made.deserialize(image)
        return made


class OutboxDisk:
    """Where a gateway's outbox file is; see edge.outbox_disk. It may have `most_pages`, and none beyond while full."""

    spare_pages = 8

    def __init__(self, database: Database, most_pages: int):
        self.full_until_ms = 0
        self._database = database
        self._most_pages = most_pages

    def open(self) -> sqlite3.Connection:
        """The file, as it is."""
        self.free(self._database)
        return self._database

    def close(self, connection: sqlite3.Connection) -> None:
        """It stays."""

    def room(self, connection: sqlite3.Connection) -> int:
        """How many pages more may be used by our own bound."""
        return self._most_pages - used_pages(connection)

    def free(self, connection: sqlite3.Connection) -> int:
        """How many pages more can be used now."""
        if self._database.node.world.now_ms >= self.full_until_ms:
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
        (most,) = connection.execute("PRAGMA max_page_count").fetchone()
        return int(most) - used_pages(connection)

    def fill(self, until_ms: int) -> None:
        """From now until then no file may grow."""
        self.full_until_ms = until_ms
        self._stop_growing()

    def was_full(self, connection: sqlite3.Connection) -> None:
        """A commit found no room where there should be some: the file grows no more."""
        self._stop_growing()

    def repair(self, reason: str) -> None:
        """Nothing is ever damaged here."""
        raise AssertionError(f"the outbox is thought to be damaged: {reason}")

    def set_aside(self, what: str, content: bytes) -> None:
        """Nothing is ever damaged here."""
        raise AssertionError(f"{what} is thought to be damaged")

    def write_copy(self, connection: sqlite3.Connection) -> None:
        """It would be needed if something were damaged."""

    def _stop_growing(self) -> None:
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        self._database.execute(f"PRAGMA max_page_count = {pages}")


class Flash(NorFlash):
    """NOR flash of a node. When its power goes, a write or an erasure is done in part: some bits, and some not."""

    def __init__(self, node: Node, sectors: int, sector_bytes: int):
        super().__init__(sectors, sector_bytes=sector_bytes)
        self.node = node
        self.refuses_until_ms = 0
        self.watcher = self._changing

    def _changing(self, _flash: NorFlash, at: int, after: bytes) -> None:
        if self.node.world.now_ms < self.refuses_until_ms:
            raise OSError(5, "the flash does not answer")
        try:
            self.node.act()
        except PowerCut:
            self._tear(at, after)
            raise

    def _tear(self, at: int, after: bytes) -> None:
        chance = self.node.world.chance
        before = bytes(self.image[at : at + len(after)])
        how = chance.randrange(4)
        if how == 0:
            return
        if how == 1:
            cut = chance.randrange(len(after))
            self.image[at : at + cut] = after[:cut]
        elif how == 2:
            mask = chance.getrandbits(8 * len(after))
            mixed = (int.from_bytes(before, "little") & ~mask) | (int.from_bytes(after, "little") & mask)
            self.image[at : at + len(after)] = mixed.to_bytes(len(after), "little")
        else:
            self.image[at : at + len(after)] = after


class Worker:
    """A thread for the disk: one piece of work after another, each of which takes a while."""

    def __init__(self, node: Node):
        self._node = node
        self._work: list[tuple[Callable[[], Any], Callable[[Any], None], Callable[[sqlite3.Error], None]]] = []

    def do(self, call: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[sqlite3.Error], None]) -> None:
        """Have `call` done, and then hear of it."""
        self._work.append((call, then, failed))
        if len(self._work) == 1:
            self._begin()

    def finish(self) -> None:
        """Do at once what is to be done; nobody is there any more to hear of it."""
        work, self._work = self._work, []
        for call, _, _ in work:
            with contextlib.suppress(sqlite3.Error):
                call()

    def _begin(self) -> None:
        world = self._node.world
        took_ms = world.chance.randint(*(_SLOW_MS if world.now_ms < self._node.slow_until_ms else _USUAL_MS))
        world.after(took_ms, self._node, self._end)

    def _end(self) -> None:
        call, then, failed = self._work[0]
        try:
            found = call()
        except sqlite3.Error as error:
            failed(error)
        else:
            then(found)
        self._work.pop(0)
        if self._work:
            self._begin()
