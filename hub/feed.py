"""What happens, as it happens, for any number of clients: one look at the store serves them all.

Alarms, escalations and gateways are events: each is told, in the order in which it was stored. A stream's value is a
state: the newest is told at the beginning and when it has changed; what lay between two looks is in the history.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from hub.errors import StoreError
from hub.store.events import KEPT_MS, Event, EventLog
from hub.store.querying import Point, Querying, StreamNow
from hub.store.schema import FILE, connect
from hub.store.writing import now_ms
from hub.values import exact_text, plain
from protocols.alarm import METRIC
from protocols.reading import quality_name

logger = logging.getLogger(__name__)

MAX_CLIENTS = 500
QUEUE = 1000  # messages that wait for one client; one for whom more would is let go, and told why
ALIVE_S = 15.0
_LOOK_S = 0.05
_VALUES_S = 0.25
_FAILED_S = 1.0
_EVENTS = 500  # at a time

BEGIN = "begin"
READING = "reading"
END = "end"
_ALIVE = b": alive\n\n"


def message(kind: str, content: object, event: int | None = None) -> bytes:
    """As it travels: a server-sent event (WHATWG HTML, 9.2.6)."""
    head = f"id: {event}\n" if event is not None else ""
    return f"{head}event: {kind}\ndata: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


class Client:
    """Who listens. things: those that it asked for; empty: all, but without values. upto: the last event before."""

    def __init__(self, things: Iterable[str], upto: int):
        self.things = frozenset(things)
        self.upto = upto
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self.slow = False

    def wants(self, thing: str) -> bool:
        """Whether what happens to this thing is told."""
        return not self.things or thing in self.things

    def put(self, made: bytes) -> None:
        """Tell it, if it keeps up."""
        try:
            self.queue.put_nowait(made)
        except asyncio.QueueFull:
            self.slow = True


class Feed:
    """The feed of one hub. `run` looks while anybody listens; `listen` is one client's messages."""

    def __init__(self, data: Path):
        self._file = data / FILE
        self._log = EventLog(data)
        self._store = Querying(data)
        self._clients: set[Client] = set()
        self._wanted = asyncio.Event()
        self._upto = 0
        self._seen: dict[int, Point] = {}  # by stream: the value that was told last
        self.let_go = 0

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._clients)

    @asynccontextmanager
    async def running(self, app: object = None) -> AsyncIterator[None]:
        """Look while this is entered; a lifespan of the application."""
        task = asyncio.create_task(self.run(), name="feed")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._look_on()
            except (StoreError, sqlite3.Error) as error:
                logger.error("the event feed waits, the store cannot be read: %s", error)
                await asyncio.sleep(_FAILED_S)

    async def ready(self) -> None:
        """Raises StoreError if the store cannot be read."""
        await asyncio.to_thread(self._log.newest)

    async def listen(self, things: Iterable[str], after: int | None) -> AsyncGenerator[bytes, None]:
        """Messages for a client that has heard everything up to the event `after`; None: it wants only what is new.

        Raises StoreError if the store cannot be read as it begins.
        """
        newest = await asyncio.to_thread(self._log.newest)
        if not self._clients:
            self._upto = newest  # nobody has looked for some time
        client = Client(things, self._upto)
        self._clients.add(client)
        self._wanted.set()
        try:
            missed = after is not None and after < (now_ms() - KEPT_MS) * 1000
            yield message(BEGIN, {"missed": missed}, client.upto if after is None else after)
            async for made in self._earlier(client, after):
                yield made
            if client.things:
                for stream in await asyncio.to_thread(self._store.streams, *client.things):
                    if stream.latest and stream.metric != METRIC:
                        yield _reading(stream, stream.latest)
            while not client.slow:
                try:
                    async with asyncio.timeout(ALIVE_S):
                        yield await client.queue.get()
                except TimeoutError:
                    yield _ALIVE
            self.let_go += 1
            yield message(END, {"reason": f"too slow: more than {QUEUE} messages waited"})
        finally:
            self._clients.discard(client)
            if not self._clients:
                self._wanted.clear()

    async def _earlier(self, client: Client, after: int | None) -> AsyncIterator[bytes]:
        """What the store has of after, up to what is told as it happens."""
        while after is not None and after < client.upto:
            found = await asyncio.to_thread(self._log.after, after, _EVENTS)
            for event in found:
                if event.id <= client.upto and client.wants(event.thing):
                    yield message(event.kind, event.content, event.id)
            after = found[-1].id if found else None

    async def _look_on(self) -> None:
        """Look at what changes until nobody listens."""
        loop = asyncio.get_running_loop()
        version, values_at = -1, 0.0
        changed = False  # since the values were last looked at
        with closing(await asyncio.to_thread(connect, self._file, readonly=True)) as db:
            while self._clients:
                now = db.execute("PRAGMA data_version").fetchone()[0]  # read from shared memory: microseconds
                if now != version:
                    version, changed = now, True
                    while found := await asyncio.to_thread(self._log.after, self._upto, _EVENTS):
                        self._tell(found)
                if changed and loop.time() - values_at > _VALUES_S:
                    values_at, changed = loop.time(), False
                    await self._look_at_values()
                await asyncio.sleep(_LOOK_S)
        self._seen.clear()

    def _tell(self, found: list[Event]) -> None:
        for event in found:
            made = message(event.kind, event.content, event.id)
            for client in self._clients:
                if event.id > client.upto and client.wants(event.thing):
                    client.put(made)
        self._upto = found[-1].id

    async def _look_at_values(self) -> None:
        wanted = set[str]().union(*(client.things for client in self._clients))
        streams = await asyncio.to_thread(self._store.streams, *wanted) if wanted else []
        for stream in streams:
            if stream.latest and stream.latest != self._seen.get(stream.id) and stream.metric != METRIC:
                self._seen[stream.id] = stream.latest
                made = _reading(stream, stream.latest)
                for client in self._clients:
                    if stream.thing in client.things:
                        client.put(made)


def _reading(stream: StreamNow, point: Point) -> bytes:
    said = {
        "thing": stream.thing,
        "metric": stream.metric,
        "unit": stream.unit,
        "time_ms": point.time_ms,
        "value": plain(point.value),
        "text": exact_text(point.value, point.exponent),
        "quality": point.quality,
        "quality_name": quality_name(point.quality),
        "backfill": point.backfill,
    }
    return message(READING, said)
