"""Bluetooth Low Energy: waits for the configured devices to advertise, connects, bonds, and takes what they send."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError
from bleak.uuids import normalize_uuid_16

from edge import config
from edge.errors import ConfigError, LinkError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.bleak_bumble import backends
from edge.links.condition import Condition
from edge.links.hci import BLE_FAILURES, HciAdapter, finish
from hardware.catalogue import Ble
from protocols import gatt
from protocols.errors import DecodeError
from protocols.reading import Reading

log = logging.getLogger(__name__)

CONNECT_S = 20.0  # connecting and discovering services
SETUP_S = 40.0  # bonding and subscribing
MOST_GAP_S = 4.0  # between attempts; a cuff is awake for 20 s
RESCAN_S = 60.0  # BlueZ does not tell when its adapter vanishes: starting the scan anew does
REMEMBERED = 32  # the last records of a device, to know one that it sends again


@dataclass(frozen=True)
class _Radio:
    """An open adapter: the backend classes for bleak (None: BlueZ), and a future that is done when it is lost."""

    scanner: type[BaseBleakScanner] | None
    client: type[BaseBleakClient] | None
    lost: asyncio.Future[None]


def make_link(declared: config.BleLink, surroundings: Surroundings) -> "BleLink":
    """The link as the config declares it."""
    return BleLink(
        name=declared.name,
        adapter=declared.adapter,
        devices=[Attached(device.thing, device.declared, device.address) for device in declared.devices],
        intake=surroundings.intake,
        clock=surroundings.clock,
        bonds=surroundings.data / f"bonds-{declared.name}.json",
    )


class BleLink:
    """The link of one adapter: "bluez", or "hci:" and a bumble transport ("hci:usb:0", "hci:tcp-client:HOST:PORT").

    `bonds` is the file that keeps bonded devices' keys where BlueZ does not; without it they end with the process.
    Raises ConfigError for devices or an adapter that cannot be used.
    """

    def __init__(
        self,
        *,
        name: str,
        adapter: str,
        devices: Sequence[Attached],
        intake: Intake,
        clock: Clock,
        bonds: Path | None = None,
    ):
        if adapter != "bluez" and not adapter.startswith("hci:"):
            raise ConfigError(f"{name}: adapter {adapter!r} is neither bluez nor hci:TRANSPORT")
        self.name = name
        self._adapter = adapter
        self._bonds = bonds
        self._stations: dict[str, _Station] = {}
        for device in devices:
            address = device.address.upper()
            if address in self._stations:
                raise ConfigError(f"{name}: address {address} is given to two devices")
            self._stations[address] = _Station(name, device, intake, clock)

    async def run(self) -> None:
        """Serve the devices until cancelled. Raises LinkError when the adapter fails."""
        cause = None
        try:
            reason = await self._serve()
        except BleakError as error:
            reason, cause = str(error), error
        for station in self._stations.values():
            station.cut_off(reason)
        raise LinkError(self.name, reason) from cause

    async def _serve(self) -> str:
        """Serve the devices until the adapter fails, and tell how it did. Raises BleakError if it cannot be opened."""
        async with self._radio() as radio, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(station.run(radio), name=f"{self.name}: {station.thing}")
                for station in self._stations.values()
            ]
            reason = await self._listen(radio)
            for task in tasks:
                task.cancel()
        return reason

    @asynccontextmanager
    async def _radio(self) -> AsyncIterator[_Radio]:
        if self._adapter == "bluez":
            yield _Radio(None, None, asyncio.get_running_loop().create_future())
            return
        async with HciAdapter(transport=self._adapter.removeprefix("hci:"), bonds=self._bonds) as adapter:
            yield _Radio(*backends(adapter), adapter.lost)

    async def _listen(self, radio: _Radio) -> str:
        """Scan until the adapter fails, and tell how it did."""
        while not radio.lost.done():
            scanner = BleakScanner(self._heard, backend=radio.scanner)
            try:
                await scanner.start()
            except BLE_FAILURES as error:
                return f"cannot scan: {error}"
            try:
                await asyncio.wait((radio.lost,), timeout=RESCAN_S)
            finally:
                await finish(scanner.stop(), "ending the scan")
        return f"the adapter is gone: {radio.lost.exception() or 'its transport was closed'}"

    def _heard(self, device: BLEDevice, _advertisement: AdvertisementData) -> None:
        if station := self._stations.get(device.address.upper()):
            station.advertises(device)


class _Station:
    """One device: connects when it advertises, and passes on what it says."""

    def __init__(self, link: str, device: Attached, intake: Intake, clock: Clock):
        if device.model.ble is None:
            raise ConfigError(f"{link}: {device.thing}: {device.model.device.model} is no Bluetooth device")
        self.thing = device.thing
        self._ble: Ble = device.model.ble
        self._units = {metric: each.unit for metric, each in device.model.metrics.items()}
        self._intake = intake
        self._clock = clock
        self._condition = Condition(device, intake)
        self._backoff = Backoff(most_s=MOST_GAP_S)
        self._heard = asyncio.Event()
        self._device: BLEDevice | None = None  # as it advertised last
        self._records: deque[bytes] = deque(maxlen=REMEMBERED)

    def advertises(self, device: BLEDevice) -> None:
        """Note that the device can be connected now."""
        self._device = device
        self._heard.set()

    def cut_off(self, reason: str) -> None:
        """Note that there is no adapter to reach the device by."""
        self._condition.gone(reason)

    async def run(self, radio: _Radio) -> None:
        """Connect each time the device advertises, until cancelled."""
        self._condition.waiting("")
        while True:
            self._heard.clear()  # what was heard before the last session ended may be over
            await self._heard.wait()
            assert self._device
            try:
                await self._session(self._device, radio)
            except BLE_FAILURES as error:
                log.info("%s: %s", self.thing, error or type(error).__name__)
                self._intake.count("link_errors", self.thing)
                self._condition.gone(str(error) or "no answer in time")
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()

    async def _session(self, device: BLEDevice, radio: _Radio) -> None:
        gone = asyncio.Event()
        client = BleakClient(device, lambda _: gone.set(), timeout=CONNECT_S, backend=radio.client)
        try:
            await client.connect()
            async with asyncio.timeout(SETUP_S):
                episodic = await self._set_up(client)
            self._condition.online()
            await gone.wait()
        finally:
            await finish(client.disconnect(), f"{self.thing}: disconnecting")
        if episodic:
            self._condition.waiting("disconnected until its next measurement")
        else:
            self._condition.gone("disconnected")

    async def _set_up(self, client: BleakClient) -> bool:
        """Bond and subscribe. Whether the device is one that comes for a measurement and goes: it only indicates."""
        if self._ble.bond:
            await client.pair()
        episodic = True
        for uuid16 in self._ble.characteristics:
            uuid = normalize_uuid_16(uuid16)
            await client.start_notify(uuid, partial(self._arrived, uuid16))
            characteristic = client.services.get_characteristic(uuid)
            if characteristic and "notify" in characteristic.properties:
                episodic = False
        return episodic

    def _arrived(self, uuid16: int, _sender: BleakGATTCharacteristic, value: bytearray) -> None:
        data = bytes(value)
        try:
            decoded = gatt.decode(uuid16, data)
            readings = [self._declared(each) for each in decoded if each.metric in self._units]
        except DecodeError as error:
            # The bytes themselves are a person's measurement and stay out of the log.
            log.warning("%s: %d bytes of %04X are refused: %s", self.thing, len(data), uuid16, error)
            self._intake.count("decode_errors", self.thing)
            return
        if self._sent_before(decoded, data):
            log.info("%s: a record that it has sent before", self.thing)
            self._intake.count("repeated_records", self.thing)
            return
        if readings:
            self._condition.heard(readings)

    def _declared(self, each: Reading) -> Reading:
        unit = self._units[each.metric]
        if each.unit != unit:
            raise DecodeError(each.metric, f"comes in {each.unit}, and the model's file says {unit}")
        return each._replace(time_ms=self._clock())

    def _sent_before(self, decoded: Sequence[Reading], data: bytes) -> bool:
        """Whether a stored record comes again, because its confirmation was lost: same bytes, same date and time."""
        if not any(each.metric == "device_time" and _dated(each.value) for each in decoded):
            return False
        if data in self._records:
            return True
        self._records.append(data)
        return False


def _dated(text: object) -> bool:
    return isinstance(text, str) and not text.startswith("0000")
