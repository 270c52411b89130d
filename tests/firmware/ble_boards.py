"""Boards by Bluetooth: real MicroPython on simulated boards, and a central of bumble's on the same radio link."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.host import Host
from bumble.keys import MemoryKeyStore
from bumble.link import LocalLink
from bumble.pairing import PairingConfig, PairingDelegate

from hardware.sim.ble_stack import open_boards
from hardware.sim.chips.norflash import SECTOR_BYTES
from hardware.sim.device import ROOT, SHIMS, micropython
from hardware.sim.shims.radio_lines import address_of

CENTRAL = "F0:F1:F2:F3:F4:01"
RECORD_SECTORS = 4
_CENTRAL_S = 5.0
_HEAP = "1M"  # these boards compile their sources; test_wearable_ble.py runs the app in the memory of a real one


class Central:
    """A central with its own bonds. `connect` makes a connection to a board and discovers all that it has."""

    def __init__(self, link: LocalLink, address: str = CENTRAL):
        controller = Controller("central", link=link)
        host = Host(controller, controller)
        controller.host = host
        self._link, self._controller = link, controller
        self.device = Device("central", Address(address), host=host)
        self.device.keystore = MemoryKeyStore()
        self.device.pairing_config_factory = _just_works

    @asynccontextmanager
    async def connected(self, board: str, *, mtu: int = 247, bond: bool = False) -> AsyncIterator["Link"]:
        """A connection that has discovered everything, ended at last."""
        connection = await self._connection(board)
        peer = Peer(connection)
        try:
            if mtu > 23:
                await peer.request_mtu(mtu)
            await peer.discover_all()
            link = Link(connection, peer)
            if bond:
                await link.secure()
            yield link
        finally:
            if connection.handle in self.device.connections:
                await connection.disconnect()

    async def _connection(self, board: str) -> Connection:
        return await self.device.connect(Address(board), timeout=_CENTRAL_S)

    async def close(self) -> None:
        """Switch off."""
        await self.device.power_off()
        self._link.remove_controller(self._controller)


class Link:
    """One connection of a central. What arrives by notification or indication is put into `arrived`."""

    def __init__(self, connection: Connection, peer: Peer):
        self.connection = connection
        self.peer = peer
        self.arrived: asyncio.Queue[tuple[int | str, bytes]] = asyncio.Queue()

    def find(self, uuid: int | str) -> CharacteristicProxy[bytes]:
        """The one characteristic of this UUID."""
        wanted = UUID.from_16_bits(uuid) if isinstance(uuid, int) else UUID(uuid)
        [found] = self.peer.get_characteristics_by_uuid(wanted)
        return found

    async def secure(self) -> None:
        """Encrypt, and pair first unless there is a bond."""
        keystore = self.connection.device.keystore
        assert keystore
        if await keystore.get(str(self.connection.peer_address)):
            await self.connection.encrypt()
        else:
            await self.connection.pair()

    async def subscribe(self, *uuids: int | str) -> None:
        """Subscribe to these, each in the way that it offers."""
        for uuid in uuids:
            await self.peer.subscribe(self.find(uuid), self._put(uuid), prefer_notify=True)
            self.listen(uuid)  # in the place of that: whoever subscribes again is told once

    def listen(self, uuid: int | str) -> None:
        """Take what arrives, without subscribing."""
        proxy = self.find(uuid)
        for subscribers in (
            self.peer.gatt_client.notification_subscribers,
            self.peer.gatt_client.indication_subscribers,
        ):
            subscribers.setdefault(proxy.handle, set()).clear()
            subscribers[proxy.handle].add(self._put(uuid))

    async def next(self, timeout_s: float = 5.0) -> tuple[int | str, bytes]:
        """What arrives next."""
        return await asyncio.wait_for(self.arrived.get(), timeout_s)

    def _put(self, uuid: int | str):
        return lambda value: self.arrived.put_nowait((uuid, bytes(value)))


def _just_works(_connection: Connection) -> PairingConfig:
    keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
    delegate = PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT, keys, keys)
    return PairingConfig(sc=True, mitm=False, bonding=True, delegate=delegate)


class Room:
    """A radio link, and boards on it."""

    def __init__(self, link: LocalLink, folder: Path, port: int):
        self.link = link
        self.folder = folder
        self.port = port

    @asynccontextmanager
    async def board(self, name: str, argv: Iterable[str]) -> AsyncIterator[str]:
        """A board that runs this with MicroPython until its power is cut; gives its address once it advertises."""
        state = self.folder / name
        state.mkdir(exist_ok=True)
        serial = hashlib.sha256(name.encode()).digest()[:6]
        flash = state / "records.flash"
        if not flash.exists():
            flash.write_bytes(b"\xff" * RECORD_SECTORS * SECTOR_BYTES)
        partitions = {"records": {"path": str(flash), "sector_bytes": SECTOR_BYTES}}
        described = {"unique_id": serial.hex(), "chips": [], "partitions": partitions}
        (state / "board.json").write_text(json.dumps(described))
        environment = {
            **os.environ,
            "MICROPYPATH": f"{ROOT}:{SHIMS}:.frozen",
            "KERB_BOARD": str(state / "board.json"),
            "KERB_STATE": str(state),
            "KERB_RADIO": f"127.0.0.1:{self.port}",
        }
        process = await asyncio.create_subprocess_exec(
            micropython(), "-X", f"heapsize={_HEAP}", *argv, env=environment, cwd=ROOT
        )
        try:
            yield ":".join(f"{byte:02X}" for byte in address_of(serial))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @asynccontextmanager
    async def central(self, address: str = CENTRAL) -> AsyncIterator[Central]:
        """A central, switched on."""
        central = Central(self.link, address)
        await central.device.power_on()
        try:
            yield central
        finally:
            await central.close()


@asynccontextmanager
async def radio_room(folder: Path, *, keeps_subscriptions: bool = True) -> AsyncIterator[Room]:
    """A radio link that boards can reach."""
    link = LocalLink()
    server = await open_boards(link, 0, keeps_subscriptions=keeps_subscriptions)
    try:
        yield Room(link, folder, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()
