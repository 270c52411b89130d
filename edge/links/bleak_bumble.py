"""A backend for bleak on bumble: `backends(adapter)` gives the scanner and client classes to hand to bleak."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError
from bumble import core, hci
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt import GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR
from bumble.gatt_client import CharacteristicProxy

from edge.links.bleak_errors import finish
from edge.links.bumble_errors import bleak_errors
from edge.links.hci import HciAdapter
from edge.links.initiator import COMMAND_S

log = logging.getLogger(__name__)

_Types = core.AdvertisingData.Type
_SERVICE_LISTS = {
    _Types.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    _Types.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    _Types.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    _Types.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
# The client characteristic configuration: Core Specification, volume 3, part G, 3.3.3.3.
_NOTIFY, _INDICATE = b"\x01\x00", b"\x02\x00"
_ATT_HEADER = 3  # opcode and handle of a write command
_PAIRING_S = 30.0  # the Security Manager's own timeout
MOST_EARLY = 64  # values of a characteristic that come before anybody has subscribed here
_MTU = 247  # what fits one link-layer packet with data length extension


@asynccontextmanager
async def opened(transport: str, bonds: Path | None) -> AsyncIterator[HciAdapter]:
    """The adapter, powered on. Raises BleakError."""
    async with AsyncExitStack() as stack:
        with bleak_errors(transport):
            adapter = await stack.enter_async_context(HciAdapter(transport=transport, bonds=bonds))
        yield adapter


def backends(adapter: HciAdapter) -> tuple[type[BaseBleakScanner], type[BaseBleakClient]]:
    """The two classes that bleak wants, bound to an open adapter."""
    scanner = type("BumbleScanner", (_Scanner,), {"adapter": adapter})
    client = type("BumbleClient", (_Client,), {"adapter": adapter})
    return scanner, client


class _Scanner(BaseBleakScanner):
    adapter: ClassVar[HciAdapter]

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str = "active",
        **_options: Any,  # those of other platforms
    ):
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        self.seen_devices = {}
        device = self.adapter.device
        device.on(Device.EVENT_ADVERTISEMENT, self._heard)
        with bleak_errors("scanning"):
            async with asyncio.timeout(COMMAND_S):
                await device.start_scanning(active=self._active, scanning_phys=(hci.HCI_LE_1M_PHY,))

    async def stop(self) -> None:
        device = self.adapter.device
        device.remove_listener(Device.EVENT_ADVERTISEMENT, self._heard)
        if self.adapter.closed:
            return
        with bleak_errors("ending the scan"):
            async with asyncio.timeout(COMMAND_S):
                await device.stop_scanning()

    def _heard(self, heard: Advertisement) -> None:
        data = heard.data
        services = [
            _uuid_text(raw[at : at + size])
            for kind, size in _SERVICE_LISTS.items()
            for raw in data.get_all(kind, raw=True)
            for at in range(0, len(raw) - size + 1, size)
        ]
        if not self.is_allowed_uuid(services):
            return
        name = data.get(_Types.COMPLETE_LOCAL_NAME, raw=True) or data.get(_Types.SHORTENED_LOCAL_NAME, raw=True)
        makers = data.get_all(_Types.MANUFACTURER_SPECIFIC_DATA, raw=True)
        advertisement = AdvertisementData(
            local_name=name.decode("utf-8", "replace") if name else None,
            manufacturer_data={int.from_bytes(raw[:2], "little"): raw[2:] for raw in makers},
            service_data={
                _uuid_text(raw[:2]): raw[2:] for raw in data.get_all(_Types.SERVICE_DATA_16_BIT_UUID, raw=True)
            },
            service_uuids=services,
            tx_power=None if heard.tx_power == Advertisement.TX_POWER_NOT_AVAILABLE else heard.tx_power,
            rssi=heard.rssi,
            platform_data=(heard,),
        )
        address = heard.address.to_string(with_type_qualifier=False)
        device = self.create_or_update_device(address, address, advertisement.local_name, heard.address, advertisement)
        self.call_detection_callbacks(device, advertisement)


class _Inbox:
    """The values of one characteristic.

    A bonded peer may indicate as soon as the link is encrypted, before anyone has subscribed here, and takes the
    confirmation that follows as a receipt: such early values are kept. Bounded: one that finds no room is not
    confirmed, so that its sender still has it, and `full` ends the connection.
    """

    def __init__(self, full: Callable[[], None]) -> None:
        self._early: deque[bytes] = deque()
        self._full = full
        self._callback: NotifyCallback | None = None

    def put(self, value: bytes) -> None:
        """Deliver, or keep. Raises BleakError, by which bumble confirms nothing, if there is no room."""
        if self._callback:
            self._callback(bytearray(value))
        elif len(self._early) < MOST_EARLY:
            self._early.append(value)
        else:
            self._full()
            raise BleakError(f"more than {MOST_EARLY} values before anybody has subscribed")

    def open(self, callback: NotifyCallback) -> None:
        """Deliver from now on, early values first."""
        self._callback = callback
        while self._early:
            callback(bytearray(self._early.popleft()))

    def close(self) -> None:
        """Keep from now on."""
        self._callback = None


class _Client(BaseBleakClient):
    adapter: ClassVar[HciAdapter]

    def __init__(self, address_or_ble_device: BLEDevice | str, **options: Any):
        super().__init__(
            address_or_ble_device,
            disconnected_callback=options["disconnected_callback"],
            timeout=options["timeout"],
        )
        if not isinstance(address_or_ble_device, BLEDevice):
            raise BleakDeviceNotFoundError(self.address, "this backend connects to what its scanner has found")
        self._peer: hci.Address = address_or_ble_device.details
        self._name = address_or_ble_device.name or self.address.replace(":", "-")
        self._wanted: set[str] | None = options.get("services")
        self._connection: Connection | None = None
        self._inboxes: dict[int, _Inbox] = {}
        self._ending: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def mtu_size(self) -> int:
        return self._connected.att_mtu

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection

    async def connect(self, pair: bool, **_options: Any) -> None:
        if self._connection is not None:
            raise BleakError("already connected")
        with bleak_errors("connecting"):
            self._connection = await self.adapter.connect(self._peer, timeout_s=self._timeout)
        self._connection.on(Connection.EVENT_DISCONNECTION, self._gone)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(lambda: finish(self.disconnect(), f"disconnecting {self.address}"))
            if pair:
                await self.pair()
            with bleak_errors("discovering services"):
                async with asyncio.timeout(self._timeout):
                    self.services = await self._discovered(Peer(self._connected))
            undo.pop_all()

    async def disconnect(self) -> None:
        if self._connection is None or self.adapter.closed:
            return
        with bleak_errors("disconnecting"):
            async with asyncio.timeout(COMMAND_S):
                await self._connection.disconnect()

    async def pair(self, *_args: Any, **_options: Any) -> None:
        connection = self._connected
        peer = str(connection.peer_address)
        if connection.is_encrypted:
            return
        with bleak_errors("pairing"):
            async with asyncio.timeout(_PAIRING_S):
                if await self.adapter.bonds.get(peer) is not None:
                    try:
                        await connection.encrypt()
                        return
                    except hci.HCI_Error as error:
                        if error.error_code != hci.HCI_ErrorCode.PIN_OR_KEY_MISSING_ERROR:
                            raise
                        log.warning("%s has forgotten its bond, and is paired anew", self.address)
                        self.adapter.bonds.forget(peer)
                await connection.pair()

    async def unpair(self) -> None:
        self.adapter.bonds.forget(str(self._peer))
        await self.disconnect()

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **_options: Any
    ) -> bytearray:
        return await self._read(characteristic.handle)

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **_options: Any
    ) -> bytearray:
        return await self._read(descriptor.handle)

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        await self._write(characteristic.handle, bytes(data), response=response)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        await self._write(descriptor.handle, bytes(data))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_options: Any
    ) -> None:
        self._inboxes[characteristic.handle].open(callback)
        await self._configure(characteristic, _NOTIFY if "notify" in characteristic.properties else _INDICATE)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        await self._configure(characteristic, bytes(2))
        self._inboxes[characteristic.handle].close()

    async def _configure(self, characteristic: BleakGATTCharacteristic, bits: bytes) -> None:
        cccd = characteristic.obj.get_descriptor(GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR)
        if cccd is None:
            raise BleakError(f"{characteristic.uuid} neither notifies nor indicates")
        await self._write(cccd.handle, bits)

    async def _read(self, handle: int) -> bytearray:
        async with self._request("reading"):
            return bytearray(await self._connected.gatt_client.read_value(handle))

    async def _write(self, handle: int, value: bytes, *, response: bool = True) -> None:
        async with self._request("writing"):
            await self._connected.gatt_client.write_value(handle, value, with_response=response)

    @asynccontextmanager
    async def _request(self, action: str) -> AsyncIterator[None]:
        with bleak_errors(action):
            async with asyncio.timeout(self._timeout):
                yield

    def _overrun(self) -> None:
        """End the connection to a peer that says more than can be kept."""
        if self._ending is None:
            log.warning("%s says more than can be kept before anybody has subscribed, and is sent away", self.address)
            self._ending = asyncio.create_task(finish(self.disconnect(), f"disconnecting {self.address}"))

    def _gone(self, reason: int) -> None:
        log.debug("%s disconnected: %s", self.address, hci.HCI_ErrorCode(reason).name)
        if reason == hci.HCI_ErrorCode.CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR:
            log.warning("%s has other keys than this bond, which is forgotten", self.address)
            self.adapter.bonds.forget(str(self._peer))
        self._connection = None
        if self._disconnected_callback:
            self._disconnected_callback()

    async def _discovered(self, peer: Peer) -> BleakGATTServiceCollection:
        """What the peer has of the services wanted, in bleak's terms; every characteristic gets its inbox."""
        try:
            await peer.request_mtu(_MTU)
        except core.ProtocolError as error:
            log.debug("%s keeps the smallest MTU: %s", self.address, error)
        found = BleakGATTServiceCollection()
        for service in await peer.discover_services():
            ours = BleakGATTService(service, service.handle, _uuid_text(service.uuid.to_bytes()))
            if self._wanted is not None and ours.uuid not in self._wanted:
                continue
            found.add_service(ours)
            for characteristic in await peer.discover_characteristics(service=service):
                found.add_characteristic(self._characteristic(peer, ours, characteristic))
                for descriptor in await peer.discover_descriptors(characteristic):
                    uuid = _uuid_text(descriptor.type.to_bytes())
                    holder = found.characteristics[characteristic.handle]
                    found.add_descriptor(BleakGATTDescriptor(descriptor, descriptor.handle, uuid, holder))
        return found

    def _characteristic(
        self, peer: Peer, service: BleakGATTService, proxy: CharacteristicProxy[bytes]
    ) -> BleakGATTCharacteristic:
        inbox = self._inboxes[proxy.handle] = _Inbox(self._overrun)
        for subscribers in (peer.gatt_client.notification_subscribers, peer.gatt_client.indication_subscribers):
            subscribers[proxy.handle] = {inbox.put}
        return BleakGATTCharacteristic(
            proxy,
            proxy.handle,
            _uuid_text(proxy.uuid.to_bytes()),
            list(gatt_char_props_to_strs(proxy.properties)),
            lambda: self.mtu_size - _ATT_HEADER,
            service,
        )


def _uuid_text(raw: bytes) -> str:
    """A UUID of 2, 4 or 16 little-endian bytes, as bleak writes it."""
    if len(raw) == 16:
        return str(UUID(bytes=raw[::-1]))
    return f"{int.from_bytes(raw, 'little'):08x}-0000-1000-8000-00805f9b34fb"
