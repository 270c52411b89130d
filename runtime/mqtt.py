"""MQTT for every CPython program: sessions that come back by themselves, on aiomqtt."""

import asyncio
import contextlib
import logging
import math
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import aiomqtt
import paho.mqtt.client as paho

from runtime.byte_queue import ByteQueue
from runtime.tasks import in_own_task
from runtime.tls import refusal

logger = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.aiomqtt")  # it would write a line for each message that is dropped
_quiet.setLevel(logging.ERROR)

_FIRST_GAP_S = 0.2
_SHORT_GAP_S = 1.0
_LAST_GAP_S = 10.0
_ANSWER_S = 10.0
_QUEUE = 16_384  # incoming messages; when it is full aiomqtt drops the newest, and custody has it sent again
_QUEUE_BYTES = 32_000_000


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, when this client dies."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Broker:
    """Where a broker is and how to log in. `tls` None: plain TCP, for loopback."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 10


@dataclass(frozen=True)
class Message:
    """A message that came in."""

    topic: str
    payload: bytes
    retained: bool


class MqttError(Exception):
    """The session has ended or could not be had; `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Session:
    """One connection to a broker. Every call raises MqttError once the connection is gone.

    Timeouts are our own: those of the library use asyncio.wait_for, which in Python 3.11 can lose a cancellation.
    """

    def __init__(self, client: "_Client"):
        self._client = client

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish; with QoS 1 it returns when the broker has acknowledged."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._client.publish(topic, payload, qos=qos, retain=retain)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise MqttError(str(error) or "the broker does not answer") from error

    async def publish_all(self, messages: Mapping[str, bytes], *, retain: bool = False) -> None:
        """Publish many, with QoS 0; it returns when all are on their way. Several times cheaper than one by one."""
        *most, last = messages.items()
        try:
            for topic, payload in most:
                self._client.post(topic, payload, retain=retain)
        except aiomqtt.MqttError as error:
            raise MqttError(str(error)) from error
        await self.publish(*last, retain=retain)  # they leave in this order

    async def subscribe(self, topic: str, *, qos: int = 1) -> None:
        """Subscribe to a topic filter. Subscriptions must not overlap: the embedded broker would deliver twice."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._client.subscribe(topic, qos=qos)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise MqttError(str(error) or "the broker does not answer") from error

    async def messages(self) -> AsyncIterator[Message]:
        """What comes in on all subscriptions."""
        try:
            async for message in self._client.messages:
                yield _taken(message)
                for waiting in self._client.waiting():
                    yield _taken(waiting)
        except aiomqtt.MqttError as error:
            raise MqttError(str(error)) from error


async def keep_session(
    broker: Broker,
    serve: Callable[[Session], Awaitable[None]],
    *,
    will: Will | None = None,
    on_down: Callable[[str], None] | None = None,
    on_drop: Callable[[], None] = lambda: None,
) -> None:
    """Connect, `serve` the session, and again after each loss. Never returns.

    The gaps are jittered, and grow: up to 1 s while sessions can be had, up to 10 s while none can.

    `serve` sees the end of its session as MqttError, also from within its own task group. `on_down` is told why a
    session ended or was refused, `on_drop` of each message that came while the queue was full.
    """
    gap_s = _FIRST_GAP_S
    had = False

    async def serve_it(session: Session) -> None:
        nonlocal had
        had = True
        await serve(session)

    while True:
        had = False
        reason = "the session was left"
        try:
            await in_own_task(_one_session(broker, serve_it, will, on_drop), name=f"session of {broker.client_id}")
        except* MqttError as group:
            reason = str(_first(group))
        logger.info("%s at %s:%s: %s", broker.client_id, broker.host, broker.port, reason)
        if on_down:
            on_down(reason)
        if had:
            gap_s = min(gap_s, _SHORT_GAP_S)
        await asyncio.sleep(gap_s * random.uniform(0.5, 1.0))
        gap_s = min(gap_s * 2, _LAST_GAP_S)


async def _one_session(
    broker: Broker,
    serve: Callable[[Session], Awaitable[None]],
    will: Will | None,
    on_drop: Callable[[], None],
) -> None:
    async with _connected(broker, will, on_drop) as session:
        await serve(session)


@contextlib.asynccontextmanager
async def _connected(broker: Broker, will: Will | None, on_drop: Callable[[], None]) -> AsyncIterator[Session]:
    client = _client(broker, will, on_drop)
    client.watch()
    try:
        async with asyncio.timeout(_ANSWER_S):
            await client.__aenter__()
    except aiomqtt.MqttCodeError as error:  # it has answered: no
        raise MqttError(str(error)) from error
    except (aiomqtt.MqttError, TimeoutError) as error:
        why = await refusal(broker.tls, broker.host, broker.port) if broker.tls else None
        raise MqttError(why or str(error) or "the broker does not answer") from error
    try:
        client.watch()
        yield Session(client)
    finally:
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):  # it is gone already
            async with asyncio.timeout(_ANSWER_S):
                await client.__aexit__(None, None, None)


class _Queue(ByteQueue[aiomqtt.Message]):
    """Tells when it is full; aiomqtt drops the message then."""

    def __init__(self, on_drop: Callable[[], None], maxsize: int):
        super().__init__(maxsize, max_bytes=_QUEUE_BYTES, size_of=_size)
        self._on_drop = on_drop

    def put_nowait(self, message: aiomqtt.Message) -> None:
        """Raises asyncio.QueueFull."""
        if self.full():
            self._on_drop()
        super().put_nowait(message)


def _size(message: aiomqtt.Message) -> int:
    return len(message.payload) if isinstance(message.payload, bytes) else 0


def _taken(message: aiomqtt.Message) -> Message:
    payload = message.payload if isinstance(message.payload, bytes) else bytes(message.payload or b"")
    return Message(str(message.topic), payload, message.retain)


class _Client(aiomqtt.Client):
    def waiting(self) -> Iterator[aiomqtt.Message]:
        """What has come already: to wait for each message anew costs more than all else that is done with it."""
        for _ in range(self._queue.qsize()):
            yield self._queue.get_nowait()

    def watch(self) -> None:
        """Look at how the connection ends, which may be late: of an error that nobody looks at asyncio complains."""
        self._disconnected.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    def post(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Hand a message with QoS 0 to paho without waiting until it has left. Raises aiomqtt.MqttError."""
        info = self._client.publish(topic, payload, 0, retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")


def _client(broker: Broker, will: Will | None, on_drop: Callable[[], None]) -> _Client:
    return _Client(
        broker.host,
        broker.port,
        identifier=broker.client_id,
        username=broker.username,
        password=broker.password,
        tls_context=broker.tls,
        keepalive=broker.keepalive_s,
        will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
        queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", partial(_Queue, on_drop)),
        max_queued_incoming_messages=_QUEUE,
        timeout=math.inf,
        logger=_quiet,
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
