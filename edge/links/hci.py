"""A Bluetooth adapter without BlueZ: any HCI transport that bumble opens, and the bonds that were made through it."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bleak.exc import BleakError, BleakGATTProtocolError
from bumble.att import ATT_Error
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device
from bumble.hci import Address, HCI_LE_Create_Connection_Cancel_Command
from bumble.keys import KeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

log = logging.getLogger(__name__)

OPEN_S = 10.0  # a dongle that has not answered its reset by then never will
COMMAND_S = 5.0
INITIATE_S = 6.0  # who just advertised answers at once, or has gone back to sleep and must not hold up the others

BLE_FAILURES = (BleakError, TimeoutError, OSError, EOFError)  # what bleak raises; EOFError: BlueZ's D-Bus is gone

_Stored = dict[str, dict[str, Any]]


@contextmanager
def bleak_errors(action: str) -> Iterator[None]:
    """bumble's errors as bleak's, with the action that failed; and cancellations as asyncio means them.

    bumble cancels what waits for a link that goes away: where nobody cancelled this task, that is an error. And the
    wait_for of Python 3.11, which bumble uses, may lose a cancellation that comes together with a result or an error.
    """
    task = asyncio.current_task()
    assert task
    cancelled = task.cancelling()
    try:
        yield
    except (BaseBumbleError, OSError, asyncio.CancelledError) as error:
        if task.cancelling() > cancelled:
            raise asyncio.CancelledError from error
        raise _in_bleak_terms(action, error) from error
    if task.cancelling() > cancelled:
        raise asyncio.CancelledError


def _in_bleak_terms(action: str, error: BaseException) -> BleakError:
    match error:
        case ATT_Error():
            return BleakGATTProtocolError(error.error_code)
        case TimeoutError():
            return BleakError(f"{action}: no answer in time")
        case asyncio.CancelledError():
            return BleakError(f"{action}: the link was lost")
        case _:
            return BleakError(f"{action}: {error}")


async def finish(ending: Awaitable[object], action: str) -> None:
    """Await an ending whose failure changes nothing: a new beginning follows, or a cancellation that must go on."""
    try:
        await ending
    except BLE_FAILURES as error:
        log.info("%s: %s", action, error)


class Bonds(KeyStore):
    """The keys of bonded peers and the address they know us by, in one JSON file that only its owner may read.

    Without a path the bonds last as long as the process. Raises BleakError for a file that cannot be used.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._peers: _Stored = {}
        address = str(Address.generate_static_address())
        if path is not None and path.exists():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                address, self._peers = stored["address"], stored["peers"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BleakError(f"the bonds in {path} cannot be read: {error!r}") from error
        self.address = Address(address)

    def forget(self, peer: str) -> None:
        """Remove a peer's keys, if there are any."""
        if self._peers.pop(peer, None) is not None:
            self._save()

    async def get(self, name: str) -> PairingKeys | None:
        """A peer's keys."""
        return PairingKeys.from_dict(self._peers[name]) if name in self._peers else None

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """All peers and their keys."""
        return [(name, PairingKeys.from_dict(keys)) for name, keys in self._peers.items()]

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Store a peer's keys in place of older ones."""
        self._peers[name] = keys.to_dict()
        self._save()

    async def delete(self, name: str) -> None:
        """Remove a peer's keys."""
        self.forget(name)

    def _save(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"address": str(self.address), "peers": self._peers}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def _pairing(_connection: Connection) -> PairingConfig:
    """Just Works with bonding: neither a gateway nor these devices has a display. Only encryption keys change hands."""
    keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
    delegate = PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT, keys, keys)
    return PairingConfig(sc=True, mitm=False, bonding=True, delegate=delegate)


class HciAdapter:
    """A powered-on controller: `async with HciAdapter(transport="usb:0", bonds=path) as adapter`. Raises BleakError.

    `transport` is a bumble transport name: usb:0, serial:/dev/ttyACM0,1000000, tcp-client:127.0.0.1:9999.
    """

    device: Device
    lost: asyncio.Future[None]  # done when the transport is gone

    def __init__(self, *, transport: str, bonds: Path | None):
        self._transport = transport
        self._bonds_path = bonds
        self._open = AsyncExitStack()
        self._initiating = asyncio.Lock()  # a controller makes one connection at a time

    async def __aenter__(self) -> "HciAdapter":
        self.bonds = Bonds(self._bonds_path)
        with bleak_errors(self._transport):
            async with AsyncExitStack() as undo, asyncio.timeout(OPEN_S):
                transport = await self._opened()
                undo.push_async_callback(transport.close)
                self.lost = transport.source.terminated
                self.device = Device.with_hci("Kerb", self.bonds.address, transport.source, transport.sink)
                self.device.keystore = self.bonds
                self.device.pairing_config_factory = _pairing
                await self.device.power_on()
                undo.push_async_callback(self.device.power_off)
                self._open = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def connect(self, peer: Address, *, timeout_s: float) -> Connection:
        """A connection to a peer that advertises, within INITIATE_S at most. Raises BleakError."""
        async with self._initiating:
            try:
                with bleak_errors("connecting"):
                    return await self.device.connect_le(peer, timeout=min(timeout_s, INITIATE_S))
            except asyncio.CancelledError:
                await finish(self._give_up(), "giving up connecting")
                raise

    async def _give_up(self) -> None:
        """Else the controller would go on, and connect for nobody."""
        if self.lost.done():
            return
        with bleak_errors("giving up connecting"):
            async with asyncio.timeout(COMMAND_S):
                await self.device.send_sync_command(HCI_LE_Create_Connection_Cancel_Command())

    async def _opened(self) -> Any:
        try:
            return await open_transport(self._transport)
        except ValueError as error:
            raise BleakError(f"{self._transport} is no HCI transport: {error}") from error
