"""Uplink kind `hub`: packs to our hub, which answers with cursors (design, section 1)."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from edge.alarms import Alarms
from edge.backlog import Backlog
from edge.commands import Commands
from edge.errors import IdentityRefused, Unrecorded
from edge.outbox import Outbox, monotonic_ms
from edge.pipeline import Pipeline
from edge.uplink.base import UplinkState
from edge.uplink.report import Report
from edge.uplink.send_order import SendOrder
from hardware.catalogue import Name
from protocols import cursor, refusal, tally, topics
from protocols.command import Request, Result, decode_request, encode_result
from protocols.custody import Header
from protocols.deflated import deflate_large, inflate_json
from protocols.errors import ProtocolError
from protocols.pack import encode_header
from protocols.topics import GATEWAY
from runtime.mqtt import Broker, Session, Will, keep_session

logger = logging.getLogger(__name__)

_REFUSED_S = 600  # then the other one may be gone; as long as it is not, we throw it out for a moment
_BIRTH_GAP_S = 1.0  # the birth certificate changes with every device's state; it is not sent more often than this
_PLAIN_BIRTH_BYTES = 65_536  # a larger one, of thousands of streams, would not get through brokers undeflated


class HubUplink:
    """Sends what the outbox's senders find due, and releases what the hub's cursor has passed."""

    def __init__(
        self,
        *,
        gateway: str,
        name: Name,
        broker: Broker,
        outbox: Outbox,
        pipeline: Pipeline,
        commands: Commands,
        alarms: Alarms,
        backlog: Backlog,
        clock: Callable[[], int],
    ):
        self.state = UplinkState()
        self._gateway = gateway
        self._name = name
        self._broker = broker
        self._outbox = outbox
        self._pipeline = pipeline
        self._commands = commands
        self._alarms = alarms
        self._report = Report(gateway, backlog)
        self._results = asyncio.Event()  # set when there is a result that the hub has not been told
        commands.told.append(lambda _: self._results.set())
        self._clock = clock
        self._instance = ""
        self._answers: dict[str, Result] = {}  # to be told, also of keys that were answered before

    async def run(self) -> None:
        """Carry packs until cancelled."""
        will = Will(topics.birth(GATEWAY, self._gateway), json.dumps({"state": "offline"}).encode())
        while True:
            self._instance = secrets.token_hex(8)
            try:
                await keep_session(
                    self._broker, self._serve, will=will, on_down=self._down, on_drop=self.state.dropped_one
                )
            except* IdentityRefused:
                reason = str(IdentityRefused(self._gateway))
                logger.error("%s; we try again in %d minutes", reason, _REFUSED_S // 60)
                self.state.refusals += 1
                self._down(reason)
            await asyncio.sleep(_REFUSED_S)

    def _down(self, reason: str) -> None:
        self.state.went_down(reason)
        self._outbox.line_down()

    async def _serve(self, session: Session) -> None:
        await session.subscribe(f"{GATEWAY}/{self._gateway}/cursor/+")
        await session.subscribe(topics.command(GATEWAY, self._gateway))
        await session.subscribe(topics.refused(GATEWAY, self._gateway))
        await session.subscribe(topics.tally(GATEWAY, self._gateway))
        await self._send_birth(session)
        self._outbox.line_up(after_outage=self.state.sessions > 0)
        self.state.went_up()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_birth(session), name="uplink: birth")
            tasks.create_task(self._receive(session, tasks), name="uplink: cursors and commands")
            tasks.create_task(self._tell_results(session), name="uplink: results")
            tasks.create_task(self._report.keep(session), name="uplink: report")
            tasks.create_task(self._send_packs(session), name="uplink: packs")

    async def _keep_birth(self, session: Session) -> None:
        while True:
            await self._pipeline.announced.wait()
            await self._send_birth(session)
            await asyncio.sleep(_BIRTH_GAP_S)

    async def _send_birth(self, session: Session) -> None:
        self._pipeline.announced.clear()
        payload = json.dumps(self._birth(), ensure_ascii=False).encode()
        payload = deflate_large(payload, above=_PLAIN_BIRTH_BYTES)
        await session.publish(topics.birth(GATEWAY, self._gateway), payload, qos=1, retain=True)

    def _birth(self) -> dict[str, object]:
        things = []
        for thing, state in self._pipeline.things.items():
            device = state.model.device
            things.append(
                {
                    "id": thing,
                    "kind": device.kind,
                    "model": device.model,
                    "maker": device.maker,
                    "name": device.name.model_dump(),
                    "state": state.state,
                    "reason": state.reason,
                }
            )
        known = {stream.alias: stream for stream in self._pipeline.streams}
        streams = []
        for alias, (thing, metric, unit) in self._outbox.streams.items():
            stream = known.get(alias)  # none for a thing that the config has no more
            name = stream.name if stream else Name(en=metric, zh=metric)
            told: dict[str, Any] = {
                "alias": alias,
                "thing": thing,
                "metric": metric,
                "unit": unit,
                "name": name.model_dump(),
            }
            if stream and stream.states:
                told["states"] = {code: each.model_dump() for code, each in stream.states.items()}
            streams.append(told)
        return {
            "state": "online",
            "gateway": self._gateway,
            "incarnation": self._outbox.incarnation,
            "instance": self._instance,
            "name": self._name.model_dump(),
            "time_ms": self._clock(),
            "things": things,
            "streams": streams,
            "rules": [
                {"id": rule.id, "version": rule.version, "priority": rule.priority, "name": rule.name}
                for rule in self._alarms.rules
            ],
            "alarms": [
                {"rule": rule.id, "thing": change.identity.thing, "onset_ms": change.identity.onset_ms}
                for rule, change in self._alarms.present()
            ],
        }

    async def _receive(self, session: Session, tasks: asyncio.TaskGroup) -> None:
        async for message in session.messages():
            try:
                topic = topics.parse(message.topic)
                if topic.kind == "cmd":
                    # Not in this loop: it takes as long as the device does. Bounded by the commands' own queues.
                    request = decode_request(message.payload)
                    tasks.create_task(self._carry_out(request), name=f"uplink: command {request.key}")
                elif topic.kind == "refused":
                    self._check_refused(refusal.decode(message.payload))
                elif topic.kind == "tally":
                    self._outbox.recall(*tally.decode(inflate_json(message.payload, max_bytes=tally.MAX_BYTES)))
                else:
                    hub_session, stored = cursor.decode(message.payload)
                    self._report.heard(hub_session)
                    self._outbox.cursor(topic.lane, hub_session, stored)
            except ProtocolError as error:
                logger.warning("%s: %s", message.topic, error)

    def _check_refused(self, instances: Sequence[str]) -> None:
        if self._instance in instances:
            raise IdentityRefused(self._gateway)

    async def _carry_out(self, request: Request) -> None:
        try:
            result = await self._commands.submit(request)
        except Unrecorded as error:
            logger.warning("command %s is not answered: %s", request.key, error)  # the hub will ask again
            return
        self._answers[result.key] = result
        self._results.set()

    async def _tell_results(self, session: Session) -> None:
        """Tell the hub how commands ended: those of this session, and those that ended while the line was down."""
        topic = topics.result(GATEWAY, self._gateway)
        self._results.set()
        while True:
            await self._results.wait()
            self._results.clear()
            answers = {result.key: result for result in await self._commands.untold()} | self._answers
            for key, result in answers.items():
                await session.publish(topic, encode_result(result), qos=1)
                self._answers.pop(key, None)
                await self._commands.tell(key)

    async def _send_packs(self, session: Session) -> None:
        order = SendOrder(self._outbox.senders)
        reading: tuple[str, int] | None = None  # lane and epoch of the pack that is being read from the disk

        def at_hand(lane: str, header: Header) -> bool:
            return (lane, header.epoch) != reading and self._outbox.at_hand(lane, header)

        async def send_from_disk(lane: str, header: Header) -> None:
            nonlocal reading
            await self._send_pack(session, lane, header)
            reading = None
            self._outbox.due.set()

        async with asyncio.TaskGroup() as tasks:
            while True:
                self._outbox.due.clear()
                due = order.next(monotonic_ms(), at_hand if reading else None)
                if due is None:
                    await self._wait_due(order.next_due_ms())
                elif self._outbox.at_hand(*due):
                    await self._send_pack(session, *due)
                else:  # the disk may take its time; meanwhile what is at hand goes on
                    reading = due[0], due[1].epoch
                    tasks.create_task(send_from_disk(*due), name="uplink: pack from disk")

    async def _send_pack(self, session: Session, lane: str, header: Header) -> None:
        body = await self._outbox.body(lane, header)
        if body is not None:
            await session.publish(topics.up(GATEWAY, self._gateway, lane), encode_header(header) + body)
            self.state.packs_sent += 1
            self.state.backfill_sent += header.backfill

    async def _wait_due(self, at_ms: int | None) -> None:
        timeout_s = None if at_ms is None else max(at_ms - monotonic_ms(), 10) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._outbox.due.wait()
