"""Making connections through one controller: it waits for all wanted peers at once, and nobody waits behind a sleeper.

A controller makes one connection at a time, and asked for one peer it waits for that peer, asleep or dead as it may be.
So the wanted peers are put on its filter accept list, and it connects to whichever of them advertises first.
Source: Bluetooth Core Specification 5.4, volume 4, part E, 7.8.12 to 7.8.17 and 7.8.66.
"""

import asyncio
import logging
from collections.abc import Callable

from bumble import hci
from bumble.core import BaseBumbleError, CommandTimeoutError, InvalidStateError, ProtocolError
from bumble.device import Connection, Device

log = logging.getLogger(__name__)

COMMAND_S = 5.0

_SCAN = 96  # x 0.625 ms, window and interval alike: whoever is wanted was heard just now
_INTERVAL = (12, 24)  # x 1.25 ms: a short one, because discovering services takes dozens of round trips
_SUPERVISION = 200  # x 10 ms without a packet and the link is lost
_ANY_ON_THE_LIST = 1


class Initiator:
    """The one that asks the controller for connections; `run` must run. `dead`: called if it answers no commands."""

    def __init__(self, device: Device, dead: Callable[[BaseException], None]):
        self._device = device
        self._dead = dead
        self._wanted: dict[hci.Address, asyncio.Future[Connection]] = {}  # who was heard last is last
        self._listed: set[hci.Address] = set()
        self._under_way: asyncio.Future[None] | None = None
        self._unwanted: list[Connection] = []  # made for somebody who had given up by then
        self._changed = asyncio.Event()
        self._closed = False

    async def connect(self, peer: hci.Address, *, timeout_s: float) -> Connection:
        """A connection to a peer that advertises. Raises TimeoutError, BaseBumbleError."""
        if peer in self._wanted:
            raise InvalidStateError(f"{peer} is being connected already")
        wish: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._wanted[peer] = wish
        self._changed.set()
        granted = False
        try:
            async with asyncio.timeout(timeout_s):
                connection = await wish
            granted = True
            return connection
        finally:
            del self._wanted[peer]
            if not granted and wish.done() and not wish.cancelled() and wish.exception() is None:
                self._unwanted.append(wish.result())
            self._changed.set()

    async def run(self) -> None:
        """Do what is wanted, until cancelled or closed."""
        device = self._device
        device.connect_own_address_type = hci.OwnAddressType.RANDOM
        device.on(Device.EVENT_CONNECTION, self._connected)
        device.on(Device.EVENT_CONNECTION_FAILURE, self._failed)
        try:
            room = await device.send_sync_command(hci.HCI_LE_Read_Filter_Accept_List_Size_Command())
            await device.send_sync_command(hci.HCI_LE_Clear_Filter_Accept_List_Command())
            while not self._closed:
                await self._changed.wait()
                self._changed.clear()
                await self._follow(room.filter_accept_list_size)
        except (BaseBumbleError, TimeoutError, OSError) as error:
            self._give_up(error)
        finally:
            device.remove_listener(Device.EVENT_CONNECTION, self._connected)
            device.remove_listener(Device.EVENT_CONNECTION_FAILURE, self._failed)

    def close(self) -> None:
        """Let `run` end, even if a library between here and there loses its cancellation."""
        self._closed = True
        self._changed.set()

    async def _follow(self, room: int) -> None:
        """Have the controller wait for just those who are wanted; if there is no room for all, who was heard last."""
        while self._unwanted:
            await self._drop(self._unwanted.pop())
        wanted = [peer for peer, wish in self._wanted.items() if not wish.done()]
        listed = set(wanted[-room:])
        if self._under_way and listed == self._listed:
            return
        await self._stop()
        for peer in self._listed - listed:
            await self._device.send_sync_command(
                hci.HCI_LE_Remove_Device_From_Filter_Accept_List_Command(address_type=peer.address_type, address=peer)
            )
            self._listed.discard(peer)
        for peer in listed - self._listed:
            await self._device.send_sync_command(
                hci.HCI_LE_Add_Device_To_Filter_Accept_List_Command(address_type=peer.address_type, address=peer)
            )
            self._listed.add(peer)
        if self._listed and not self._closed:
            await self._start()

    async def _start(self) -> None:
        self._under_way = asyncio.get_running_loop().create_future()
        if self._device.host.supports_command(hci.HCI_LE_EXTENDED_CREATE_CONNECTION_COMMAND):
            await self._device.send_async_command(_extended_command())
        else:
            await self._device.send_async_command(_legacy_command())

    async def _stop(self) -> None:
        """End what is under way: the event that says how it ended comes in any case."""
        under_way = self._under_way
        if under_way is None:
            return
        try:
            await self._device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
        except ProtocolError as error:
            if error.error_code != hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR:  # it has just ended by itself
                raise
        async with asyncio.timeout(COMMAND_S):
            await asyncio.shield(under_way)

    def _connected(self, connection: Connection) -> None:
        if connection.role != hci.Role.CENTRAL:
            return
        self._ended()
        wish = self._wanted.get(connection.peer_address)
        if wish and not wish.done():
            wish.set_result(connection)
        else:
            self._unwanted.append(connection)

    def _failed(self, _error: BaseBumbleError) -> None:
        self._ended()

    def _ended(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way and not under_way.done():
            under_way.set_result(None)
        self._changed.set()

    async def _drop(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(COMMAND_S):
                await connection.disconnect()
        except (ProtocolError, TimeoutError) as error:
            log.info("a connection that nobody wants any more: %s", error)

    def _give_up(self, error: BaseException) -> None:
        for wish in self._wanted.values():
            if not wish.done():
                wish.set_exception(error)
        self._dead(error if not isinstance(error, CommandTimeoutError) else TimeoutError("it answers no commands"))


def _extended_command() -> hci.HCI_LE_Extended_Create_Connection_Command:
    return hci.HCI_LE_Extended_Create_Connection_Command(
        initiator_filter_policy=_ANY_ON_THE_LIST,
        own_address_type=hci.OwnAddressType.RANDOM,
        peer_address_type=hci.Address.PUBLIC_DEVICE_ADDRESS,  # this and the next are left aside
        peer_address=hci.Address.ANY,
        initiating_phys=1 << hci.HCI_LE_1M_PHY_BIT,
        scan_intervals=[_SCAN],
        scan_windows=[_SCAN],
        connection_interval_mins=[_INTERVAL[0]],
        connection_interval_maxs=[_INTERVAL[1]],
        max_latencies=[0],
        supervision_timeouts=[_SUPERVISION],
        min_ce_lengths=[0],
        max_ce_lengths=[0],
    )


def _legacy_command() -> hci.HCI_LE_Create_Connection_Command:
    return hci.HCI_LE_Create_Connection_Command(
        le_scan_interval=_SCAN,
        le_scan_window=_SCAN,
        initiator_filter_policy=_ANY_ON_THE_LIST,
        peer_address_type=hci.Address.PUBLIC_DEVICE_ADDRESS,
        peer_address=hci.Address.ANY,
        own_address_type=hci.OwnAddressType.RANDOM,
        connection_interval_min=_INTERVAL[0],
        connection_interval_max=_INTERVAL[1],
        max_latency=0,
        supervision_timeout=_SUPERVISION,
        min_ce_length=0,
        max_ce_length=0,
    )
