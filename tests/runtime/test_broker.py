"""The embedded broker: rights, restart, config that only its owner reads, and sessions that come back."""

import asyncio
import contextlib
import os
import signal
import stat
from types import SimpleNamespace

import pytest

from runtime import broker as broker_module
from runtime import mqtt
from runtime.broker import BrokerError, EmbeddedBroker, User, subjects
from runtime.mqtt import Broker, Will, keep_session
from runtime.process import free_port


def test_subjects_of_topic_filters():
    assert subjects(["d/#"]) == ["d", "d.>"]
    assert subjects(["d/+/up/+", "d/a/birth", "#"]) == ["d.*.up.*", "d.a.birth", ">"]


@contextlib.asynccontextmanager
async def broker(path, users):
    made = EmbeddedBroker(path, host="127.0.0.1", port=free_port(), users=users)
    task = asyncio.create_task(made.run())
    async with asyncio.timeout(10):
        await made.ready.wait()
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def client(made, name, subscribe, *, password="secret", will=None):
    """Yields (session, received messages, reasons of ended sessions)."""
    came = asyncio.Queue()
    sessions = asyncio.Queue()
    down = asyncio.Queue()

    async def serve(session):
        for topic in subscribe:
            await session.subscribe(topic)
        sessions.put_nowait(session)
        async for message in session.messages():
            came.put_nowait((message.topic, message.payload, message.retained))

    login = Broker("127.0.0.1", made.port, name, name, password)
    task = asyncio.create_task(keep_session(login, serve, will=will, on_down=down.put_nowait))
    yield sessions, came, down
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


USERS = [User("all", ["d/#"], ["d/#"], "secret"), User("a", ["d/a/up/+"], ["d/a/cursor/+"], "secret")]


async def test_a_client_touches_its_own_prefix_only(tmp_path):
    async with broker(tmp_path, USERS) as made, client(made, "all", ["d/+/up/+"]) as (ready, came, _):
        await ready.get()
        async with client(made, "a", ["d/a/cursor/+"]) as (sessions, _, _):
            session = await sessions.get()
            with contextlib.suppress(Exception):  # NATS takes it and drops it, or ends the session
                await session.publish("d/b/up/bulk", b"forbidden")
            await session.publish("d/a/up/bulk", b"allowed")
        async with asyncio.timeout(5):
            assert await came.get() == ("d/a/up/bulk", b"allowed", False)
        assert came.empty()


async def test_a_wrong_password_is_refused_and_said(tmp_path):
    async with broker(tmp_path, USERS) as made, client(made, "a", [], password="wrong") as (_, _, down):
        async with asyncio.timeout(5):
            assert "authori" in (await down.get()).lower()


async def test_the_config_is_its_owners_alone(tmp_path):
    async with broker(tmp_path, USERS):
        assert stat.S_IMODE((tmp_path / "broker.conf").stat().st_mode) == 0o600


async def test_a_broker_that_dies_comes_back_with_what_it_retained_and_so_do_sessions(tmp_path):
    async with broker(tmp_path, USERS) as made, client(made, "all", ["d/+/up/+"]) as (sessions, came, down):
        session = await sessions.get()
        await session.publish("d/x/up/bulk", b"kept", qos=1, retain=True)
        async with asyncio.timeout(10):
            assert (await came.get())[1] == b"kept"
            os.kill(made.pid, signal.SIGKILL)
            assert await down.get()
            await sessions.get()
            assert await came.get() == ("d/x/up/bulk", b"kept", True)


async def test_what_comes_while_the_queue_is_full_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(mqtt, "_QUEUE", 4)
    dropped, listening = [], asyncio.Event()

    async def never_reads(session):
        await session.subscribe("d/+/up/+", qos=0)
        listening.set()
        await asyncio.Event().wait()

    async with broker(tmp_path, USERS) as made, client(made, "all", []) as (sessions, _, _), asyncio.timeout(10):
        session = await sessions.get()
        login = Broker("127.0.0.1", made.port, "deaf", "all", "secret")
        deaf = asyncio.create_task(keep_session(login, never_reads, on_drop=lambda: dropped.append(1)))
        await listening.wait()
        for _ in range(10):
            await session.publish("d/x/up/bulk", b"reading")
        while len(dropped) < 6:
            await asyncio.sleep(0.01)
        deaf.cancel()
    assert len(dropped) == 6


async def test_after_a_full_disk_it_is_started_anew(tmp_path, monkeypatch):
    """It would refuse to store anything for ever, with room or without."""
    free = 100 << 20
    monkeypatch.setattr(broker_module, "_DISK_CHECK_S", 0.05)
    monkeypatch.setattr(broker_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    async with broker(tmp_path, USERS) as made, asyncio.timeout(10):
        first = made.pid
        await asyncio.sleep(0.2)
        free = 1000
        await asyncio.sleep(0.2)
        assert made.pid == first  # while the disk is full a new one would be no better off
        free = 100 << 20
        while made.pid in (first, None):
            await asyncio.sleep(0.01)
        await made.ready.wait()


async def test_a_will_is_published_when_its_client_dies(tmp_path):
    async with broker(tmp_path, USERS) as made, client(made, "all", ["d/a/up/+"]) as (ready, came, _):
        await ready.get()
        async with client(made, "a", [], will=Will("d/a/up/bulk", b"gone")) as (sessions, _, _):
            session = await sessions.get()
            session._client._client.socket().shutdown(2)  # a cut line, not a farewell
            async with asyncio.timeout(10):
                assert (await came.get())[1] == b"gone"


async def test_users_change_without_a_restart(tmp_path):
    async with broker(tmp_path, USERS) as made:
        pid = made.pid
        made.set_users([*USERS, User("b", ["d/b/up/+"], ["d/b/cursor/+"], "secret")])
        async with client(made, "b", ["d/b/cursor/+"]) as (sessions, _, _), asyncio.timeout(10):
            await sessions.get()
        assert made.pid == pid


async def test_a_port_that_is_taken_is_an_error_with_a_name(tmp_path):
    async with broker(tmp_path / "one", USERS) as made:
        second = EmbeddedBroker(tmp_path / "two", host="127.0.0.1", port=made.port, users=USERS)
        with pytest.raises(BrokerError, match=r"port \d+ .* in use"):
            await second.run()
