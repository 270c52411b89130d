"""Uplink kind `mqtt`: plain SenML JSON to any broker; the broker's PUBACK is the acknowledgement.

Useful without our hub, and only as safe as that broker: a reading is delivered at least once.
"""

import asyncio
import logging
from collections.abc import Iterator

from edge.outbox import Outbox, monotonic_ms
from edge.uplink.base import UplinkState
from edge.uplink.send_order import SendOrder
from protocols.deflated import inflate
from protocols.pack import by_alias, decode_body
from protocols.reading import GOOD, Reading
from protocols.senml import encode_readings
from runtime.mqtt import Broker, Session, keep_session

logger = logging.getLogger(__name__)


class MqttUplink:
    """Publishes each pack's readings, one message a thing, at `<prefix>/<gateway>/<thing>`."""

    def __init__(self, *, gateway: str, prefix: str, broker: Broker, outbox: Outbox):
        self.state = UplinkState()
        self._topic = f"{prefix}/{gateway}"
        self._broker = broker
        self._outbox = outbox

    async def run(self) -> None:
        """Carry packs until cancelled."""
        await keep_session(self._broker, self._serve, on_down=self._down, on_drop=self.state.dropped_one)

    def _down(self, reason: str) -> None:
        self.state.went_down(reason)
        self._outbox.line_down()

    async def _serve(self, session: Session) -> None:
        self._outbox.line_up(after_outage=self.state.sessions > 0)
        self.state.went_up()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._notice_end(session), name="uplink: end")
            tasks.create_task(self._send_packs(session), name="uplink: packs")

    @staticmethod
    async def _notice_end(session: Session) -> None:
        """Nothing is subscribed to; but a reader hears of a lost line at once, a publisher only when it gives up."""
        async for message in session.messages():
            logger.warning("%s: a message that nobody asked for", message.topic)

    async def _send_packs(self, session: Session) -> None:
        order = SendOrder(self._outbox.senders)
        while True:
            self._outbox.due.clear()
            due = order.next(monotonic_ms())
            if due is None:
                await self._outbox.due.wait()
                continue
            lane, header = due
            body = await self._outbox.body(lane, header)
            if body is not None:
                await self._send_pack(session, body)
                self.state.packs_sent += 1
                self.state.backfill_sent += header.backfill
            for release in self._outbox.senders[lane].cursor("puback", {header.epoch: header.seq}, monotonic_ms()):
                self._outbox.release(lane, release.epoch, release.upto)

    async def _send_pack(self, session: Session, body: bytes) -> None:
        async with asyncio.TaskGroup() as tasks:  # one message a thing, at once: a pack costs one round trip
            for thing, readings in self._by_thing(body):
                payload = f"[{encode_readings(thing + '/', readings)}]".encode()
                tasks.create_task(session.publish(f"{self._topic}/{thing}", payload, qos=1), name=f"publish {thing}")

    def _by_thing(self, body: bytes) -> Iterator[tuple[str, list[Reading]]]:
        found: dict[str, list[Reading]] = {}
        decoded = decode_body(inflate(body))
        for column in decoded.columns:
            thing, metric, unit = self._outbox.streams[column.alias]
            for time_ms, quality, value in zip(column.times_ms, column.qualities, column.values, strict=True):
                found.setdefault(thing, []).append(Reading(metric, value, unit, quality, time_ms))
        for row in decoded.rows:
            for alias, number in by_alias(row):
                thing, metric, unit = self._outbox.streams[alias]
                found.setdefault(thing, []).append(Reading(metric, number, unit, GOOD, row.time_ms))
        yield from found.items()
