"""Ingest with the real broker: killed at any moment and started again, it has every reading exactly once."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from hub import logins
from hub.authority import Authority
from hub.errors import SetupError
from hub.ingest import broker_login
from hub.only_one import only_one
from hub.store.querying import Querying
from hub.store.schema import FILE, connect, prepare
from protocols.reading import reading
from runtime.broker import EmbeddedBroker
from runtime.mqtt import Broker, Message, Session, keep_session
from runtime.process import die_with_parent, free_port
from tests.hub.gateway import Gateway, body, enrolled

ROOT = Path(__file__).parents[2]


async def start_ingest(data: Path, port: int) -> asyncio.subprocess.Process:
    options = ("--data", str(data), "--mqtt-port", str(port))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hub",
        "ingest",
        *options,
        cwd=ROOT,
        preexec_fn=die_with_parent,
        stderr=asyncio.subprocess.DEVNULL,
    )


def hub_broker(data: Path, port: int) -> EmbeddedBroker:
    return EmbeddedBroker(
        data / "broker", host="127.0.0.1", port=port, users=logins.users(data), tls=Authority(data).broker()
    )


async def stopped(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_killed_again_and_again_it_stores_every_reading_once(data: Path) -> None:
    port, made, kills = free_port(), 1500, 3
    logins.admit(data, "block-1")
    broker = hub_broker(data, port)
    serving = asyncio.create_task(broker.run())
    await asyncio.wait_for(broker.ready.wait(), 10)
    gateway = Gateway(data, port)
    sending = asyncio.create_task(gateway.run())
    ingest = await start_ingest(data, port)
    try:
        for number in range(made):
            gateway.put(body([("wearable-1", reading("heart_rate", number, "/min", 0, 1_000 + number))]))
            if number % (made // kills) == made // kills // 2:
                # It must be in the midst of its work: some packs stored, some not.
                async with asyncio.timeout(10):
                    while gateway.held > 100:
                        await asyncio.sleep(0.005)
                ingest.send_signal(signal.SIGKILL)
                await ingest.wait()
                ingest = await start_ingest(data, port)
            await asyncio.sleep(0.001)
        await gateway.emptied(30)
    finally:
        await stopped(sending, serving)
        ingest.terminate()
        assert await ingest.wait() == 0  # told to end, it ends in order
    store = Querying(data)
    connection = connect(data / FILE, readonly=True)
    restarts = connection.execute("SELECT count FROM counter WHERE name = 'packs_duplicate'").fetchone()
    connection.close()
    points, _ = store.history(store.streams("wearable-1")[0].id, 0, 1 << 53)
    assert [point.value for point in points] == list(range(made))
    assert sum(one.stored for one in store.custody()) == made
    assert restarts is None or restarts[0] < made * kills


async def test_a_gateway_may_not_touch_another_ones_topics(data: Path) -> None:
    port = free_port()
    for name in ("block-1", "block-2"):
        logins.admit(data, name)
    broker = hub_broker(data, port)
    serving = asyncio.create_task(broker.run())
    await asyncio.wait_for(broker.ready.wait(), 10)
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def listen(session: Session) -> None:
        await session.subscribe("g/+/birth", qos=0)
        seen.put_nowait("listening")
        async for message in session.messages():
            seen.put_nowait(message.topic)

    async def intrude(session: Session) -> None:
        await session.publish("g/block-2/birth", b"{}")
        await session.publish("g/block-1/birth", b"{}")
        await asyncio.Event().wait()

    hub = broker_login(data, host="127.0.0.1", port=port)
    one = Broker("127.0.0.1", port, "block-1", tls=enrolled(data, "block-1"))
    listening = asyncio.create_task(keep_session(hub, listen))
    assert await asyncio.wait_for(seen.get(), 5) == "listening"
    intruding = asyncio.create_task(keep_session(one, intrude))
    try:
        assert await asyncio.wait_for(seen.get(), 5) == "g/block-1/birth"
        assert seen.empty()
    finally:
        await stopped(intruding, listening, serving)


def test_two_writers_are_refused(data: Path) -> None:
    prepare(data)
    with only_one(data, "ingest"), pytest.raises(SetupError, match="another ingest"), only_one(data, "ingest"):
        pass
    with only_one(data, "ingest"):
        pass  # the lock went with its holder


async def test_a_birth_that_was_missed_is_asked_for_again(data: Path) -> None:
    """The renewed subscription on which ingest relies when a pack speaks of an alias that it does not know."""
    port = free_port()
    logins.admit(data, "block-1")
    broker = hub_broker(data, port)
    serving = asyncio.create_task(broker.run())
    await asyncio.wait_for(broker.ready.wait(), 10)
    seen: asyncio.Queue[Message] = asyncio.Queue()

    async def listen(session: Session) -> None:
        await session.subscribe("g/+/birth", qos=0)
        async with asyncio.TaskGroup() as group:
            group.create_task(renew(session))
            async for message in session.messages():
                seen.put_nowait(message)

    async def renew(session: Session) -> None:
        """Again and again, as ingest does: the broker retains a message a moment after it has passed it on."""
        while True:
            await asyncio.sleep(0.2)
            await session.subscribe("g/+/birth", qos=0)

    gateway = Gateway(data, port)
    hub = broker_login(data, host="127.0.0.1", port=port)
    listening = asyncio.create_task(keep_session(hub, listen))
    sending = asyncio.create_task(gateway.run())
    try:
        async with asyncio.timeout(10):
            messages = [await seen.get(), await seen.get()]
        assert messages[0].payload == messages[1].payload
        assert messages[1].retained
    finally:
        await stopped(sending, listening, serving)
