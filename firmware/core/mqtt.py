"""A client for MQTT 3.1.1 over TLS on asyncio: one connection, from `connect` until something fails.

A line may die without a word. So whenever something was sent that nothing was heard after, the broker is soon asked for
a word, and the connection is over if none comes. A line that nothing is sent on is tried twice in a keepalive interval.
"""

import asyncio

from firmware.core import mqtt_packets as packets
from firmware.errors import MqttError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    Result = TypeVar("Result")

_ANSWER_S = 3  # within which a broker must answer, and take what is sent to it
_HANDSHAKE_S = 6  # for TLS: boards reckon a second or two
_LOOK_S = 0.5
_ASK_LOOKS, _DEAD_LOOKS = 2, 6  # after so many without a word a ping is sent, and the line is given up
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
        tls: "ssl.SSLContext",
        server_name: str,
        client_id: str,
        will: "tuple[str, bytes] | None" = None,
        keepalive_s: int = 10,
    ):
        self._where = (host, port)
        self._tls = tls
        self._server_name = server_name
        self._connect = packets.connect(client_id, will=will, keepalive_s=keepalive_s)
        self._idle_looks = int(keepalive_s / 2 / _LOOK_S)
        self._reader: "asyncio.StreamReader | None" = None
        self._writer: "asyncio.StreamWriter | None" = None
        self._sending = asyncio.Lock()
        self._last_id = 0
        self._idle = 0  # looks since something was sent
        self._unheard = 0  # looks since something was sent that nothing was heard after; 0: nothing is waited for
        self._answers: "dict[int, asyncio.Event]" = {}  # packet id -> set by its PUBACK or SUBACK
        self._refused: "set[int]" = set()

    async def connect(self) -> None:
        """Connect and log in. Raises MqttError."""
        try:
            await self._log_in()
        except MqttError:
            await self.close()
            raise

    async def _log_in(self) -> None:
        opening = asyncio.open_connection(*self._where, ssl=self._tls, server_hostname=self._server_name)
        try:
            self._reader, self._writer = await _within(opening, "no connection", _HANDSHAKE_S)
            await self._send(self._connect, seconds=_HANDSHAKE_S)  # MicroPython shakes hands with the first bytes
        except (OSError, ValueError) as error:  # ValueError: MicroPython's, for a certificate that is not believed
            raise MqttError(f"no connection: {_line(error)}") from error
        first, body = await _within(self._packet(), "no CONNACK")
        if first >> 4 != packets.CONNACK:
            raise MqttError("the first packet is not a CONNACK")
        packets.check_connack(body)
        self._unheard = 0

    async def serve(self, on_message: "Callable[[str, bytes], None]") -> None:
        """Read packets and keep the connection alive until it fails. Raises MqttError. `on_message` must not block."""
        watching = asyncio.create_task(self._watch(asyncio.current_task()))
        try:
            while True:
                first, body = await self._packet()
                self._unheard = 0
                await self._take(first, body, on_message)
        except asyncio.CancelledError as error:
            if self._unheard >= _DEAD_LOOKS:
                raise MqttError("the broker is silent") from error
            raise
        finally:
            watching.cancel()

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
        await self.close()

    async def close(self) -> None:
        """Close the connection without a word: the broker publishes the will."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        try:
            await writer.wait_closed()  # MicroPython closes here, and at once
        except OSError:
            pass  # it was broken already

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

    async def _watch(self, serving: "asyncio.Task[None] | None") -> None:
        """Look whether the line lives; cancel `serving` when it does not."""
        while self._unheard < _DEAD_LOOKS:
            await asyncio.sleep(_LOOK_S)
            self._idle += 1
            if self._unheard:
                self._unheard += 1
            if self._unheard == _ASK_LOOKS or (not self._unheard and self._idle >= self._idle_looks):
                try:
                    await self._send(packets.PINGREQ)
                except MqttError:
                    self._unheard = _DEAD_LOOKS
        if serving is not None:
            serving.cancel()

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

    async def _send(self, *sending: bytes, seconds: int = _ANSWER_S) -> None:
        async with self._sending:
            if self._writer is None:
                raise MqttError("not connected")
            try:
                for packet in sending:
                    self._writer.write(packet)
                self._idle = 0
                self._unheard = self._unheard or 1
                await _within(self._writer.drain(), "the broker takes nothing", seconds)
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


def _line(error: Exception) -> str:
    """What an error says, on one line: MicroPython's reasons not to believe a certificate are several."""
    return " ".join(str(error).split())
