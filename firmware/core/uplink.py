"""Custody to the gateway: a pack is journalled, then sent, and deleted when the gateway's cursor has passed it."""

import asyncio
import gc
import json
import random

from firmware.core import identity
from firmware.core.handover import Handover
from firmware.core.mqtt import MqttClient
from firmware.errors import JournalError, MqttError
from protocols import cursor, topics
from protocols.errors import DecodeError
from protocols.identity import SERVER_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from firmware.core.clock import Clock
    from firmware.core.config import Config
    from firmware.core.epochs import Epochs
    from firmware.core.journal import Journal
    from protocols.reading import Reading

_LOOK_S = 1
_FIRST_GAP_MS, _LAST_GAP_MS = 250, 2000  # it is a gateway next door, not a server of thousands


class _Lane:
    """The packs of a lane, and the topic by which they travel."""

    def __init__(self, name: str, handover: Handover, device: str):
        self.name = name
        self.handover = handover
        self.up = topics.up(topics.DEVICE, device, name)


class Uplink:
    """The lanes to the gateway. `append` never waits; `run` connects, sends, and comes back after every failure.

    `urgent` is the journal of the urgent lane, which goes first and never waits for the other one. `birth` is what the
    birth certificate says besides device, state and epoch; `on_announced` is told when the broker has it. `on_alive` is
    told at least once in half a minute. The device's identity lies in `storage`.
    """

    def __init__(
        self,
        config: "Config",
        clock: "Clock",
        journal: "Journal",
        epochs: "Epochs",
        *,
        urgent: "Journal",
        storage: str,
        birth: "dict[str, Any]",
        on_alive: "Callable[[], None]" = lambda: None,
        on_announced: "Callable[[], None]" = lambda: None,
    ):
        self._config = config
        self._clock = clock
        self._storage = storage
        # In the order in which they are sent.
        self._lanes = [
            _Lane(name, Handover(kept, epochs, device=config.device), config.device)
            for name, kept in ((topics.URGENT, urgent), (topics.BULK, journal))
        ]
        self._birth = birth
        self._on_alive = on_alive
        self._on_announced = on_announced
        self._birth_topic = topics.birth(topics.DEVICE, config.device)
        self._listeners: "dict[str, Callable[[bytes], None]]" = {}
        for lane in self._lanes:
            self._follow(lane)
        self._client: "MqttClient | None" = None  # while it is connected
        self._wake = asyncio.Event()
        self._gap_ms = _FIRST_GAP_MS

    @property
    def refused(self) -> int:
        """Readings that the journal could not keep and that are not declared yet."""
        return sum([lane.handover.refused for lane in self._lanes])

    def append(self, readings: "Sequence[Reading]", *, wall_clock: bool, lane: str = topics.BULK) -> None:
        """Take readings into custody as one pack.

        Raises JournalError if they cannot be kept: they are declared lost as soon as the flash takes a record again.
        """
        for each in self._lanes:
            if each.name == lane:
                each.handover.append(readings, wall_clock=wall_clock)
        self._wake.set()

    @property
    def online(self) -> bool:
        """Whether the broker has the birth certificate of a connection that lives."""
        return self._client is not None

    def listen(self, topic: str, take: "Callable[[bytes], None]") -> None:
        """Have each message of this topic given to `take`, which must not block. To be called before `run`."""
        self._listeners[topic] = take

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, beside the packs. Raises MqttError, also when there is no connection now."""
        if self._client is None:
            raise MqttError("not connected")
        await self._client.publish(topic, payload, qos=1)

    async def announce(self) -> None:
        """Publish the birth certificate, whose content has changed. Raises MqttError."""
        if self._client is None:
            raise MqttError("not connected")
        await self._client.publish(self._birth_topic, self._certificate("online"), qos=1, retain=True)

    async def run(self) -> None:
        """Serve until cancelled. Raises ConfigError if the device has no identity that can be used."""
        self._tls = identity.tls(self._storage)
        while True:
            self._on_alive()
            try:
                await self._connection()
            except MqttError as error:
                print("uplink:", error)
            gc.collect()  # it closes the socket of a handshake that failed: MicroPython's TLS has let go of that
            # Half to one and a half times the gap, so that devices do not come back all at once.
            pause_ms = self._gap_ms // 2 + random.randrange(self._gap_ms)
            self._gap_ms = min(2 * self._gap_ms, _LAST_GAP_MS)
            await asyncio.sleep(pause_ms / 1000)

    async def _connection(self) -> None:
        client = self._make_client()
        self._failure: "MqttError | None" = None
        serving = None
        try:
            await client.connect()
            serving = asyncio.create_task(self._serve(client))
            await client.subscribe(list(self._listeners))
            await self._announce(client)
            await self._send_packs(client)
        finally:
            self._client = None
            for lane in self._lanes:
                lane.handover.disconnected()
            if serving is not None:
                serving.cancel()
            await client.close()

    async def _serve(self, client: MqttClient) -> None:
        try:
            await client.serve(self._take)
        except MqttError as error:
            self._failure = error
        except (OSError, JournalError) as error:  # of the journal; a connection that nobody reads is none
            self._failure = MqttError(f"a cursor could not be followed: {error}")
        self._wake.set()

    async def _announce(self, client: MqttClient) -> None:
        for lane in self._lanes:
            lane.handover.connected()
        await client.publish(self._birth_topic, self._certificate("online"), qos=1, retain=True)
        self._client = client
        self._on_announced()
        self._gap_ms = _FIRST_GAP_MS
        print("uplink: connected, epoch", self._lanes[-1].handover.epoch)

    async def _send_packs(self, client: MqttClient) -> None:
        """Send what is due until the connection fails. Raises MqttError."""
        while self._failure is None:
            self._on_alive()
            self._wake.clear()
            if await self._send_some(client) and self._failure is None:
                continue  # there may be more of them
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_S)
            except asyncio.TimeoutError:
                continue  # something may be due again
        raise self._failure

    async def _send_some(self, client: MqttClient) -> bool:
        """Send a few packs of the first lane that has any; whether there were some."""
        now_ms = self._clock.monotonic_ms()
        for lane in self._lanes:
            headers = lane.handover.due(now_ms)
            if headers:
                # QoS 0: the gateway's cursor is the acknowledgement, and what is lost on the way is sent again.
                messages = [lane.handover.message(header, now_ms) for header in headers]
                await client.publish_all(lane.up, [message for message in messages if message is not None])
                return True
        return False

    def _take(self, topic: str, payload: bytes) -> None:
        if topic in self._listeners:
            self._listeners[topic](payload)

    def _follow(self, lane: _Lane) -> None:
        """Listen to what the gateway has of this lane."""

        def take(payload: bytes) -> None:
            try:
                session, stored = cursor.decode(payload)
            except DecodeError as error:
                print("uplink:", error)
                return
            lane.handover.cursor(session, stored, self._clock.monotonic_ms())
            self._wake.set()

        self._listeners[topics.cursor(topics.DEVICE, self._config.device, lane.name)] = take

    def _certificate(self, state: str) -> bytes:
        certificate = {"device": self._config.device, "state": state, "epoch": self._lanes[-1].handover.epoch}
        certificate.update(self._birth)
        return json.dumps(certificate).encode()

    def _make_client(self) -> MqttClient:
        broker = self._config.broker
        return MqttClient(
            host=broker["host"],
            port=broker["port"],
            tls=self._tls,
            server_name=SERVER_NAME,
            client_id=identity.client_id(self._storage),
            will=(self._birth_topic, self._certificate("offline")),
        )
