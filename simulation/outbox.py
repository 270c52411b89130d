"""The outbox of a simulated gateway: what edge.outbox does with a thread and a loop, by a worker and events.

The decisions (edge.outbox_state) and the file (edge.outbox_file) are the real ones.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge import outbox_state
from edge.links.base import Origin
from edge.outbox_eviction import Evicted
from edge.outbox_file import OutboxFile
from edge.outbox_rows import Batch, Content
from protocols.custody import Header
from protocols.pack import Body
from protocols.topics import LANES
from simulation.disk import Worker
from simulation.world import Node

if TYPE_CHECKING:
    from simulation.inventory import Inventory

_RETRY_MS = 1000
_DEVICE_WAITS_MS = 250


class Outbox:
    """See edge.outbox.Outbox. `inventory`: the ledger's account of this disk; `due` is called when one may be sent."""

    def __init__(self, node: Node, file: OutboxFile, inventory: "Inventory", *, commit_ms: int):
        self.state = outbox_state.OutboxState(
            file.next_epoch(),
            held={lane: file.held(lane) for lane in LANES},
            holdings=file.holdings(),
            tallies=file.tallies(),
            commit_ms=commit_ms,
        )
        self.tally = self.state.tally
        self.senders = self.state.senders
        self.streams = {alias: (thing, metric, unit) for alias, thing, metric, unit in file.streams()}
        self.disk = Worker(node)
        self.due: Callable[[], None] = lambda: None
        self.on_committed: list[Callable[[Sequence[Origin]], None]] = []
        self._before_commit: list[Callable[[], None]] = []
        self._node = node
        self._file = file
        self._inventory = inventory
        self._commit_ms = commit_ms
        self._asked_ms: int | None = None
        self._epoch_wanted = False
        self._busy = False
        self._pauses = 0
        self._may_be_pressed = False
        self._rings_ms: int | None = None
        inventory.opened(self.state.epoch)

    def before_commit(self, call: Callable[[], None]) -> None:
        """See edge.outbox; so with all that follow."""
        self._before_commit.append(call)

    def commit_soon(self, *, urgent: bool) -> None:
        self._commit_within(0 if urgent else min(_DEVICE_WAITS_MS, self._commit_ms))

    def commit_in_turn(self) -> None:
        self._commit_within(self._commit_ms)

    def ready(self, lane: str) -> bool:
        return self.senders[lane].ready()

    def keep(self, key: str, value: str | None) -> None:
        self.state.keep(key, value)
        self.commit_in_turn()

    @property
    def full(self) -> bool:
        return self.state.full

    def alias(self, thing: str, metric: str, unit: str) -> int:
        alias = self._file.alias(thing, metric, unit)
        self.streams[alias] = (thing, metric, unit)
        return alias

    def append(self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = ()) -> None:
        self._inventory.packed(lane, self.state.epoch, body, origins)
        if self.state.append(lane, body, content, origins, now_ms=self._node.world.now_ms):
            self.due()
        if self._may_be_pressed and self.state.full:
            self._go_on()
        self._changed()

    def cursor(self, lane: str, session: str, stored: dict[int, int]) -> None:
        if self.state.cursor(lane, session, stored, self._node.world.now_ms):
            self.open_epoch()
        self._changed()
        self.due()

    def line_up(self, *, after_outage: bool) -> None:
        if after_outage:
            self.open_epoch()
        self.state.line_up(after_outage=after_outage)
        self.due()

    def open_epoch(self) -> None:
        self._epoch_wanted = True
        self._commit_within(0)

    def at_hand(self, lane: str, header: Header) -> bool:
        return self.state.body((lane, header.epoch, header.first, header.seq)) is not None

    def body(self, lane: str, header: Header, then: Callable[[bytes | None], None]) -> None:
        key = (lane, header.epoch, header.first, header.seq)
        body = self.state.body(key)
        if body is not None:
            then(body)
        else:
            self.disk.do(lambda: self._file.body(*key), then, lambda _: then(None))

    def end(self) -> None:
        """The program ends in order: what the disk is doing is done, and then what is left is written."""
        self.disk.finish()
        for call in self._before_commit:
            call()
        try:
            for batch in self.state.last():
                self._inventory.begins(batch)
                self._write(batch)
        except sqlite3.Error:
            return

    def _commit_within(self, time_ms: int) -> None:
        at_ms = self._node.world.now_ms + time_ms
        self._asked_ms = at_ms if self._asked_ms is None else min(self._asked_ms, at_ms)
        self._changed()

    def _changed(self) -> None:
        """When to commit may have changed."""
        if self._busy:
            return
        times = [time for time in (self._asked_ms, self.state.commit_due_ms()) if time is not None]
        if times and (self._rings_ms is None or min(times) < self._rings_ms):
            self._rings_ms = max(min(times), self._node.world.now_ms)
            self._node.world.at(self._rings_ms, self._node, self._ring)

    def _ring(self) -> None:
        now = self._node.world.now_ms
        if self._busy or self._rings_ms is None or now < self._rings_ms:
            return
        self._rings_ms = None
        times = [time for time in (self._asked_ms, self.state.commit_due_ms()) if time is not None]
        if times and min(times) <= now:
            self._begin()
        else:
            self._changed()

    def _begin(self) -> None:
        self._asked_ms = None
        self._busy = True
        if self._epoch_wanted:
            self.disk.do(self._file.next_epoch, self._open, lambda _: self._commit())
        else:
            self._commit()

    def _open(self, epoch: int) -> None:
        self._epoch_wanted = False
        self._inventory.opened(epoch)
        self.state.open(epoch)
        self._commit()

    def _commit(self) -> None:
        for call in self._before_commit:
            call()
        batch = self.state.begin()
        self._inventory.begins(batch)
        self.disk.do(
            lambda: self._write(batch), lambda freed: self._committed(batch, freed), lambda _: self._failed(batch)
        )

    def _write(self, batch: Batch) -> list[tuple[str, Content]]:
        freed = self._file.write(batch)
        self._inventory.written(batch)
        world = self._node.world
        if world.trace is not None:
            packs = [f"{row.lane} {world.epoch(row.epoch)}/{row.seq}" for row in batch.rows]
            released = [f"{lane} {world.epoch(epoch)}/{seq}" for (lane, epoch), seq in batch.releases.items()]
            world.note(self._node.name, f"commits {', '.join(packs) or 'no pack'}; releases {', '.join(released)}")
        return freed

    def _committed(self, batch: Batch, freed: list[tuple[str, Content]]) -> None:
        self.state.committed(batch, freed)
        if not self.state.uncommitted():
            self._inventory.all_written()
        self.due()
        if origins := batch.origins:
            for tell in self.on_committed:
                tell(origins)
        self.disk.do(self._evict, self._made_room, lambda _: self._go_on())

    def _evict(self) -> Evicted:
        return self._file.evict(pressed=self.state.full)

    def _made_room(self, evicted: Evicted) -> None:
        self._gave_way(evicted)
        self._inventory.check_books(self._file, self.state)
        self._go_on()

    def _failed(self, batch: Batch) -> None:
        self.state.failed(batch)
        self.due()
        full = self.state.full
        self.disk.do(self._evict, lambda evicted: self._try_again(evicted, full=full), lambda _: self._pause(full=full))

    def _try_again(self, evicted: Evicted, *, full: bool) -> None:
        self._gave_way(evicted)
        if evicted.runs:
            self._go_on()
        else:
            self._pause(full=full)

    def _gave_way(self, evicted: Evicted) -> None:
        self.state.gave_way(evicted)
        if evicted.runs:
            self._inventory.rescan()

    def _pause(self, *, full: bool) -> None:
        """After a commit that failed; shorter if soon packs will have to give way."""
        self._pauses += 1
        self._may_be_pressed = not full
        pause = self._pauses
        self._node.world.after(_RETRY_MS, self._node, lambda: self._go_on() if pause == self._pauses else None)

    def _go_on(self) -> None:
        self._pauses += 1
        self._may_be_pressed = False
        self._busy = False
        self._changed()
