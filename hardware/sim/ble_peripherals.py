"""Simulated Bluetooth health devices: a GATT server each, on a virtual controller, made from the device's file."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from time import monotonic

from bumble.att import Attribute
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import (
    GATT_BATTERY_LEVEL_CHARACTERISTIC,
    GATT_BATTERY_SERVICE,
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    GATT_DEVICE_INFORMATION_SERVICE,
    GATT_FIRMWARE_REVISION_STRING_CHARACTERISTIC,
    GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC,
    GATT_MODEL_NUMBER_STRING_CHARACTERISTIC,
    GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC,
    Characteristic,
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
from protocols.reading import Reading, reading

ADVERTISING_MS = 100.0
BATTERY_PERCENT = 87
SETUP_S = 30.0  # a central that has not subscribed by then is sent away

_Bytes = Characteristic[bytes]


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

    def __init__(self, model: DeviceModel, setting: Setting):
        if model.ble is None:
            raise ValueError(f"{model.device.model} is no Bluetooth device")
        self.model = model
        self.setting = setting
        self.connection: Connection | None = None
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
                Service(UUID.from_16_bits(self._ble.service), [self.measurement]),
                Service(GATT_BATTERY_SERVICE, [_battery()]),
                Service(GATT_DEVICE_INFORMATION_SERVICE, _information(model, setting.address)),
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

    def measured(self, metrics: Iterable[str]) -> list[Reading]:
        """The metrics now, in whole numbers as these devices give them."""
        at_s = monotonic() - self._start_s
        found = []
        for name in metrics:
            metric = self.model.metrics[name]
            assert metric.sim, f"{name} has no sim table"
            found.append(reading(name, round(value_at(metric.sim, at_s, self.setting.random)), metric.unit))
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
                        (AdvertisingData.SHORTENED_LOCAL_NAME, self.model.device.model.encode()[:18]),
                    ]
                )
            ),
            advertising_interval_min=ADVERTISING_MS,
            advertising_interval_max=ADVERTISING_MS,
        )
        _stay_cancelled()

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

    async def gone_within(self, seconds: float) -> bool:
        """Whether the central went away within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _characteristic(self, uuid16: int) -> _Bytes:
        """The measurement characteristic; subscribing to it needs an encrypted link, as the profiles say."""
        characteristic = _Bytes(UUID.from_16_bits(uuid16), self.delivery, Attribute.Permissions(0), b"")
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


class Cuff(Peripheral):
    """A blood-pressure cuff: measures every period, and is on the air only while it has measurements to hand over.

    One that was not confirmed is kept and comes again at the next connection. Holds 100; the oldest is dropped.
    """

    delivery = Characteristic.Properties.INDICATE
    linger_s = 1.0  # connected with nothing left to say

    def __init__(self, model: DeviceModel, setting: Setting):
        super().__init__(model, setting)
        self.records: deque[bytes] = deque(maxlen=100)
        self.confirmed = 0
        self._measured = asyncio.Event()

    def store(self, record: bytes) -> None:
        """Keep a measurement characteristic's bytes to be handed over."""
        self.records.append(record)
        self._measured.set()

    async def serve(self) -> None:
        """Measure, and hand over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure(), name=f"{self.model.device.model}: measure")
            group.create_task(self._hand_over(), name=f"{self.model.device.model}: hand over")

    async def _measure(self) -> None:
        while True:
            readings = self.measured(("systolic", "diastolic", "mean_arterial_pressure", "pulse_rate"))
            readings.append(reading("device_time", self.setting.clock().strftime("%Y-%m-%dT%H:%M:%S"), ""))
            readings.append(reading("irregular_pulse", False, ""))
            self.store(gatt.encode(gatt.BLOOD_PRESSURE_MEASUREMENT, readings))
            await asyncio.sleep(self.setting.period_s)

    async def _hand_over(self) -> None:
        while True:
            await self._measured.wait()
            if await self.subscribed():
                await self._indicate_all()
            await self.disconnect()
            _stay_cancelled()

    async def _indicate_all(self) -> None:
        while self.records and self.connection and self._subscribed.is_set():
            record = self.records[0]
            if not await self._confirmed(self.connection, record):
                return
            self.confirmed += 1
            if self.records[0] is record:  # else it was dropped for a newer one meanwhile
                self.records.popleft()
            if not self.records:
                self._measured.clear()
                await self.gone_within(self.linger_s)

    async def _confirmed(self, connection: Connection, record: bytes) -> bool:
        indication = self.device.indicate_subscriber(connection, self.measurement, record)
        try:
            await connection.cancel_on_disconnection(indication)
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False  # bumble cancelled it: the link went first
        _stay_cancelled()
        return True


class Oximeter(Peripheral):
    """A pulse oximeter: stays connected and notifies every period."""

    delivery = Characteristic.Properties.NOTIFY

    def sample(self) -> bytes:
        """The continuous measurement characteristic's bytes now."""
        readings = self.measured(("oxygen_saturation", "pulse_rate"))
        return gatt.encode(gatt.PLX_CONTINUOUS_MEASUREMENT, readings)

    async def serve(self) -> None:
        """Notify whoever connects."""
        while True:
            if await self.subscribed():
                while self.connection:
                    await self.device.notify_subscriber(self.connection, self.measurement, self.sample())
                    _stay_cancelled()
                    await self.gone_within(self.setting.period_s)
            await self.disconnect()
            _stay_cancelled()


def _stay_cancelled() -> None:
    """Make good a cancellation that Python 3.11's wait_for, which bumble uses, lost because a result came with it."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


def _just_works(_connection: Connection) -> PairingConfig:
    keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
    delegate = PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT, keys, keys)
    return PairingConfig(sc=True, mitm=False, bonding=True, delegate=delegate)


def _battery() -> _Bytes:
    return _readable(GATT_BATTERY_LEVEL_CHARACTERISTIC, bytes([BATTERY_PERCENT]))


def _information(model: DeviceModel, address: str) -> list[_Bytes]:
    texts = (
        (GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC, model.device.maker),
        (GATT_MODEL_NUMBER_STRING_CHARACTERISTIC, model.device.model),
        (GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC, address.replace(":", "")),
        (GATT_FIRMWARE_REVISION_STRING_CHARACTERISTIC, "1.0"),
    )
    return [_readable(uuid, text.encode()) for uuid, text in texts]


def _readable(uuid: UUID, value: bytes) -> _Bytes:
    return _Bytes(uuid, Characteristic.Properties.READ, Attribute.Permissions.READABLE, value)
