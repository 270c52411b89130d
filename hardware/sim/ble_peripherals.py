"""A simulated Bluetooth device: a GATT server on a virtual controller, made from the device's file."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from time import monotonic
from typing import Any

from bumble.att import Attribute
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import (
    GATT_BATTERY_LEVEL_CHARACTERISTIC,
    GATT_BATTERY_SERVICE,
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    GATT_CURRENT_TIME_CHARACTERISTIC,
    GATT_CURRENT_TIME_SERVICE,
    GATT_DEVICE_INFORMATION_SERVICE,
    GATT_FIRMWARE_REVISION_STRING_CHARACTERISTIC,
    GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC,
    GATT_MODEL_NUMBER_STRING_CHARACTERISTIC,
    GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC,
    Characteristic,
    CharacteristicValue,
    Descriptor,
    Service,
)
from bumble.hci import HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR, Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.pairing import PairingConfig, PairingDelegate

from hardware.catalogue import Ble, DeviceModel
from hardware.sim.signal import value_at
from protocols import gatt
from protocols.reading import DecimalFraction, Reading, reading

ADVERTISING_MS = 100.0
BATTERY_PERCENT = 87
_DATE_TIME = "%Y-%m-%dT%H:%M:%S"
SETUP_S = 30.0  # a central that has not subscribed by then is sent away

Bytes = Characteristic[bytes]  # a characteristic whose value is bytes


@dataclass(frozen=True)
class Setting:
    """Where a simulated device is: its radio link, its address there, and how often it measures."""

    link: LocalLink
    address: str
    period_s: float
    random: Random = field(default_factory=Random)
    clock: Callable[[], datetime] = datetime.now  # the device's own


class Peripheral(ABC):
    """One device. `run` powers it on and serves until cancelled; what it says comes from its model's `sim` tables."""

    delivery: Characteristic.Properties  # how the profile delivers measurements
    has_clock = False  # whether it has the Current Time service
    places = 0  # decimal places of what it measures

    def __init__(self, model: DeviceModel, setting: Setting):
        if model.ble is None:
            raise ValueError(f"{model.device.model} is no Bluetooth device")
        self.model = model
        self.setting = setting
        self.connection: Connection | None = None
        self.clock_off = timedelta()  # by how much its clock is before the setting's
        self._ble: Ble = model.ble
        self._start_s = monotonic()
        self._controller = Controller(model.device.model, link=setting.link)
        host = Host(self._controller, self._controller)  # no transport between the two halves
        self._controller.host = host
        self.device = Device(model.device.model, Address(setting.address), host=host)
        self.device.pairing_config_factory = _just_works
        self.measurement = self._characteristic(self._ble.characteristics[0])
        self.device.add_services(
            [
                Service(UUID.from_16_bits(self._ble.service), [self.measurement, *self.more_characteristics()]),
                Service(GATT_BATTERY_SERVICE, [_battery()]),
                Service(GATT_DEVICE_INFORMATION_SERVICE, _information(model, setting.address)),
                *([Service(GATT_CURRENT_TIME_SERVICE, [self._current_time()])] if self.has_clock else []),
            ]
        )
        self._here, self._gone, self._subscribed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.device.on(Device.EVENT_CONNECTION, self._connected)
        self.measurement.on(Characteristic.EVENT_SUBSCRIPTION, self._subscription)

    async def run(self) -> None:
        """Power on and serve until cancelled."""
        await self.device.power_on()
        try:
            await self.serve()
        finally:
            await self.disconnect()
            await self.device.stop_advertising()
            await self.device.power_off()
            self.setting.link.remove_controller(self._controller)

    @abstractmethod
    async def serve(self) -> None:
        """What the device does all day."""

    def more_characteristics(self) -> "list[Bytes]":
        """What the service has beside the measurement."""
        return []

    def now(self) -> str:
        """What its clock shows."""
        return (self.setting.clock() + self.clock_off).strftime(_DATE_TIME)

    def measured(self, metrics: Iterable[str]) -> list[Reading]:
        """The metrics now, with as many decimal places as the device has."""
        at_s = monotonic() - self._start_s
        found = []
        for name in metrics:
            metric = self.model.metrics[name]
            assert metric.sim, f"{name} has no sim table"
            scaled = round(value_at(metric.sim, at_s, self.setting.random) * 10**self.places)
            value = DecimalFraction(scaled, -self.places) if self.places else scaled
            found.append(reading(name, value, metric.unit))
        return found

    async def advertise(self) -> None:
        """Let centrals know that a connection is welcome; the controller stops by itself when one is made."""
        await self.device.start_advertising(
            advertising_data=bytes(
                AdvertisingData(
                    [
                        (AdvertisingData.FLAGS, b"\x06"),  # general discoverable, no classic Bluetooth
                        (
                            AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
                            self._ble.service.to_bytes(2, "little"),
                        ),
                        (AdvertisingData.COMPLETE_LOCAL_NAME, self._local_name()),
                    ]
                )
            ),
            advertising_interval_min=ADVERTISING_MS,
            advertising_interval_max=ADVERTISING_MS,
        )
        stay_cancelled()

    def _local_name(self) -> bytes:
        """Its model's, with a number, in what 31 bytes leave."""
        beginning = self._ble.local_name or f"{self.model.device.model}-"
        return beginning.encode()[:16] + self.setting.address.replace(":", "")[-4:].encode()

    async def disconnect(self) -> None:
        """End the connection, if there is one."""
        if self.connection:
            await self.connection.disconnect(HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR)

    async def subscribed(self) -> bool:
        """Advertise, and wait for a central: whether it subscribed, or went or idled instead."""
        await self.advertise()
        await self._here.wait()
        gone = asyncio.create_task(self._gone.wait())
        wanted = asyncio.create_task(self._subscribed.wait())
        try:
            await asyncio.wait((gone, wanted), timeout=SETUP_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            wanted.cancel()
        return self.connection is not None and self._subscribed.is_set()

    async def until_subscribed(self) -> None:
        """Wait until a central has subscribed to the measurements."""
        await self._subscribed.wait()

    async def gone_within(self, seconds: float) -> bool:
        """Whether the central went away within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _current_time(self) -> Bytes:
        def read(_connection: Connection) -> bytes:
            day = reading("day_of_week", 0, "")
            fraction = reading("second_fraction", DecimalFraction(0, -8), "s")
            return gatt.encode(gatt.CURRENT_TIME, [reading("device_time", self.now(), ""), day, fraction])

        def write(_connection: Connection, value: bytes) -> None:
            shown = str(gatt.decode(gatt.CURRENT_TIME, value)[0].value)
            self.clock_off = datetime.strptime(shown, _DATE_TIME) - self.setting.clock()

        permissions = Attribute.Permissions.READABLE | Attribute.Permissions.WRITEABLE
        properties = Characteristic.Properties.READ | Characteristic.Properties.WRITE
        value = CharacteristicValue(read=read, write=write)
        return Characteristic(GATT_CURRENT_TIME_CHARACTERISTIC, properties, permissions, value)

    def _characteristic(self, uuid16: int) -> Bytes:
        """The measurement characteristic; subscribing to it needs an encrypted link, as the profiles say."""
        return self.subscribable(uuid16, self.delivery)

    def subscribable(self, uuid16: int, delivery: Characteristic.Properties, value: Any = b"") -> Bytes:
        """A characteristic whose subscription needs what the profile says."""
        writable = Attribute.Permissions.WRITEABLE if delivery & Characteristic.Properties.WRITE else 0
        characteristic = Bytes(UUID.from_16_bits(uuid16), delivery, Attribute.Permissions(writable), value)
        permissions = Attribute.Permissions
        needs = permissions.WRITE_REQUIRES_ENCRYPTION if self._ble.bond else permissions(0)
        characteristic.descriptors = (
            Descriptor(
                GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
                permissions.READABLE | permissions.WRITEABLE | needs,
                self.device.gatt_server.make_descriptor_value(characteristic),
            ),
        )
        return characteristic

    def _connected(self, connection: Connection) -> None:
        self.connection = connection
        self._gone.clear()
        self._here.set()
        connection.on(Connection.EVENT_DISCONNECTION, self._disconnected)

    def _disconnected(self, _reason: int) -> None:
        self.connection = None
        self._here.clear()
        self._subscribed.clear()
        self._gone.set()

    def _subscription(self, _bearer: Connection, notify: bool, indicate: bool) -> None:
        if notify or indicate:
            self._subscribed.set()
        else:
            self._subscribed.clear()


def stay_cancelled() -> None:
    """Make good a cancellation that Python 3.11's wait_for, which bumble uses, lost because a result came with it."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


def _just_works(_connection: Connection) -> PairingConfig:
    keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
    delegate = PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT, keys, keys)
    return PairingConfig(sc=True, mitm=False, bonding=True, delegate=delegate)


def _battery() -> Bytes:
    return _readable(GATT_BATTERY_LEVEL_CHARACTERISTIC, bytes([BATTERY_PERCENT]))


def _information(model: DeviceModel, address: str) -> list[Bytes]:
    texts = (
        (GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC, model.device.maker),
        (GATT_MODEL_NUMBER_STRING_CHARACTERISTIC, model.device.model),
        (GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC, address.replace(":", "")),
        (GATT_FIRMWARE_REVISION_STRING_CHARACTERISTIC, "1.0"),
    )
    return [_readable(uuid, text.encode()) for uuid, text in texts]


def _readable(uuid: UUID, value: bytes) -> Bytes:
    return Bytes(uuid, Characteristic.Properties.READ, Attribute.Permissions.READABLE, value)
