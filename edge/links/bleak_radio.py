"""A Bluetooth adapter as our links use it: who advertises what, and connections to peers. The one user of bleak.

"bluez" is the system's Bluetooth; "hci:TRANSPORT" is a dongle of our own, by bumble (edge/links/bleak_bumble.py).
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.uuids import normalize_uuid_16

from edge.links.bleak_errors import RadioError, finish, radio_errors

CONNECT_S = 20.0  # connecting and discovering services
RESCAN_S = 10.0  # an adapter may vanish, or hang, without a word: starting the scan anew tells

_BASE = normalize_uuid_16(0)[8:]

Uuid = int | str  # a number of 16 bits, or the text of all 128
AnyUuid = TypeVar("AnyUuid", bound=Uuid)


class Heard(NamedTuple):
    """An advertisement. `data`: service data by 16-bit service; `services`: those it lists; `device`: to connect to."""

    address: str
    name: str | None
    data: Mapping[int, bytes]
    services: frozenset[int]
    rssi: int
    device: BLEDevice


Listener = Callable[[Heard], None]


class Peer:
    """A connection. Every method raises RadioError; `gone` is done when the connection has ended."""

    def __init__(self, client: BleakClient, gone: asyncio.Future[None]):
        self._client = client
        self.gone = gone

    def properties(self, uuid: Uuid) -> frozenset[str]:
        """What may be done with a characteristic ("read", "write", "notify", ...); nothing if the peer has none."""
        found = self._client.services.get_characteristic(_whole(uuid))
        return frozenset(found.properties) if found else frozenset()

    def room(self, uuid: Uuid) -> int:
        """How many bytes one write to a characteristic takes; none if the peer has no such characteristic."""
        found = self._client.services.get_characteristic(_whole(uuid))
        return found.max_write_without_response_size if found else 0

    async def pair(self) -> None:
        """Bond, and encrypt the link; with a bond that there is, only encrypt."""
        with radio_errors():
            await self._client.pair()

    async def read(self, uuid: Uuid) -> bytes:
        """A characteristic's value."""
        with radio_errors():
            return bytes(await self._client.read_gatt_char(_whole(uuid)))

    async def write(self, uuid: Uuid, value: bytes) -> None:
        """Write a characteristic; with a response, so that a refusal is known, where it can give one."""
        with radio_errors():
            response = "write" in self.properties(uuid)
            await self._client.write_gatt_char(_whole(uuid), value, response=response)

    async def subscribe(self, uuid: AnyUuid, arrived: Callable[[AnyUuid, bytes], None]) -> None:
        """Have `arrived` called with the characteristic and each value that it notifies or indicates."""
        with radio_errors():
            await self._client.start_notify(_whole(uuid), partial(_passed_on, uuid, arrived))


class Radio:
    """An open adapter: the backend classes for bleak (None: BlueZ), and a future that is done when it is lost."""

    def __init__(
        self,
        scanner: type[BaseBleakScanner] | None,
        client: type[BaseBleakClient] | None,
        lost: asyncio.Future[None],
    ):
        self._scanner = scanner
        self._client = client
        self.lost = lost

    async def listen(self, listener: Listener) -> None:
        """Have `listener` called with each advertisement, until the adapter fails: then RadioError is raised."""
        while not self.lost.done():
            scanner = BleakScanner(partial(_heard, listener), backend=self._scanner)
            with radio_errors():
                await scanner.start()
            try:
                await asyncio.wait((self.lost,), timeout=RESCAN_S)
            finally:
                await finish(scanner.stop(), "ending the scan")
        raise RadioError(f"the adapter is gone: {self.lost.exception()}")

    @asynccontextmanager
    async def connected(self, heard: Heard, services: Collection[Uuid] | None) -> AsyncIterator[Peer]:
        """A connection to who was just heard, with these of its services (None: all). Raises RadioError."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client = BleakClient(
            heard.device,
            lambda _: None if gone.done() else gone.set_result(None),
            services=None if services is None else [_whole(service) for service in services],
            timeout=CONNECT_S,
            backend=self._client,
        )
        try:
            with radio_errors():
                await client.connect()
            yield Peer(client, gone)
        finally:
            await finish(client.disconnect(), f"disconnecting {heard.address}")


@asynccontextmanager
async def open_radio(adapter: str, bonds: Path | None) -> AsyncIterator[Radio]:
    """The adapter, open; `bonds`: the file that keeps what BlueZ keeps by itself. Raises RadioError."""
    if adapter == "bluez":
        yield Radio(None, None, asyncio.get_running_loop().create_future())
        return
    bumble: Any = importlib.import_module("edge.links.bleak_bumble")  # 20 MB that BlueZ does without
    opening = bumble.opened(adapter.removeprefix("hci:"), bonds)
    with radio_errors():
        hci = await opening.__aenter__()
    try:
        scanner, client = bumble.backends(hci)
        yield Radio(scanner, client, hci.lost)
    finally:
        await opening.__aexit__(None, None, None)


def _heard(listener: Listener, device: BLEDevice, said: AdvertisementData) -> None:
    data = {number: value for uuid, value in said.service_data.items() if (number := _short(uuid)) is not None}
    services = frozenset(number for uuid in said.service_uuids if (number := _short(uuid)) is not None)
    listener(Heard(device.address.upper(), said.local_name, data, services, said.rssi, device))


def _short(uuid: str) -> int | None:
    """The 16-bit form of a UUID that has one."""
    return int(uuid[:8], 16) if uuid.endswith(_BASE) and uuid.startswith("0000") else None


def _whole(uuid: Uuid) -> str:
    return normalize_uuid_16(uuid) if isinstance(uuid, int) else uuid


def _passed_on(
    uuid: AnyUuid, arrived: Callable[[AnyUuid, bytes], None], _sender: BleakGATTCharacteristic, value: bytearray
) -> None:
    arrived(uuid, bytes(value))
