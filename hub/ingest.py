"""The program that takes what gateways send into the store: MQTT in, one transaction a batch, cursors out."""

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from hub import alarm_rules
from hub.authority import Authority
from hub.deed_work import DeedWork
from hub.deeds import Deeds
from hub.errors import SetupError, StoreError
from hub.ingest_metrics import IngestMetrics
from hub.intake import Answer, Intake
from hub.only_one import only_one
from hub.store.writing import Writer, now_ms
from protocols import tally, topics
from protocols.deflated import deflate_large
from runtime.byte_queue import ByteQueue
from runtime.mqtt import Broker, Message, MqttError, Session, keep_session
from runtime.tasks import finished_in_thread
from runtime.tls import client_tls

logger = logging.getLogger(__name__)

_QUEUE = 16_384  # messages; when full the MQTT client's own queue grows, and drops the newest: they are sent again
_QUEUE_BYTES = 32_000_000
_BATCH = 8192  # messages a transaction: the more come, the more share the pages that each transaction writes
_BATCH_BYTES = 16_000_000
_CURSORS = 1000  # at a time
_IDLE_S = 1.0
_OPEN_AGAIN_S = 2.0
_FAILED_S = 1.0
_TIDY_S = 0.02  # after each batch, or a quarter of what it took: sealing keeps up with any load
_TIDY_AGAIN_S = 10.0
_RULES_S = 2.0  # how often the folder of alarm rules is looked at
_BIRTHS = "g/+/birth"
_STATUSES = "g/+/status"
_UPS = "g/+/up/+"
_RESULTS = "g/+/result"
_DEEDS_S = 0.5  # how often it is looked whether anybody has done something about alarms
_BIRTHS_AGAIN_S = 2.0


class Ingest:
    """One ingest: it owns the store's writer and outlives its MQTT sessions."""

    def __init__(self, data: Path, writer: Writer, broker: Broker, metrics: IngestMetrics):
        self._data = data
        self._writer = writer
        self._deeds = DeedWork(Deeds(data), writer)
        self._rules_seen: object = None
        self._rules_from = self._deeds_from = 0.0
        self._intake = Intake(writer, secrets.token_hex(4))
        self._broker = broker
        self._queue: ByteQueue[Message] = ByteQueue(
            _QUEUE, max_bytes=_QUEUE_BYTES, size_of=lambda message: len(message.payload)
        )
        self.metrics = metrics
        self.metrics.queued.set_function(self._queue.qsize)
        self._session: Session | None = None
        self._births_asked = 0.0
        self._tidy_from = 0.0

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_session(self._broker, self._receive, on_drop=self.metrics.dropped.inc), name="mqtt")
            # Not within the session: a batch that is being committed must be finished when the line drops.
            group.create_task(self._store(), name="store")

    async def _receive(self, session: Session) -> None:
        await session.subscribe(_BIRTHS, qos=0)
        await session.subscribe(_STATUSES, qos=0)
        await session.subscribe(_UPS, qos=0)
        await session.subscribe(_RESULTS, qos=1)
        await _publish(session, self._intake.all_cursors())
        self._session = session
        self.metrics.sessions.inc()
        self.metrics.online.set(1)
        logger.info("receiving from %s:%s", self._broker.host, self._broker.port)
        try:
            async for message in session.messages():
                await self._queue.put(message)
        finally:
            self._session = None
            self.metrics.online.set(0)

    async def _store(self) -> None:
        while True:
            tidy_s = _TIDY_S
            batch = await self._next_batch()
            await self._look_at_alarms()
            if batch or self._writer.alarms_due():
                answer = await finished_in_thread(self._take, batch)
                self._measure(len(batch), answer)
                try:
                    await self._answer(answer.publish, births_wanted=answer.births_wanted)
                except MqttError as error:
                    logger.info("cursors not published, the session has ended: %s", error)  # all are, at its next begin
                if answer.failure:
                    await asyncio.sleep(_FAILED_S)  # a disk that is full is not asked again at once
                tidy_s = max(tidy_s, answer.transaction_s / 4)
            await self._tidy(tidy_s)

    async def _look_at_alarms(self) -> None:
        """Take over rules that were changed, and have done what people want done about alarms."""
        now = time.monotonic()
        if now >= self._rules_from:
            self._rules_from = now + _RULES_S
            await finished_in_thread(self._renew_rules)
        if now < self._deeds_from:
            return
        self._deeds_from = now + _DEEDS_S
        try:
            commands = await finished_in_thread(self._deeds.due, now_ms())
            for topic, payload in commands:
                if self._session:
                    await self._session.publish(topic, payload, qos=1)
        except (sqlite3.Error, StoreError) as error:
            logger.error("what people did about alarms waits: %s", error)
            self._deeds_from = now + _TIDY_AGAIN_S
        except MqttError as error:
            logger.info("commands not published, the session has ended: %s", error)  # they are, in a while

    def _renew_rules(self) -> None:
        """Take over alarm rules that were changed; those that are wrong change nothing, and the log says so."""
        if (signature := alarm_rules.signature(self._data)) == self._rules_seen:
            return
        self._rules_seen = signature
        try:
            self._writer.use_rules(alarm_rules.load(self._data))
        except SetupError as error:
            logger.error("the alarm rules are left as they were: %s", error)

    def _take(self, batch: list[Message]) -> Answer:
        answer = self._intake.take(batch)
        for result in answer.results:
            self._deeds.result(result)
        for gateway, incarnation in answer.begun.items():
            if known := self._writer.newest_tallies(gateway, incarnation):
                answer.publish[topics.tally(topics.GATEWAY, gateway)] = deflate_large(tally.encode(*known))
        return answer

    async def _next_batch(self) -> list[Message]:
        """What has come since the last one; nothing if it stays quiet."""
        batch: list[Message] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                batch.append(await self._queue.get())
        size = 0
        while batch and len(batch) < _BATCH and size < _BATCH_BYTES and not self._queue.empty():
            batch.append(self._queue.get_nowait())
            size += len(batch[-1].payload)
        return batch

    async def _tidy(self, seconds: float) -> None:
        """Seal and expire for so long, between two batches: it never waits for the writer, nor the writer for it."""
        now = asyncio.get_running_loop().time()
        if now < self._tidy_from:
            return
        try:
            await finished_in_thread(self._tidy_until, time.perf_counter() + seconds)
        except (sqlite3.Error, SetupError) as error:
            logger.error("sealing or expiry failed, nothing is lost by it: %s", error)
            self._tidy_from = now + _TIDY_AGAIN_S

    def _measure(self, messages: int, answer: Answer) -> None:
        if answer.failure:
            self.metrics.failed(answer.failure)
        else:
            self.metrics.stored(messages, transaction_s=answer.transaction_s, commit_s=answer.commit_s)

    def _tidy_until(self, end: float) -> None:
        while self._writer.tidy() and time.perf_counter() < end:
            pass

    async def _answer(self, publish: dict[str, bytes], *, births_wanted: bool) -> None:
        session = self._session
        if session is None:
            return
        await _publish(session, publish)
        now = asyncio.get_running_loop().time()
        if births_wanted and now - self._births_asked > _BIRTHS_AGAIN_S:
            self._births_asked = now
            await session.subscribe(_BIRTHS, qos=0)  # a renewed subscription brings the retained births again


async def _publish(session: Session, cursors: Mapping[str, bytes]) -> None:
    """In portions, since what is not on its way yet is held in memory."""
    items = list(cursors.items())
    for begin in range(0, len(items), _CURSORS):
        await session.publish_all(dict(items[begin : begin + _CURSORS]), retain=True)


def broker_login(data: Path, *, host: str, port: int) -> Broker:
    """How the hub itself logs in at its broker. Raises SetupError."""
    authority = Authority(data)
    own = authority.ingest()
    tls = client_tls(ca=authority.file, certificate=own, key=own)
    return Broker(host, port, f"hub-ingest-{secrets.token_hex(4)}", tls=tls)


async def run(data: Path, *, host: str, port: int) -> None:
    """Serve until cancelled. Raises SetupError if another ingest owns the store."""
    with only_one(data, "ingest"):
        metrics = IngestMetrics(_QUEUE)
        broker = broker_login(data, host=host, port=port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(metrics.serve(data), name="metrics")
                group.create_task(_serve(data, broker, metrics), name="ingest")
        except* SetupError as errors:
            raise errors.exceptions[0] from None


async def _serve(data: Path, broker: Broker, metrics: IngestMetrics) -> None:
    writer = await _opened(data, metrics)
    try:
        await Ingest(data, writer, broker, metrics).run()
    finally:
        writer.close()


async def _opened(data: Path, metrics: IngestMetrics) -> Writer:
    """The store's writer. One that cannot be used is left as it is and tried again: its disk may only be full."""
    reason = ""
    while True:
        try:
            writer = await asyncio.to_thread(Writer, data)
        except StoreError as error:
            metrics.failed(error.reason)
            if error.reason != reason:
                reason = error.reason
                logger.error("the store in %s cannot be used, and is left as it is: %s", data, reason)
            await asyncio.sleep(_OPEN_AGAIN_S)
        else:
            metrics.works()
            return writer
