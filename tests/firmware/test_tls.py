"""Whom a device on real MicroPython believes to be its gateway: the gateway that has admitted it, and nobody else."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.parts import devices
from edge.device_authority import DeviceAuthority
from hardware.sim.device import ROOT, micropython
from runtime.broker import User
from runtime.certificates import CertificateAuthority, subject
from tests.firmware.test_mqtt import running_broker

DEVICE = "w-1"
PROGRAM = """
import asyncio, sys
from firmware.core import identity
from firmware.core.mqtt import MqttClient
from firmware.errors import FirmwareError
from protocols.identity import SERVER_NAME

async def main(storage, port):
    try:
        tls = identity.tls(storage)
        client = MqttClient(host="127.0.0.1", port=port, tls=tls, server_name=SERVER_NAME, client_id="w")
        await client.connect()
        print("connected")
    except FirmwareError as error:
        print(error)

asyncio.run(main({storage!r}, {port}))
"""


async def connect(storage: Path, port: int) -> str:
    """What a device with this storage says of its connection."""
    program = PROGRAM.format(storage=str(storage), port=port)
    process = await asyncio.create_subprocess_exec(
        micropython(), "-X", "heapsize=190K", "-c", program,
        env={"MICROPYPATH": f"{ROOT}:.frozen"}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(30):
        told, _ = await process.communicate()
    return told.decode().strip()


@pytest.fixture
def gateway(tmp_path: Path) -> DeviceAuthority:
    """A gateway that has admitted the device."""
    devices.admit(tmp_path, DEVICE, tmp_path / "device")
    return DeviceAuthority(tmp_path)


@asynccontextmanager
async def server(certificate: Path | None, ca: Path) -> AsyncIterator[int]:
    """Takes connections, with this certificate and key; None: without TLS."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
        context.load_cert_chain(certificate)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK, to whoever is so credulous
        await asyncio.sleep(1)
        writer.close()

    made = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with made:
        yield made.sockets[0].getsockname()[1]


async def test_the_gateway_that_has_admitted_it_is_believed(tmp_path: Path, gateway: DeviceAuthority) -> None:
    users = [User(subject(DEVICE, gateway.serials()[DEVICE]), [], [])]
    async with running_broker(tmp_path, gateway.broker([]), users) as port:
        assert await connect(tmp_path / "device", port) == "connected"


async def test_another_gateway_is_not(tmp_path: Path, gateway: DeviceAuthority) -> None:
    other = DeviceAuthority(tmp_path / "other").broker([])
    async with server(other.certificate, other.ca) as port:
        assert "not correctly signed by the trusted CA" in await connect(tmp_path / "device", port)


async def test_another_device_of_the_same_gateway_is_not(tmp_path: Path, gateway: DeviceAuthority) -> None:
    devices.device_tls(tmp_path, "w-2")
    async with server(tmp_path / "w-2.pem", gateway.file) as port:
        assert "does not match with the expected CN" in await connect(tmp_path / "device", port)


async def test_nor_is_one_that_calls_itself_the_gateway(tmp_path: Path, gateway: DeviceAuthority) -> None:
    """The name alone does not do: a certificate for clients is none for a server."""
    ca = CertificateAuthority(tmp_path / "devices", name="", ca_life=None, life=None)
    async with server(ca.client("posing", "gateway.kerb"), gateway.file) as port:
        assert "BAD_CERTIFICATE" in await connect(tmp_path / "device", port)


async def test_without_tls_nothing_is_told(tmp_path: Path, gateway: DeviceAuthority) -> None:
    async with server(None, gateway.file) as port:
        assert "the connection is lost" in await connect(tmp_path / "device", port)


async def test_a_gateway_that_has_not_admitted_it_is_told_in_one_line(tmp_path: Path, gateway: DeviceAuthority) -> None:
    users = [User(subject(DEVICE, "another"), [], [])]
    async with running_broker(tmp_path, gateway.broker([]), users) as port:
        told = await connect(tmp_path / "device", port)
    assert told.startswith("mqtt: ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("admission.json", None, "admission.json: is missing; provision the device"),
        ("key.der", None, "key.der: is missing; provision the device"),
        ("admission.json", b"{", "admission.json: is damaged"),
        ("admission.json", b"[]", "admission.json: is damaged"),
        ("admission.json", b'{"certificate": "00", "ca": "00"}', "admission.json: is damaged"),
        ("key.der", b"no key", "admission.json: is damaged"),
    ],
)
async def test_without_an_identity_it_does_not_even_try(
    tmp_path: Path, gateway: DeviceAuthority, file: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "device" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert reason in await connect(tmp_path / "device", 1)
