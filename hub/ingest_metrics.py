"""What ingest tells of itself: figures for Prometheus, and whether anything is being stored.

Ingest is a process of its own and serves no HTTP. Whoever connects to the Unix socket in the hub's data gets the
figures as text; web adds them to its own. They do not go by way of the store, which says nothing when it is full.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from hub.errors import SetupError
from runtime import metrics
from runtime.metrics import DISK_S, CollectorRegistry, Counter, Gauge, Histogram

SOCKET = "ingest.sock"
_ANSWER_S = 2.0
_MAX_BYTES = 1_000_000
_MAX_PATH = 107  # sockaddr_un


class IngestMetrics:
    """The figures of one ingest. `queue_limit`: messages that its queue takes before it makes the session wait."""

    def __init__(self, queue_limit: int):
        self._registry = registry = CollectorRegistry()
        self.online = Gauge("kerb_ingest_online", "Whether the session with the broker is up", registry=registry)
        self.sessions = Counter("kerb_ingest_sessions", "Sessions with the broker", registry=registry)
        self.dropped = Counter(
            "kerb_ingest_dropped", "Messages dropped before they were looked at: they are sent again", registry=registry
        )
        self.queued = Gauge("kerb_ingest_queue_messages", "Messages that wait to be stored", registry=registry)
        limit = Gauge("kerb_ingest_queue_limit_messages", "Messages that may wait", registry=registry)
        limit.set(queue_limit)
        sizes = (1, 4, 16, 64, 256, 1024, 2048, 4096, 8192)
        self.batch = Histogram("kerb_ingest_batch_messages", "Messages a transaction", buckets=sizes, registry=registry)
        self.transaction = Histogram(
            "kerb_ingest_transaction_seconds", "From a batch's begin to its commit", buckets=DISK_S, registry=registry
        )
        self.commit = Histogram(
            "kerb_ingest_commit_seconds", "Of that the writing and syncing", buckets=DISK_S, registry=registry
        )
        self._failing = Gauge("kerb_ingest_failing", "Whether the last batch could not be stored", registry=registry)
        self._failures = Counter("kerb_ingest_failures", "Batches that could not be stored", registry=registry)
        self._failure = Gauge("kerb_ingest_failure", "Why, while it is so", ["reason"], registry=registry)

    def stored(self, messages: int, *, transaction_s: float, commit_s: float) -> None:
        """A batch was committed."""
        self.batch.observe(messages)
        self.transaction.observe(transaction_s)
        self.commit.observe(commit_s)
        self.works()

    def works(self) -> None:
        """Nothing is wrong any more."""
        self._failing.set(0)
        self._failure.clear()

    def failed(self, reason: str) -> None:
        """A batch could not be committed."""
        self._failures.inc()
        self._failing.set(1)
        self._failure.clear()
        self._failure.labels(reason).set(1)

    def text(self) -> str:
        """All figures."""
        return metrics.text([*self._registry.collect(), *metrics.process("kerb_ingest")])

    async def serve(self, data: Path) -> None:
        """Tell them to whoever asks, until cancelled. Raises SetupError if the socket's path is too long."""
        path = data / SOCKET
        if len(bytes(path)) > _MAX_PATH:
            raise SetupError(f"{path}: the path of a socket may have {_MAX_PATH} bytes; choose a shorter --data")
        path.unlink(missing_ok=True)  # of an ingest that was killed; the store's lock keeps two apart
        server = await asyncio.start_unix_server(self._answer, path)
        path.chmod(0o600)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(self.text().encode())
            writer.close()
            await writer.wait_closed()


@dataclass(frozen=True)
class IngestNow:
    """What ingest says of itself. failure: why nothing is stored, empty if all is well. text: its figures."""

    failure: str
    text: str


async def ask(data: Path) -> IngestNow:
    """How the ingest of this data is."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(data / SOCKET, limit=_MAX_BYTES)
            with contextlib.closing(writer):
                text = (await reader.read(_MAX_BYTES)).decode()
                while not reader.at_eof():
                    text += (await reader.read(_MAX_BYTES)).decode()
    except (OSError, TimeoutError):
        return IngestNow("ingest does not answer", "")
    return IngestNow(_failure_in(text), text)


def _failure_in(text: str) -> str:
    found = metrics.parsed(text)
    for sample in found["kerb_ingest_failure"].samples:
        return sample.labels["reason"]
    return "" if found["kerb_ingest_online"].samples[0].value else "ingest has no session with the broker"
