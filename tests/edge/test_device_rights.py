"""What a device's certificate lets it do at its gateway's broker, and what it does not: by a device that tries."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.parts.devices import device_tls
from edge.device_authority import DeviceAuthority
from edge.links.base import Attached
from edge.links.mqtt import MqttLink
from edge.links.plan_files import PlanFiles
from edge.update_images import Images
from firmware.core.mqtt import MqttClient
from firmware.errors import MqttError
from hardware.catalogue import catalogue
from protocols.identity import SERVER_NAME
from runtime.process import free_port
from runtime.tls import client_tls

MODEL = catalogue()["kerb-wearable"]


class Intake:
    """Keeps what devices are said to be."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.counted: list[tuple[str, str]] = []
        self.news = asyncio.Event()

    def state(self, thing: str, state: str, reason: str = "") -> None:
        self.states[thing] = state
        self.news.set()

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        self.counted.append((counter, thing))

    def full(self) -> bool:
        return False

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self.news.clear()
                await self.news.wait()


class Gateway:
    """A link with its broker, for devices a and b."""

    def __init__(self, data: Path):
        self.data = data
        self.port = free_port()
        self.authority = DeviceAuthority(data)
        self.intake = Intake()
        self.link = MqttLink(
            name="wifi",
            directory=data / "broker",
            host="127.0.0.1",
            port=self.port,
            devices=[Attached(device, MODEL, "") for device in ("a", "b")],
            authority=self.authority,
            cursors={},
            images=Images(data),
            plans=PlanFiles(data, ["a", "b"]),
            intake=self.intake,  # type: ignore[arg-type]  # the part of it that is used here
            clock=lambda: 1_795_382_519_355,
        )

    @contextlib.asynccontextmanager
    async def device(self, tls: ssl.SSLContext, will_topic: str = "d/a/birth") -> AsyncIterator[MqttClient]:
        will = (will_topic, b'{"state":"offline"}')
        client = MqttClient(
            host="127.0.0.1", port=self.port, tls=tls, server_name=SERVER_NAME, client_id="of-a", will=will
        )
        await client.connect()
        serving = asyncio.create_task(client.serve(lambda topic, payload: None))
        try:
            yield client
        finally:
            await client.close()
            await ended(serving)

    async def refuses(self, tls: ssl.SSLContext) -> None:
        with pytest.raises(MqttError):
            async with self.device(tls):
                pass

    async def thrown_out(self, client: MqttClient) -> None:
        """Return when the client is no longer connected."""
        async with asyncio.timeout(5):
            with contextlib.suppress(MqttError):
                while True:
                    await client.publish("d/a/birth", b"{}", qos=1)
                    await asyncio.sleep(0.05)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    made = Gateway(tmp_path)
    running = asyncio.create_task(made.link.run())
    await asyncio.wait_for(made.link._broker.ready.wait(), 15)
    yield made
    assert not running.done(), running.exception()
    running.cancel()
    await asyncio.wait([running])


async def test_a_device_may_use_its_own_topics(gateway: Gateway) -> None:
    async with gateway.device(await admitted(gateway, "a")) as client:
        await client.subscribe(["d/a/cursor/bulk", "d/a/cmd", "d/a/plan"])
        await client.publish("d/a/birth", b'{"state":"online"}', qos=1, retain=True)
        await gateway.intake.until(lambda: gateway.intake.states.get("a") == "online")
    await gateway.intake.until(lambda: gateway.intake.states.get("a") == "offline")  # its will


@pytest.mark.parametrize(
    "topic", ["d/b/cursor/bulk", "d/b/cmd", "d/b/plan", "d/+/cursor/bulk", "d/#", "#", "d/a/up/bulk", "$SYS/#"]
)
async def test_it_may_hear_nothing_that_is_for_others(gateway: Gateway, topic: str) -> None:
    async with gateway.device(await admitted(gateway, "a")) as client:
        with pytest.raises(MqttError):
            await client.subscribe([topic])


@pytest.mark.parametrize("topic", ["d/b/birth", "d/b/up/bulk", "d/b/result", "d/a/cursor/bulk", "d/b/cmd", "x"])
async def test_what_it_says_for_others_reaches_nobody(gateway: Gateway, topic: str) -> None:
    """A forbidden PUBLISH is acknowledged all the same; the broker only does not pass it on."""
    heard: list[bytes] = []
    own = gateway.authority.gateway()
    login = client_tls(ca=gateway.authority.file, certificate=own, key=own)
    listener = MqttClient(host="127.0.0.1", port=gateway.port, tls=login, server_name=SERVER_NAME, client_id="listener")
    await listener.connect()
    serving = asyncio.create_task(listener.serve(lambda topic, payload: heard.append(payload)))
    await listener.subscribe(["d/#"])
    async with gateway.device(await admitted(gateway, "a")) as client:
        with contextlib.suppress(MqttError):
            await client.publish(topic, b'{"state":"forged"}')
            await client.publish("d/a/birth", b'{"state":"online"}', qos=1, retain=True)
        await gateway.intake.until(lambda: gateway.intake.states.get("a") == "online")
    await listener.close()
    await ended(serving)
    assert b'{"state":"online"}' in heard
    assert b'{"state":"forged"}' not in heard
    assert "b" not in gateway.intake.states


async def test_its_will_cannot_declare_another_one_dead(gateway: Gateway) -> None:
    tls = await admitted(gateway, "a")
    with contextlib.suppress(MqttError):  # refused, or never published
        async with gateway.device(tls, will_topic="d/b/birth"):
            pass
    async with gateway.device(tls) as client:
        await client.publish("d/a/birth", b'{"state":"online"}', qos=1, retain=True)
        await gateway.intake.until(lambda: gateway.intake.states.get("a") == "online")
    assert "b" not in gateway.intake.states


async def test_who_has_no_certificate_or_one_of_another_gateway_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    await gateway.refuses(client_tls(ca=gateway.authority.file))
    other = tmp_path / "other"
    device_tls(other, "a")
    await gateway.refuses(client_tls(ca=gateway.authority.file, certificate=other / "a.pem", key=other / "a.pem"))


async def test_a_device_that_is_revoked_is_thrown_out_and_comes_back_by_another_key_only(gateway: Gateway) -> None:
    first = await admitted(gateway, "a")
    async with gateway.device(first) as client:
        gateway.authority.revoke("a")
        await gateway.thrown_out(client)
    await gateway.refuses(first)
    second = await admitted(gateway, "a")
    await gateway.refuses(first)
    async with gateway.device(second) as client:
        await client.publish("d/a/birth", b'{"state":"online"}', qos=1, retain=True)


async def test_a_device_of_another_link_is_not_let_in(gateway: Gateway) -> None:
    stranger = device_tls(gateway.data, "c")
    await asyncio.sleep(1)
    await gateway.refuses(stranger)


async def ended(serving: asyncio.Task[None]) -> None:
    """Wait for the end of a client that was closed; a cancellation could be swallowed by wait_for of Python 3.11."""
    await asyncio.wait([serving])
    assert isinstance(serving.exception(), MqttError)


async def admitted(gateway: Gateway, device: str) -> ssl.SSLContext:
    """TLS of a device that is admitted while the gateway runs, as soon as the broker knows it."""
    tls = device_tls(gateway.data, device)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(MqttError):
                async with gateway.device(tls):
                    return tls
            await asyncio.sleep(0.05)
