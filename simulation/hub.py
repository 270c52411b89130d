"""The hub: its real intake, over a store that is a model: what it keeps, it keeps in one transaction or not at all."""

import copy
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.birth import Birth
from hub.errors import BirthError, UnknownAliasError
from hub.intake import Intake
from protocols import cursor, topics
from protocols.custody import Header, incarnation_of
from protocols.pack import Body, by_alias
from protocols.status import Status
from runtime.mqtt import Message
from simulation.network import Broker, Line, Session
from simulation.world import Node, World

if TYPE_CHECKING:
    from simulation.ledger import Ledger

_BATCH = 64  # messages a transaction, as ingest
_BIRTHS_AGAIN_MS = 2000


class Store:
    """A model of the store: cursors, aliases, tallies; what is in the packs is the ledger's to judge."""

    def __init__(self, node: Node, ledger: "Ledger"):
        self.full_until_ms = 0
        self._node = node
        self._ledger = ledger
        self._cursors: dict[tuple[str, str], dict[int, int]] = {}
        self._streams: dict[tuple[str, int], dict[int, tuple[str, str]]] = {}  # by incarnation, and there by alias
        self._packed: dict[tuple[str, str, int, str], int] = {}  # read - suppressed as of the last pack that came
        self._books: dict[tuple[str, str, int, str], int] = {}  # stored + declared lost
        self._unbooked: set[tuple[str, str, int]] = set()  # epochs of which packs came to a storage that was put back
        self._packs: list[tuple[str, str, Header, Body]] = []
        self._births: list[Birth] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept together, or not at all."""
        self._packs, self._births = [], []
        yield
        if self._node.world.now_ms < self.full_until_ms:
            raise sqlite3.OperationalError("database or disk is full")
        self._node.act()
        for birth in self._births:
            self._streams.setdefault((birth.gateway, birth.incarnation), {}).update(_streams(birth))
        for pack in self._packs:
            self._keep(*pack)
        self._node.act()

    def image(self) -> object:
        """All that is kept now."""
        return copy.deepcopy((self._cursors, self._streams, self._packed, self._books))

    def restore(self, image: object) -> None:
        """Have kept nothing since that image."""
        self._cursors, self._streams, self._packed, self._books = copy.deepcopy(image)  # type: ignore[misc]

    def cursors(self) -> dict[tuple[str, str], dict[int, int]]:
        """See hub.store.writing.Writer; so with all that follow."""
        return {sender: dict(stored) for sender, stored in self._cursors.items()}

    def kept(self, gateway: str, lane: str, epoch: int) -> int:
        """The highest seq that is on disk."""
        return self._cursors.get((gateway, lane), {}).get(epoch, 0)

    def count(self, counter: str, by: int = 1) -> None:
        """Counters prove nothing here."""

    def write_birth(self, birth: Birth) -> None:
        known = self._streams.get((birth.gateway, birth.incarnation), {})
        for stream in birth.streams:
            told = (stream.thing, stream.metric)
            if known.get(stream.alias, told) != told:
                raise BirthError(birth.gateway, f"alias {stream.alias} already stands for another stream")
        self._births.append(birth)

    def write_death(self, gateway: str) -> None:
        """It tells nothing of readings."""

    def write_status(self, gateway: str, status: Status, *, retained: bool) -> None:
        """It tells nothing that the packs do not."""

    def check_pack(self, gateway: str, header: Header, body: Body) -> None:
        key = (gateway, incarnation_of(header.epoch))
        known = dict(self._streams.get(key, {}))
        for birth in self._births:
            if (birth.gateway, birth.incarnation) == key:
                known.update(_streams(birth))
        aliases = [column.alias for column in body.columns]
        for row in body.rows:
            aliases += [alias for alias, _ in by_alias(row)]
        for alias in aliases:
            if alias not in known:
                raise UnknownAliasError(gateway, key[1], alias)

    def write_pack(self, gateway: str, lane: str, header: Header, body: Body) -> None:
        self._packs.append((gateway, lane, header, body))

    def write_skip(self, gateway: str, lane: str, epoch: int, *, first: int, last: int) -> None:
        """What is passed over is judged when the next one is kept."""

    def set_aside(self, gateway: str, lane: str, header: Header, message: bytes, reason: str) -> None:
        self._ledger.violated("once", f"the hub cannot read pack {self._node.world.place(header)}: {reason}")

    def _keep(self, gateway: str, lane: str, header: Header, body: Body) -> None:
        numbering = (gateway, lane, header.epoch)
        stored = self._cursors.setdefault((gateway, lane), {})
        before = stored.get(header.epoch, 0)
        stored[header.epoch] = max(before, header.seq)
        if header.first > before + 1:
            self._unbooked.add(numbering)
        lost = self._lost(numbering, header, body)
        streams = self._streams.get((gateway, incarnation_of(header.epoch)), {})
        come = Counter(lost)
        for column in body.columns:
            come[streams[column.alias][0]] += len(column.values)
        self._ledger.arrived(gateway, lane, header, body, streams=streams, lost=lost, before=before)
        for thing, (read, suppressed) in body.tallies.items():
            key = (*numbering, thing)
            self._packed[key] = read - suppressed
            self._books[key] = self._books.get(key, 0) + come[thing]
            if self._books[key] != self._packed[key] and numbering not in self._unbooked:
                self._ledger.violated(
                    "books",
                    f"of {thing} up to {lane} {self._node.world.place(header)} {self._packed[key]} readings were"
                    f" read and not suppressed, and {self._books[key]} are stored or lost",
                )

    def _lost(self, numbering: tuple[str, str, int], header: Header, body: Body) -> dict[str, int]:
        """See hub.store.accounts.not_stored."""
        lost = {}
        for thing, (count, _, _) in body.lost.items():
            between = count
            if header.first < header.seq:
                read, suppressed = body.tallies.get(thing, (0, 0))
                between = max(0, read - suppressed - self._packed.get((*numbering, thing), 0))
            if between:
                lost[thing] = min(count, between)
        return lost


class Hub(Node):
    """The machine, its ingest, and the session with its broker."""

    def __init__(self, world: World, ledger: "Ledger", broker: Broker):
        super().__init__(world, "hub")
        self.store = Store(self, ledger)
        self._ledger = ledger
        self._line = Line(world, "hub line", self, self, broker=broker, wants=_wanted, steady=True)
        self._broker = broker

    def boot(self) -> None:
        """A new session: everybody learns of it by the cursors."""
        self._intake = Intake(self.store, f"{self.world.chance.getrandbits(32):08x}")
        self._queue: list[Message] = []
        self._storing = False
        self._births_asked_ms = -_BIRTHS_AGAIN_MS
        self._line.dial()

    def halt(self) -> None:
        self._line.hang_up(None)

    def connected(self, session: Session) -> None:
        """Tell everybody what is stored."""
        self._session = session
        for topic, payload in self._intake.all_cursors().items():
            self._tell(topic, payload)

    def disconnected(self, session: Session) -> None:
        """What is being stored is stored all the same."""

    def received(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        """Into the queue."""
        self._queue.append(Message(topic, payload, retained))
        self._store_soon()

    def _store_soon(self) -> None:
        if self._queue and not self._storing:
            self._storing = True
            self.world.after(self.world.chance.randint(1, 10), self, self._take)

    def _take(self) -> None:
        batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
        answer = self._intake.take(batch)
        self._storing = False
        for topic, payload in answer.publish.items():
            self._tell(topic, payload)
        now = self.world.now_ms
        if answer.births_wanted and now - self._births_asked_ms > _BIRTHS_AGAIN_MS:
            self._births_asked_ms = now
            for topic, payload in self._broker.retained.items():
                if topic.endswith("/birth") and self._session.open:
                    self._session.deliver(topic, payload, retained=True)
        self._store_soon()

    def _tell(self, topic: str, payload: bytes) -> None:
        parsed = topics.parse(topic)
        if parsed.kind == "cursor":
            self._ledger.hub_says(parsed.sender, parsed.lane, payload)
        if self.world.trace is not None:
            self.world.note(self.name, self._said(parsed, payload))
        self.act()
        self._session.publish(topic, payload, retain=True)

    def _said(self, topic: topics.Topic, payload: bytes) -> str:
        if topic.kind == "cursor":
            return f"says {topic.lane} { ({self.world.epoch(e): seq for e, seq in cursor.decode(payload)[1].items()}) }"
        return f"says {topic.kind}"


def _wanted(topic: str) -> bool:
    parts = topic.split("/")
    return parts[0] == topics.GATEWAY and parts[2] in ("birth", "up")


def _streams(birth: Birth) -> dict[int, tuple[str, str]]:
    return {stream.alias: (stream.thing, stream.metric) for stream in birth.streams}
