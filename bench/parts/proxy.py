"""A TCP proxy that does to connections what lines do: delays, cuts, half-open ends, writes cut short, silence."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from bench.parts.tls_records import Answers

# What a line can do to its connections. The bytes of those that lose any are never right again: they end with `heal`.
FAULTS = (
    "delay",  # everything is late
    "reset",  # connections end at once; new ones are let through
    "partial",  # the next bytes are cut in the middle, then the connection ends
    "refuse",  # connections end at once, and there are no new ones
    "silence",  # nothing goes through, and nobody hears of it
    "deaf",  # the client's bytes get lost, the server's arrive
    "mute",  # the server's bytes get lost, the client's arrive
)
_CHUNK = 65_536


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lossy: bool = False
    dead: bool = False  # nothing goes through any more, and neither end hears of the other's
    answers: Answers | None = None  # what passes of the server's, if not all

    def abort(self) -> None:
        """RST on both sides: what is under way is lost."""
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass
class Proxy:
    """Listens on `port` and connects each client to `target` on the same host, through one `fault` at a time."""

    port: int
    target: int
    delay_s: float = 0.5
    fault: str = ""
    sent: int = 0  # bytes from clients to the target
    answers: int | None = None  # the next connection dies after so many TLS records that the server's program sends
    died: asyncio.Event = field(default_factory=asyncio.Event)  # it has
    _connections: set[_Connection] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _healed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "Proxy":
        self._healed.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def inflict(self, fault: str) -> None:
        """From now on the line does this, till `heal`."""
        self.fault = fault
        if fault == "silence":
            self._healed.clear()
        if fault in ("reset", "refuse"):
            self._cut()

    def heal(self) -> None:
        """The line is well again."""
        self.fault = ""
        self._healed.set()
        for connection in self._connections:
            if connection.lossy:
                connection.abort()

    def abandon(self) -> None:
        """The present connections are half open from now on: dead, and nobody is told. New ones are well."""
        for connection in self._connections:
            connection.dead = True

    def cut_answers(self, records: int) -> None:
        """End the present connections; the next one dies, without a word, after so many answers over TLS."""
        self.answers = records
        self.died.clear()
        self._cut()

    def _cut(self) -> None:
        for connection in self._connections:
            connection.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="proxy")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with contextlib.ExitStack() as ends:
            ends.callback(client.transport.abort)
            await self._healed.wait()
            if self.fault == "refuse":
                return
            try:
                from_server, server = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                return
            connection = _Connection(client, server)
            if self.answers is not None:
                connection.answers, self.answers = Answers(self.answers), None
            ends.callback(connection.abort)
            self._connections.add(connection)
            ends.callback(self._connections.discard, connection)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, server, connection, lost_by="deaf"))
                tasks.create_task(self._pump(from_server, client, connection, lost_by="mute"))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, *, lost_by: str
    ) -> None:
        """One direction, until either end is gone."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._healed.wait()
                if writer is connection.server:
                    self.sent += len(data)
                if writer is connection.client and connection.answers and not connection.dead:
                    data, whole = connection.answers.passed(data), data
                    if data != whole:
                        writer.write(data)
                        connection.dead = True
                        self.died.set()
                if connection.dead:
                    continue
                if self.fault == "delay":
                    await asyncio.sleep(self.delay_s)
                if self.fault == lost_by:
                    connection.lossy = True
                    continue
                if self.fault == "partial":
                    data = data[: len(data) // 2]
                writer.write(data)
                await writer.drain()
                if self.fault == "partial":
                    self.fault = ""
                    break
        if not connection.dead:
            connection.abort()
