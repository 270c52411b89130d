"""A gateway: its real pipeline, outbox, custody of devices, uplink and commands, on a machine that loses its power."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import sqlite_utils

from edge.clock import SteadyClock
from edge.command_file import CommandFile, CommandFileError
from edge.links import entrusted
from edge.links.base import Origin
from edge.outbox_file import OutboxError, OutboxFile
from edge.outbox_tables import PAGE_BYTES, migrations
from edge.pipeline import Pipeline, Timer
from hardware.catalogue import DeviceModel
from protocols import cursor, topics
from protocols.custody import STORE
from protocols.reading import GOOD, Reading
from protocols.topics import BULK, DEVICE, GATEWAY
from simulation.alarms import LEVEL, Watching
from simulation.commands import Commands
from simulation.disk import Database, OutboxDisk
from simulation.inventory import Inventory
from simulation.ledger import OWN, Ledger
from simulation.network import Broker, Line, Session
from simulation.outbox import Outbox
from simulation.sending import Sending
from simulation.uplink import Uplink
from simulation.world import Node, World

_FOR_EVER_MS = 1 << 50
_FILE = Path("on a virtual disk")
_NAME = {"en": "x", "zh": "x"}
NUMBERED, QUIET = "numbered", "quiet"  # metrics: each reading has its number as its value; `quiet` has a deadband
MODEL = DeviceModel.model_validate(
    {
        "device": {"model": "m", "maker": "-", "kind": "k", "link": "modbus", "name": _NAME},
        "modbus": {},
        "metrics": {
            NUMBERED: {"name": _NAME, "unit": "1", "register": {"table": "holding", "address": 0}},
            LEVEL: {"name": _NAME, "unit": "1", "register": {"table": "holding", "address": 2}},
            QUIET: {"name": _NAME, "unit": "1", "deadband": 1e9, "register": {"table": "holding", "address": 1}},
        },
    }
)


class Storage:
    """The disk of one gateway: what is left of it when its power is gone, or when another machine takes it over."""

    def __init__(self, node: Node, images: tuple[bytes, bytes], most_pages: int):
        self.outbox, self.commands = (Database.of(node, image) for image in images)
        self.outbox_disk = OutboxDisk(self.outbox, most_pages)

    def images(self) -> tuple[bytes, bytes]:
        """All that is on it."""
        return self.outbox.serialize(), self.commands.serialize()

    def fill(self, until_ms: int) -> None:
        """There is no room on it until then."""
        self.outbox_disk.fill(until_ms)
        self.commands.refuses_until_ms = until_ms

    def refuse(self, until_ms: int) -> None:
        """It takes no change until then."""
        self.outbox.refuses_until_ms = self.commands.refuses_until_ms = until_ms


@cache
def fresh() -> tuple[bytes, bytes]:
    """The disks of a new gateway, before its first start: made once, since it takes a while."""
    outbox, commands = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    outbox.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    migrations.apply(sqlite_utils.Database(outbox))
    CommandFile(_FILE, connect=lambda *_, **__: commands)
    return outbox.serialize(), commands.serialize()


class _Late:
    """A timer of the pipeline, see edge.pipeline.Timer."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Gateway(Node):
    """`devices`: who speaks to its broker. `place` tells two machines of one identity apart."""

    boot_errors = (sqlite3.Error, OutboxError, CommandFileError)

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        hub_broker: Broker,
        *,
        identity: str,
        place: str,
        devices: Sequence[str],
        most_pages: int,
        commit_ms: int,
    ):
        super().__init__(world, place)
        self.identity = identity
        self.storage = Storage(self, fresh(), most_pages)
        self.broker = Broker()  # of its devices
        self.broker.up = False
        self.line = Line(world, f"{place} line", self, self, broker=hub_broker, wants=self._wanted, client_id=identity)
        self._own_line = Line(
            world, f"{place} own broker", self, _Inside(self), broker=self.broker, wants=_is_up, steady=True
        )
        self._topics = tuple(f"{GATEWAY}/{identity}/{kind}" for kind in ("cursor/", "cmd", "refused"))
        self._ledger = ledger
        self._devices = devices
        self._most_pages = most_pages
        self._commit_ms = commit_ms
        self.inventory = Inventory(ledger, self)

    def boot(self) -> None:
        """Start the program over what is on the disk."""
        file = OutboxFile(_FILE, max_bytes=self._most_pages * PAGE_BYTES, disk=self.storage.outbox_disk)
        command_file = CommandFile(_FILE, connect=lambda *_, **__: self.storage.commands)
        self.inventory.started(file)
        self.watch = Sending(self._ledger, self)
        self.outbox = Outbox(self, file, self.inventory, commit_ms=self._commit_ms)
        self._entrusted = entrusted.Entrusted(self._devices, file.cursors())
        self._inside: Session | None = None
        self._session_id = f"{self.world.chance.getrandbits(32):08x}"
        clock = SteadyClock(lambda: self.world.now_ms * 1_000_000, lambda: self.wall_ms() * 1_000_000, lambda: True)
        self.clock = clock
        self.pipeline = Pipeline(
            self.outbox, dict.fromkeys((OWN, *self._devices), MODEL), clock=clock, later=self._later
        )
        self.outbox.on_committed.append(self._committed)
        orders = self._ledger.orders
        self.commands = Commands(self, command_file, orders, things={OWN, *self._devices}, clock=clock)
        self.uplink = Uplink(
            self,
            self.line,
            gateway=self.identity,
            outbox=self.outbox,
            pipeline=self.pipeline,
            commands=self.commands,
            watch=self.watch,
            incarnation=file.incarnation,
            clock=clock,
        )
        self.watching = Watching(self, OWN, file.kept())
        self.broker.up = True
        self.line.dial()
        self._own_line.dial()

    def halt(self) -> None:
        self.watch.halted()
        self.line.hang_up(None)
        self.broker.up = False
        for line in self.broker.lines:
            line.hang_up(None if line is self._own_line else self.world.chance.randint(0, 3000))

    def end(self) -> None:
        """The program is ended in order, and the power goes."""
        if self.alive:
            self.outbox.end()
            self.die()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be done."""
        return (
            self.inventory.empty
            and not self.outbox.state.buffered()
            and not self.pipeline.pending()
            and self.commands.is_idle
        )

    def become(self, images: tuple[bytes, bytes]) -> None:
        """Be a copy of another gateway."""
        self.storage = Storage(self, images, self._most_pages)

    def taken_away(self) -> None:
        """This machine and its disk are gone for ever."""
        self.cut_after(0, _FOR_EVER_MS)
        self.die()
        self.inventory.changed()
        self._ledger.gateway_changed([])

    def replace_storage(self, images: tuple[bytes, bytes] | None) -> None:
        """Another disk is put in, a new one or one of an old image. To be called while the power is off."""
        self.storage = Storage(self, images or fresh(), self._most_pages)
        self.inventory.changed()
        self._ledger.gateway_changed(self._devices)
        self._ledger.orders.storage_changed()

    def read(self, numbers: Sequence[int], metric: str, lane: str) -> None:
        """Hear something that nobody else has."""
        if self.alive:
            readings = [Reading(metric, number, "1", GOOD, self.clock()) for number in numbers]
            self.pipeline.take(OWN, readings, lane=lane)
            if metric == LEVEL:
                self.watching.look()

    # --- the line to the hub ---

    def connected(self, session: Session) -> None:
        """See simulation.network.Client; so with all that follow."""
        self.uplink.connected(session)

    def disconnected(self, session: Session) -> None:
        self.uplink.disconnected(session)

    def received(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        self.uplink.received(session, topic, payload)

    def _wanted(self, topic: str) -> bool:
        return topic.startswith(self._topics)

    # --- its devices; see edge.links.mqtt ---

    def take_over(self, topic: str, payload: bytes) -> None:
        """A device's pack."""
        if self.pipeline.full():
            return
        parsed = topics.parse(topic)
        device, lane = parsed.sender, parsed.lane
        pack = entrusted.decode(device, payload, self.clock())

        def take(origin: Origin) -> None:
            self._ledger.offered(origin, pack)
            if pack.lost:
                self.pipeline.lose(device, pack.lost, origin, lane=lane)
            else:
                self.pipeline.take(device, pack.readings, lane=lane, origin=origin)

        try:
            verdict = self._entrusted.offer(device, lane, pack.header, take)
        except sqlite3.Error:  # a new stream has no place on the disk: the link begins anew
            self._inside = None
            self._own_line.hang_up(0)
            return
        if verdict != STORE:
            self._answer()
        self.uplink.announce()

    def inside(self, session: Session | None) -> None:
        """The session with its own broker."""
        self._inside = session
        if session is not None:
            self._entrusted.answer_all()
            self._answer()

    def _committed(self, origins: Sequence[Origin]) -> None:
        self._entrusted.committed(origins)
        self._answer()

    def _answer(self) -> None:
        if self._inside is None:
            return
        for device, lane, stored in self._entrusted.answers():
            self.inventory.says(device, lane, stored)
            if self.world.trace is not None:
                told = {self.world.epoch(epoch): seq for epoch, seq in stored.items()}
                self.world.note(self.name, f"says to {device}: {told}")
            self.act()
            payload = cursor.encode(self._session_id, stored)
            self._inside.publish(topics.cursor(DEVICE, device, lane), payload, retain=True, done=_nothing)

    def _later(self, delay_s: float, call: Callable[[str], None], lane: str) -> Timer:
        late = _Late()
        self.world.after(int(delay_s * 1000), self, lambda: None if late.cancelled else call(lane))
        return late


class _Inside:
    """The gateway's own session with the broker of its devices."""

    def __init__(self, gateway: Gateway):
        self._gateway = gateway

    def connected(self, session: Session) -> None:
        self._gateway.inside(session)

    def disconnected(self, session: Session) -> None:
        self._gateway.inside(None)

    def received(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        self._gateway.take_over(topic, payload)


def _is_up(topic: str) -> bool:
    return topic.startswith(f"{DEVICE}/") and topic.endswith(f"/up/{BULK}")


def _nothing() -> None:
    """The broker has it."""
