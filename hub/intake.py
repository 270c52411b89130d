"""What ingest does with messages: a batch in, one transaction, the cursors to publish out. No network."""

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from hub import birth as births
from hub.errors import BirthError, UnknownAliasError
from hub.identities import Identities
from protocols import cursor, pack, refusal, status, topics
from protocols.command import Result, decode_result
from protocols.custody import STORE, Header, Receiver
from protocols.deflated import inflate, inflate_json
from protocols.errors import DecodeError, ProtocolError
from runtime.mqtt import Message

logger = logging.getLogger(__name__)

MAX_PACK_BYTES = 1_000_000  # as it travels
MAX_BODY_BYTES = 4_000_000  # inflated


class Store(Protocol):
    """What intake needs of a store's writing side; see hub.store.writing.Writer."""

    def transaction(self) -> AbstractContextManager[None]: ...
    def cursors(self) -> dict[tuple[str, str], dict[int, int]]: ...
    def count(self, counter: str, by: int = 1) -> None: ...
    def write_birth(self, birth: births.Birth) -> None: ...
    def write_death(self, gateway: str) -> None: ...
    def write_status(self, gateway: str, status: status.Status, *, retained: bool) -> None: ...
    def check_pack(self, gateway: str, header: Header, body: pack.Body) -> None: ...
    def write_pack(self, gateway: str, lane: str, header: Header, body: pack.Body) -> None: ...

    def write_skip(self, gateway: str, lane: str, epoch: int, *, first: int, last: int) -> None: ...
    def set_aside(self, gateway: str, lane: str, header: Header, message: bytes, reason: str) -> None: ...


@dataclass
class Answer:
    """What follows from a batch: messages to publish, retained; whether births must be asked for again.

    results: how commands ended. begun: the incarnations of gateways whose programs have begun anew, by gateway.
    failure: why it could not be stored, empty if it was. transaction_s: from its begin to its commit; commit_s: of that
    the writing.
    """

    publish: dict[str, bytes] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    births_wanted: bool = False
    failure: str = ""
    transaction_s: float = 0.0
    commit_s: float = 0.0


class Intake:
    """Takes batches of messages into the store, which also counts what became of them."""

    def __init__(self, writer: Store, session: str):
        self._writer = writer
        self._session = session
        self._receivers: dict[tuple[str, str], Receiver] = {}
        self._identities = Identities()
        self._instances: dict[str, str] = {}
        self._births: dict[str, bytes] = {}  # the last one taken, so that a repeated one costs nothing
        for sender, stored in writer.cursors().items():
            self._receiver(sender).restore(stored)
        self._told = self._cursors(self._receivers)

    def all_cursors(self) -> dict[str, bytes]:
        """What every sender must hear when the session begins; may be asked for while another thread is in `take`."""
        return self._told.copy()

    def take(self, batch: Sequence[Message]) -> Answer:
        """Store the batch in one transaction. What is wrong with a message is counted and logged, never raised."""
        answer = Answer()
        touched: dict[tuple[str, str], list[Header]] = {}
        taken: dict[str, bytes] = {}
        begun = time.perf_counter()
        try:
            with self._writer.transaction():
                for message in batch:
                    self._take_one(message, touched, taken, answer)
                taken_at = time.perf_counter()
        except sqlite3.Error as error:
            # Nothing of the batch is stored and nothing is acknowledged: the senders will send it again.
            logger.error("commit of %d messages failed: %s", len(batch), error)
            for receiver in self._receivers.values():
                receiver.rolled_back()
            for gateway in answer.begun:
                del self._instances[gateway]
            return Answer(births_wanted=True, failure=str(error))
        answer.transaction_s = time.perf_counter() - begun
        answer.commit_s = time.perf_counter() - taken_at
        self._births.update(taken)
        for sender, headers in touched.items():
            for header in headers:
                self._receivers[sender].stored(header)
        cursors = self._cursors(touched)
        self._told.update(cursors)
        answer.publish.update(cursors)
        return answer

    def _take_one(
        self, message: Message, touched: dict[tuple[str, str], list[Header]], taken: dict[str, bytes], answer: Answer
    ) -> None:
        try:
            topic = topics.parse(message.topic)
            if topic.kind == "birth":
                if taken.get(topic.sender, self._births.get(topic.sender)) != message.payload:
                    self._take_birth(topic.sender, message, answer)
                    taken[topic.sender] = message.payload
                    for lane in topics.LANES:  # so that a new gateway learns at once whom it speaks to
                        self._receiver((topic.sender, lane))
                        touched.setdefault((topic.sender, lane), [])
            elif topic.kind == "status":
                self._take_status(topic.sender, message)
            elif topic.kind == "result":
                answer.results.append(decode_result(message.payload))
            elif topic.kind == "up":
                sender = (topic.sender, topic.lane)
                written = self._take_pack(sender, message.payload)
                touched.setdefault(sender, []).extend(written)
        except UnknownAliasError as error:
            self._writer.count("unknown_alias")
            answer.births_wanted = True
            logger.warning("%s: %s; the pack waits", message.topic, error)
        except (ProtocolError, BirthError) as error:
            self._writer.count("malformed")
            logger.warning("%s: refused %d bytes: %s", message.topic[:200], len(message.payload), error)

    def _take_birth(self, gateway: str, message: Message, answer: Answer) -> None:
        birth = births.parse(gateway, message.payload)
        if isinstance(birth, births.Birth):
            self._writer.write_birth(birth)
            if self._instances.get(gateway) != birth.instance:
                self._instances[gateway] = birth.instance
                answer.begun[gateway] = birth.incarnation
            self._identify(gateway, birth.instance, answer, retained=message.retained)
        else:
            self._writer.write_death(gateway)
        self._writer.count("births")

    def _identify(self, gateway: str, instance: str, answer: Answer, *, retained: bool) -> None:
        if retained:
            self._identities.found(gateway, instance)
        elif refused := self._identities.born(gateway, instance):
            logger.error("%s is there more than once: %s stays, %s refused", gateway, instance, ", ".join(refused))
            self._writer.count("instances_refused", len(refused))
            answer.publish[topics.refused(topics.GATEWAY, gateway)] = refusal.encode(refused)

    def _take_status(self, gateway: str, message: Message) -> None:
        payload = inflate_json(message.payload, max_bytes=status.MAX_BYTES)
        self._writer.write_status(gateway, status.decode(payload), retained=message.retained)
        self._writer.count("statuses")

    def _take_pack(self, sender: tuple[str, str], payload: bytes) -> list[Header]:
        """The header if the pack was written; an empty list if the sender shall only hear the cursor."""
        if len(payload) > MAX_PACK_BYTES:
            raise DecodeError("pack", f"{len(payload)} bytes are too many")
        header, end = pack.decode_header(payload)
        gateway, lane = sender
        receiver = self._receiver(sender)
        # Of an epoch that we do not know: they were handed over before this store was, or was restored.
        skipped = receiver.skipped(header) if receiver.knows(header.epoch) else header.first - 1
        verdict = receiver.offer(header)
        if verdict != STORE:  # a storm of repeated packs must not cost what their bodies would
            self._writer.count(f"packs_{verdict}")
            return []
        body, reason = self._read_body(payload[end:])
        if body is not None:
            try:
                self._writer.check_pack(gateway, header, body)
            except UnknownAliasError:
                receiver.withdraw(header)
                raise
        self._writer.count("packs_store")
        if skipped:
            logger.error("%s/%s passes over %d packs that are not here", gateway, lane, skipped)
            self._writer.count("packs_skipped", skipped)
            self._writer.write_skip(gateway, lane, header.epoch, first=header.first - skipped, last=header.first - 1)
        if body is not None:
            self._writer.write_pack(gateway, lane, header, body)
        else:
            # It was damaged before it was sent, and would be so each time: refusing it would stop its lane for ever.
            self._writer.count("packs_set_aside")
            logger.error("%s/%s: pack %d/%d is set aside unread: %s", gateway, lane, header.epoch, header.seq, reason)
            self._writer.set_aside(gateway, lane, header, payload, reason)
        return [header]

    def _read_body(self, data: bytes) -> tuple[pack.Body | None, str]:
        """The body, or None and the reason why it cannot be read."""
        try:
            body = pack.decode_body(inflate(data, max_bytes=MAX_BODY_BYTES))
            self._check(body)
        except DecodeError as error:
            return None, str(error)
        return body, ""

    @staticmethod
    def _check(body: pack.Body) -> None:
        """What the format allows but the store must not: ids that name no thing, times out of all reason."""
        for thing in (*body.tallies, *body.lost):
            if not topics.is_id(thing):
                raise DecodeError("pack body", f"{thing[:80]!r} is no id of a thing")
        for column in body.columns:
            if min(column.times_ms) < 0 or max(column.times_ms) >= 1 << 53:
                raise DecodeError("pack body", f"alias {column.alias}: a time is out of range")
        for row in body.rows:
            if not 0 <= row.time_ms < 1 << 53:
                raise DecodeError("pack body", f"a row's time, {row.time_ms}, is out of range")

    def _receiver(self, sender: tuple[str, str]) -> Receiver:
        return self._receivers.setdefault(sender, Receiver())

    def _cursors(self, senders: Iterable[tuple[str, str]]) -> dict[str, bytes]:
        return {
            topics.cursor(topics.GATEWAY, *sender): cursor.encode(self._session, self._receivers[sender].cursor())
            for sender in senders
        }
