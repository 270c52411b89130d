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

    from firmware.core.clock import Clock, Epochs
    from firmware.core.config import Config
    from firmware.core.journal import Journal
    from protocols.custody import Header
    from protocols.reading import Reading

_LOOK_S = 1
_FIRST_GAP_MS, _LAST_GAP_MS = 250, 2000  # it is a gateway next door, not a server of thousands


class Uplink:
    """One lane (bulk) to the gateway. `append` never waits; `run` connects, sends, and comes back after every failure.

    `birth` is what the birth certificate says besides device, state and epoch; `on_announced` is told when the broker
    has it. `on_alive` is told at least once in half a minute. The device's identity lies in `storage`.
    """

    def __init__(
        self,
        config: "Config",
        clock: "Clock",
        journal: "Journal",
        epochs: "Epochs",
        *,
        storage: str,
        birth: "dict[str, Any]",
        on_alive: "Callable[[], None]" = lambda: None,
        on_announced: "Callable[[], None]" = lambda: None,
    ):
        self._config = config
        self._clock = clock
        self._storage = storage
        self._handover = Handover(journal, epochs, device=config.device)
        self._birth = birth
        self._on_alive = on_alive
        self._on_announced = on_announced
        self._up = topics.up(topics.DEVICE, config.device, topics.BULK)
        self._birth_topic = topics.birth(topics.DEVICE, config.device)
        self._cursor = topics.cursor(topics.DEVICE, config.device, topics.BULK)
        self._listeners: "dict[str, Callable[[bytes], None]]" = {self._cursor: self._take_cursor}
        self._client: "MqttClient | None" = None  # while it is connected
        self._wake = asyncio.Event()
        self._gap_ms = _FIRST_GAP_MS

    @property
    def refused(self) -> int:
        """Readings that the journal could not keep and that are not declared yet."""
        return self._handover.refused

    def append(self, readings: "Sequence[Reading]", *, wall_clock: bool) -> None:
        """Take readings into custody as one pack.

        Raises JournalError if they cannot be kept: they are declared lost as soon as the flash takes a record again.
        """
        self._handover.append(readings, wall_clock=wall_clock)
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
            self._handover.disconnected()
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
        self._handover.connected()
        await client.publish(self._birth_topic, self._certificate("online"), qos=1, retain=True)
        self._client = client
        self._on_announced()
        self._gap_ms = _FIRST_GAP_MS
        print("uplink: connected, epoch", self._handover.epoch)

    async def _send_packs(self, client: MqttClient) -> None:
        """Send what is due until the connection fails. Raises MqttError."""
        while self._failure is None:
            self._on_alive()
            self._wake.clear()
            headers = self._handover.due(self._clock.monotonic_ms())
            await self._send(client, headers)
            if headers and self._failure is None:
                continue  # there may be more of them
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_S)
            except asyncio.TimeoutError:
                continue  # something may be due again
        raise self._failure

    async def _send(self, client: MqttClient, headers: "list[Header]") -> None:
        """QoS 0: the gateway's cursor is the acknowledgement, and what is lost on the way is sent again."""
        now_ms = self._clock.monotonic_ms()
        messages = [self._handover.message(header, now_ms) for header in headers]
        await client.publish_all(self._up, [message for message in messages if message is not None])

    def _take(self, topic: str, payload: bytes) -> None:
        if topic in self._listeners:
            self._listeners[topic](payload)

    def _take_cursor(self, payload: bytes) -> None:
        try:
            session, stored = cursor.decode(payload)
        except DecodeError as error:
            print("uplink:", error)
            return
        self._handover.cursor(session, stored, self._clock.monotonic_ms())
        self._wake.set()

    def _certificate(self, state: str) -> bytes:
        certificate = {"device": self._config.device, "state": state, "epoch": self._handover.epoch}
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
