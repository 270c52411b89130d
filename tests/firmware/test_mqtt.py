"""The MQTT client: packets as the standard prints them, and against the real broker."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware.core import mqtt_packets as packets
from firmware.core.mqtt import MqttClient
from firmware.errors import MqttError
from protocols.identity import SERVER_NAME
from runtime.broker import EmbeddedBroker, User
from runtime.broker import Tls as BrokerTls
from runtime.certificates import CertificateAuthority, subject
from runtime.process import free_port
from runtime.tls import client_tls

USERS = (User(subject("a"), ["d/a/#"], ["d/a/#"]), User(subject("b"), ["d/#"], ["d/#"]))


class Tls:
    """A CA, a server's context, and clients' contexts by their names."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.ca = CertificateAuthority(folder, name="test CA", ca_life=None, life=None)
        file = self.ca.server("server", "server", [SERVER_NAME])
        self.files = BrokerTls(certificate=file, key=file, ca=self.ca.file)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca.file)
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.server.load_cert_chain(file)

    def client(self, name: str) -> ssl.SSLContext:
        own = self.ca.client(f"client-{name}", name)
        return client_tls(ca=self.ca.file, certificate=own, key=own)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path / "ca")


@asynccontextmanager
async def running_broker(
    folder: Path, tls: BrokerTls, users: Sequence[User] = USERS, port: int = 0
) -> AsyncIterator[int]:
    port = port or free_port()
    broker = EmbeddedBroker(folder / "broker", host="127.0.0.1", port=port, users=users, tls=tls)
    running = asyncio.create_task(broker.run(), name="broker")
    try:
        await asyncio.wait_for(broker.ready.wait(), 15)
        yield port
    finally:
        running.cancel()
        await asyncio.wait([running])


class Session:
    """A connected client, its task, and what it was told."""

    def __init__(self, port: int, tls: Tls, name: str = "a", **options: object):
        self.client = MqttClient(
            host="127.0.0.1",
            port=port,
            tls=tls.client(name),
            server_name=SERVER_NAME,
            client_id=name,
            **options,  # type: ignore[arg-type]
        )
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def __aenter__(self) -> "Session":
        await self.client.connect()
        self.serving = asyncio.create_task(self.client.serve(lambda *message: self.messages.put_nowait(message)))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        self.serving.cancel()
        await asyncio.wait([self.serving])
        if not self.serving.cancelled():
            self.serving.exception()  # taken note of

    async def next(self) -> tuple[str, bytes]:
        return await asyncio.wait_for(self.messages.get(), 10)


@pytest.mark.parametrize("qos", [0, 1])
async def test_messages_pass_both_ways(tmp_path: Path, tls: Tls, qos: int) -> None:
    async with running_broker(tmp_path, tls.files) as port, Session(port, tls) as a, Session(port, tls, "b") as b:
        await a.client.subscribe(["d/a/cursor/bulk"])
        await b.client.subscribe(["d/+/up/bulk"])
        await a.client.publish("d/a/up/bulk", b"\x00reading\xff" * 1000, qos=qos)
        assert await b.next() == ("d/a/up/bulk", b"\x00reading\xff" * 1000)
        await b.client.publish("d/a/cursor/bulk", b"{}", qos=qos)
        assert await a.next() == ("d/a/cursor/bulk", b"{}")


async def test_retained_messages_and_the_will(tmp_path: Path, tls: Tls) -> None:
    async with running_broker(tmp_path, tls.files) as port:
        async with Session(port, tls, will=("d/a/birth", b"dead")) as a:
            await a.client.publish("d/a/birth", b"alive", qos=1, retain=True)
            async with Session(port, tls, "b") as b:
                await b.client.subscribe(["d/+/birth"])
                assert await b.next() == ("d/a/birth", b"alive")
                await a.client.close()
                assert await b.next() == ("d/a/birth", b"dead")
        async with Session(port, tls, "b") as b:
            await b.client.subscribe(["d/+/birth"])
            assert await b.next() == ("d/a/birth", b"dead")


async def test_leaving_in_order_publishes_no_will(tmp_path: Path, tls: Tls) -> None:
    async with running_broker(tmp_path, tls.files) as port, Session(port, tls, "b") as b:
        await b.client.subscribe(["d/+/birth"])
        async with Session(port, tls, will=("d/a/birth", b"dead")) as a:
            await a.client.disconnect()
        await b.client.publish("d/x/birth", b"later", qos=1)
        assert await b.next() == ("d/x/birth", b"later")


async def test_a_forbidden_subscription_is_an_error(tmp_path: Path, tls: Tls) -> None:
    async with running_broker(tmp_path, tls.files) as port, Session(port, tls) as a:
        with pytest.raises(MqttError, match="subscription refused: d/b/up/bulk"):
            await a.client.subscribe(["d/b/up/bulk"])


async def test_pings_keep_an_idle_connection(tmp_path: Path, tls: Tls) -> None:
    async with running_broker(tmp_path, tls.files) as port, Session(port, tls, keepalive_s=1) as a:
        await asyncio.sleep(3)  # the broker gives up after one and a half times the keepalive
        assert not a.serving.done()
        await a.client.publish("d/a/birth", b"still here", qos=1)


async def test_a_lost_broker_ends_serving(tmp_path: Path, tls: Tls) -> None:
    async with running_broker(tmp_path, tls.files) as port:
        session = await Session(port, tls).__aenter__()
    with pytest.raises(MqttError, match="connection is lost"):
        await asyncio.wait_for(session.serving, 10)
    await session.client.close()


async def test_a_silent_broker_is_given_up(tls: Tls) -> None:
    async with fake_broker(tls, CONNACK) as port:
        session = Session(port, tls, keepalive_s=1)
        async with session:
            with pytest.raises(MqttError, match="silent"):
                await asyncio.wait_for(session.serving, 5)


async def test_nobody_listens(tls: Tls) -> None:
    with pytest.raises(MqttError, match="no connection"):
        await Session(free_port(), tls).client.connect()


@asynccontextmanager
async def fake_broker(tls: Tls, answer: bytes) -> AsyncIterator[int]:
    """Says these bytes to whoever connects."""

    writers = []

    def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls.server)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


CONNACK = b"\x20\x02\x00\x00"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x20\x02\x00\x04", "user or password wrong"),
        (b"\x20\x01\x00", "CONNACK is malformed"),
        (b"\xd0\x00", "not a CONNACK"),
        (b"\x20\xff\xff\xff\xff\x01", "length does not end"),
        (CONNACK + b"\x30\xff\xff\x7f", "2097151 bytes is too long"),
        (CONNACK + b"\x30\x03\x00\x05a", "PUBLISH is truncated"),
        (CONNACK + b"\x36\x04\x00\x01ab", "PUBLISH is malformed"),
        (CONNACK + b"\x30\x04\x00\x02\xff\xfe", "not UTF-8"),
        (CONNACK + b"\x40\x01\x00", "acknowledgement is truncated"),
        (CONNACK + b"\xa0\x00", "type 10 was not expected"),
    ],
)
async def test_a_broken_broker_is_named(tls: Tls, answer: bytes, reason: str) -> None:
    async with fake_broker(tls, answer) as port:
        session = Session(port, tls)
        with pytest.raises(MqttError, match=reason):
            async with session:
                await asyncio.wait_for(session.serving, 10)


async def test_messages_of_qos_1_are_acknowledged(tls: Tls) -> None:
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x01a")
        writer.write(CONNACK + b"\x32\x06\x00\x01t\x12\x34x")
        taken.set_result(await reader.readexactly(4))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls.server)
    async with server, Session(server.sockets[0].getsockname()[1], tls) as session:
        assert await session.next() == ("t", b"x")
        assert await asyncio.wait_for(taken, 10) == b"\x40\x02\x12\x34"


def test_connect_as_the_standard_lays_it_out() -> None:
    """Remaining length 10 + 13; level 4; retained will of QoS 1, clean session; 60 s."""
    packet = packets.connect("id", will=("w", b"gone"), keepalive_s=60)
    assert packet.hex(" ") == "10 17 00 04 4d 51 54 54 04 2e 00 3c 00 02 69 64 00 01 77 00 04 67 6f 6e 65"


@pytest.mark.parametrize(
    ("size", "length"),
    [(127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (2097152, "80808001")],
)
def test_remaining_length(size: int, length: str) -> None:
    """Table 2.4 of the standard; topic "" takes two bytes."""
    packet = packets.publish("", bytes(size - 2))
    assert packet[: 1 + len(length) // 2].hex() == "30" + length
    assert len(packet) == 1 + len(length) // 2 + size
