"""A Bluetooth adapter without BlueZ: any HCI transport that bumble opens."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from bumble.device import Connection, Device
from bumble.hci import Address
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

from edge.links.bonds import Bonds
from edge.links.initiator import Initiator

OPEN_S = 10.0  # a dongle that has not answered its reset by then never will
INITIATE_S = 6.0  # who just advertised answers at once, or has gone back to sleep
_CLOSED = "its transport was closed"


def _pairing(_connection: Connection) -> PairingConfig:
    """Just Works with bonding: neither a gateway nor these devices has a display. Only encryption keys change hands."""
    keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
    delegate = PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT, keys, keys)
    return PairingConfig(sc=True, mitm=False, bonding=True, delegate=delegate)


class _Nowhere:
    """Where packets go when the transport is gone."""

    def on_packet(self, _packet: bytes) -> None:
        raise ConnectionError(_CLOSED)


class HciAdapter:
    """A powered-on controller: `async with HciAdapter(transport="usb:0", bonds=path) as adapter`.

    `transport` is a bumble transport name: usb:0, serial:/dev/ttyACM0,1000000, tcp-client:127.0.0.1:9999.
    Raises BondsError, ValueError for what is no transport, and bumble's errors.
    """

    device: Device
    bonds: Bonds
    lost: asyncio.Future[None]  # done when the transport is gone or the controller answers no more

    def __init__(self, *, transport: str, bonds: Path | None):
        self._transport = transport
        self._bonds_path = bonds
        self._open = AsyncExitStack()
        self._initiator: Initiator
        self._terminated: asyncio.Future[None]

    @property
    def closed(self) -> bool:
        """Whether no command can be answered any more; `lost` tells it a moment later."""
        return self.lost.done() or self._terminated.done()

    async def __aenter__(self) -> "HciAdapter":
        self.bonds = Bonds(self._bonds_path)
        self.lost = asyncio.get_running_loop().create_future()
        async with AsyncExitStack() as undo, asyncio.timeout(OPEN_S):
            transport = await open_transport(self._transport)
            undo.push_async_callback(transport.close)
            self._terminated = transport.source.terminated
            self._terminated.add_done_callback(self._ended)
            self.device = Device.with_hci("Kerb", self.bonds.address, transport.source, transport.sink)
            self.device.keystore = self.bonds
            self.device.pairing_config_factory = _pairing
            await self.device.power_on()
            undo.push_async_callback(self.device.power_off)
            self._initiator = Initiator(self.device, self._dead)
            task = asyncio.create_task(self._initiator.run(), name=f"{self._transport}: initiator")
            undo.push_async_callback(self._end_initiator, task)
            self._open = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()
        if not self.lost.done():
            self.lost.cancel()

    async def connect(self, peer: Address, *, timeout_s: float) -> Connection:
        """A connection to a peer that advertises, within INITIATE_S at most. Raises TimeoutError, BaseBumbleError."""
        return await self._initiator.connect(peer, timeout_s=min(timeout_s, INITIATE_S))

    async def _end_initiator(self, task: asyncio.Task[None]) -> None:
        self._initiator.close()
        task.cancel()
        await asyncio.wait((task,))

    def _ended(self, terminated: asyncio.Future[None]) -> None:
        reason = None if terminated.cancelled() else terminated.exception()
        self._no_more()
        self._dead(reason or ConnectionError(_CLOSED))

    def _no_more(self) -> None:
        """Have commands fail at once that bumble would still send, or has just sent, and wait for in vain."""
        if hasattr(self, "device"):
            host = self.device.host
            host.hci_sink = _Nowhere()
            if host.pending_response and not host.pending_response.done():
                host.pending_response.set_exception(ConnectionError(_CLOSED))

    def _dead(self, reason: BaseException) -> None:
        if not self.lost.done():
            self.lost.set_exception(reason)
            self.lost.exception()  # seen: that nobody may ask in time is no error of its own
