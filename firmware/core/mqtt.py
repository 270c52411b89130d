"""A client for MQTT 3.1.1 on asyncio: one connection, from `connect` until something fails."""

import asyncio

from firmware.core import mqtt_packets as packets
from firmware.errors import MqttError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    Result = TypeVar("Result")

_ANSWER_S = 10  # within which a broker must answer, and take what is sent to it
_MOST_UNANSWERED = 3  # pings
_LONGEST_PACKET = 16384  # of what a device is sent


class MqttClient:
    """One connection. Run `serve` in a task; when it ends, with MqttError, the connection is over.

    `will` is (topic, payload), retained by the broker when this client dies. The client id must suit the broker.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        user: str,
        password: str,
        will: "tuple[str, bytes] | None" = None,
        keepalive_s: int = 10,
    ):
        self._where = (host, port)
        self._connect = packets.connect(client_id, user, password, will=will, keepalive_s=keepalive_s)
        self._keepalive_s = keepalive_s
        self._reader: "asyncio.StreamReader | None" = None
        self._writer: "asyncio.StreamWriter | None" = None
        self._sending = asyncio.Lock()
        self._last_id = 0
        self._silence = 0  # pings since something was heard
        self._answers: "dict[int, asyncio.Event]" = {}  # packet id -> set by its PUBACK or SUBACK
        self._refused: "set[int]" = set()

    async def connect(self) -> None:
        """Connect and log in. Raises MqttError."""
        try:
            await self._log_in()
        except MqttError:
            self.close()
            raise

    async def _log_in(self) -> None:
        try:
            self._reader, self._writer = await _within(asyncio.open_connection(*self._where), "no connection")
        except OSError as error:
            raise MqttError(f"no connection: {error}") from error
        await self._send(self._connect)
        first, body = await _within(self._packet(), "no CONNACK")
        if first >> 4 != packets.CONNACK:
            raise MqttError("the first packet is not a CONNACK")
        packets.check_connack(body)

    async def serve(self, on_message: "Callable[[str, bytes], None]") -> None:
        """Read packets and keep the connection alive until it fails. Raises MqttError. `on_message` must not block."""
        self._silence = 0
        pinging = asyncio.create_task(self._ping(asyncio.current_task()))
        try:
            while True:
                first, body = await self._packet()
                self._silence = 0
                await self._take(first, body, on_message)
        except asyncio.CancelledError as error:
            if self._silence > _MOST_UNANSWERED:
                raise MqttError("the broker is silent") from error
            raise
        finally:
            pinging.cancel()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish; with QoS 1 wait until the broker has acknowledged. Raises MqttError."""
        if qos == 0:
            await self._send(packets.publish(topic, payload, retain=retain))
            return
        number = self._next_id()
        await self._ask(number, packets.publish(topic, payload, packet_id=number, retain=retain), "no PUBACK")

    async def publish_all(self, topic: str, payloads: "Sequence[bytes]") -> None:
        """Publish some messages with QoS 0 in one turn of the loop, not one each. Raises MqttError."""
        await self._send(*[packets.publish(topic, payload) for payload in payloads])

    async def subscribe(self, topics: "Sequence[str]", *, qos: int = 1) -> None:
        """Subscribe and wait for the broker's consent. Raises MqttError, also when it refuses."""
        number = self._next_id()
        await self._ask(number, packets.subscribe(number, topics, qos=qos), "no SUBACK")
        if number in self._refused:
            self._refused.remove(number)
            raise MqttError("subscription refused: " + " ".join(topics))

    async def disconnect(self) -> None:
        """Take leave, so that the will is not published. Raises MqttError."""
        await self._send(packets.DISCONNECT)
        self.close()

    def close(self) -> None:
        """Close the connection without a word: the broker publishes the will."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _take(self, first: int, body: bytes, on_message: "Callable[[str, bytes], None]") -> None:
        kind = first >> 4
        if kind == packets.PUBLISH:
            topic, payload, number = packets.read_publish(first, body)
            on_message(topic, payload)
            if number:
                await self._send(packets.puback(number))
        elif kind in (packets.PUBACK, packets.SUBACK):
            number = packets.read_packet_id(body)
            if kind == packets.SUBACK and packets.is_refusal(body):
                self._refused.add(number)
            if number in self._answers:
                self._answers[number].set()
        elif kind != packets.PINGRESP:
            raise MqttError(f"a packet of type {kind} was not expected")

    async def _ask(self, number: int, packet: bytes, complaint: str) -> None:
        answer = self._answers[number] = asyncio.Event()
        try:
            await self._send(packet)
            await _within(answer.wait(), complaint)
        finally:
            del self._answers[number]

    async def _ping(self, serving: "asyncio.Task[None] | None") -> None:
        """Ping twice in a keepalive interval; each one is answered, so after a few unanswered ones the line is dead."""
        while True:
            await asyncio.sleep(self._keepalive_s / 2)
            self._silence += 1
            try:
                if self._silence <= _MOST_UNANSWERED:
                    await self._send(packets.PINGREQ)
                    continue
            except MqttError:
                self._silence = _MOST_UNANSWERED + 1
            if serving is not None:
                serving.cancel()
            return

    async def _packet(self) -> "tuple[int, bytes]":
        first = (await self._read(1))[0]
        length = 0
        for place in range(packets.LONGEST_LENGTH):
            digit = (await self._read(1))[0]
            length |= (digit & 0x7F) << 7 * place
            if digit < 0x80:
                break
        else:
            raise MqttError("a packet's length does not end")
        if length > _LONGEST_PACKET:
            raise MqttError(f"a packet of {length} bytes is too long")
        return first, await self._read(length)

    async def _read(self, count: int) -> bytes:
        if self._reader is None:
            raise MqttError("not connected")
        if not count:
            return b""
        try:
            data = await self._reader.readexactly(count)
        except (OSError, EOFError) as error:
            raise MqttError("the connection is lost") from error
        return data

    async def _send(self, *sending: bytes) -> None:
        async with self._sending:
            if self._writer is None:
                raise MqttError("not connected")
            try:
                for packet in sending:
                    self._writer.write(packet)
                await _within(self._writer.drain(), "the broker takes nothing")
            except OSError as error:
                raise MqttError(f"the connection is lost: {error}") from error

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._answers:
                return self._last_id


async def _within(waiting: "Awaitable[Result]", complaint: str, seconds: float = _ANSWER_S) -> "Result":
    try:
        return await asyncio.wait_for(waiting, seconds)
    except asyncio.TimeoutError as error:
        raise MqttError(f"{complaint} within {seconds} s") from error
