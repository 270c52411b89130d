"""What a test needs that plays the gateway of one device: its broker, and the gateway's own client there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.parts import devices
from edge.device_authority import GATEWAY, DeviceAuthority
from edge.links.mqtt import _device_user
from firmware.core.mqtt import MqttClient
from protocols.identity import SERVER_NAME
from runtime.broker import User
from runtime.certificates import subject
from runtime.tls import client_tls
from tests.firmware.test_mqtt import running_broker


@asynccontextmanager
async def broker_of(folder: Path, device: str, storage: Path, port: int = 0) -> AsyncIterator[tuple[int, MqttClient]]:
    """The port of a broker that has admitted the device with this storage; and a client, which is to be connected."""
    authority = DeviceAuthority(folder)
    devices.admit(folder, device, storage)
    users = [User(subject(GATEWAY), ["d/#"], ["d/#"]), _device_user(device, authority.serials()[device])]
    own = authority.gateway()
    tls = client_tls(ca=authority.file, certificate=own, key=own)
    async with running_broker(folder, authority.broker([]), users, port) as taken:
        yield taken, MqttClient(host="127.0.0.1", port=taken, tls=tls, server_name=SERVER_NAME, client_id=GATEWAY)
