"""The plain MQTT uplink against a real broker: valid SenML, PUBACK as acknowledgement, nothing lost in an outage."""

import asyncio
import contextlib
import json

import pytest

from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from edge.uplink.mqtt import MqttUplink
from hardware.catalogue import catalogue
from protocols.reading import BAD_TIMEOUT, GOOD, DecimalFraction, Reading
from runtime.broker import EmbeddedBroker, User
from runtime.mqtt import Broker, keep_session
from runtime.process import free_port

USERS = [User("gw-1", ["kerb/gw-1/+"], [], "secret"), User("listener", [], ["kerb/#"], "secret")]


@contextlib.asynccontextmanager
async def tasks_running(*works):
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Listener:
    """Another program at the broker: it keeps every message that comes."""

    def __init__(self, port: int):
        self.port = port
        self.messages: list[tuple[str, list[dict]]] = []
        self.ready = asyncio.Event()
        self.came = asyncio.Condition()

    async def run(self):
        await keep_session(Broker("127.0.0.1", self.port, "listener", "listener", "secret"), self._serve)

    async def _serve(self, session):
        await session.subscribe("kerb/#")
        self.ready.set()
        async for message in session.messages():
            async with self.came:
                self.messages.append((message.topic, json.loads(message.payload)))
                self.came.notify_all()

    async def wait_for(self, condition):
        async with asyncio.timeout(15), self.came:
            await self.came.wait_for(condition)

    def values(self, metric):
        return {record["v"] for _, records in self.messages for record in records if record["n"] == metric}


@pytest.fixture
def parts(tmp_path):
    port = free_port()
    broker = EmbeddedBroker(tmp_path / "broker", host="127.0.0.1", port=port, users=USERS)
    file = OutboxFile(tmp_path / "o.db", max_bytes=1 << 20)
    outbox = Outbox(file, commit_ms=50)
    pipeline = Pipeline(outbox, {"meter-1": catalogue()["eastron-sdm120"]}, clock=lambda: 0, linger_ms=5)
    login = Broker("127.0.0.1", port, "gw-1", "gw-1", "secret")
    uplink = MqttUplink(gateway="gw-1", prefix="kerb", broker=login, outbox=outbox)
    yield broker, outbox, pipeline, uplink, Listener(port)
    file.close()


async def test_readings_arrive_as_senml_and_are_let_go(parts):
    broker, outbox, pipeline, uplink, listener = parts
    async with tasks_running(broker.run(), listener.run(), outbox.run()):
        await listener.ready.wait()
        async with tasks_running(uplink.run()):
            pipeline.take(
                "meter-1",
                [
                    Reading("voltage", DecimalFraction(23000, -2), "V", GOOD, 1_795_382_519_355),
                    Reading("current", None, "A", BAD_TIMEOUT, 1_795_382_519_355),
                ],
            )
            await listener.wait_for(lambda: listener.messages)
            async with asyncio.timeout(5):
                while outbox.buffered():
                    await asyncio.sleep(0.01)
    ((topic, records),) = listener.messages
    assert topic == "kerb/gw-1/meter-1"
    assert records[0] == {"bn": "meter-1/", "bt": 1795382519.355, "n": "voltage", "u": "V", "v": 230.0}
    assert records[1] == {"n": "current", "u": "A", "q": BAD_TIMEOUT}


async def test_an_outage_loses_nothing(parts):
    broker, outbox, pipeline, uplink, listener = parts
    async with tasks_running(broker.run(), listener.run(), outbox.run(), uplink.run()):
        await listener.ready.wait()
        for count in range(300):
            pipeline.take("meter-1", [Reading("voltage", count, "V", GOOD, 1_795_382_519_355 + count)])
            if count == 100:
                broker.set_users(USERS[1:])  # the gateway is thrown out and not let in again
                async with asyncio.timeout(5):
                    while uplink.state.online:
                        await asyncio.sleep(0.01)
            if count == 200:
                broker.set_users(USERS)
            await asyncio.sleep(0.005)
        await listener.wait_for(lambda: listener.values("voltage") == set(range(300)))
        async with asyncio.timeout(10):
            while outbox.buffered():
                await asyncio.sleep(0.01)
    assert uplink.state.sessions >= 2
    assert uplink.state.backfill_sent > 0
