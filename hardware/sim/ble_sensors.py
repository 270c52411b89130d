"""Simulated sensors that only advertise: BTHome v2 made from the device's file, sealed if there is a key."""

import asyncio
from time import monotonic

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import AdvertisingType, Device
from bumble.hci import Address
from bumble.host import Host
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from hardware.catalogue import DeviceModel
from hardware.sim.ble_peripherals import ADVERTISING_MS, Setting, stay_cancelled
from hardware.sim.signal import value_at
from protocols import bthome
from protocols.reading import DecimalFraction, Reading, reading


class BthomeSensor:
    """A sensor. `run` powers it on, and it measures every period until cancelled; `key`: 16 bytes, or none."""

    def __init__(self, model: DeviceModel, setting: Setting, key: bytes | None = None):
        self._model = model
        self._setting = setting
        self._cipher = AESCCM(key, tag_length=bthome.CHECK_SIZE) if key else None
        self._address = bytes.fromhex(setting.address.replace(":", ""))
        self._start_s = monotonic()
        self.counter = 0  # of measurements; the packet id is its last byte

    async def run(self) -> None:
        """Measure and advertise until cancelled."""
        controller = Controller(self._model.device.model, link=self._setting.link)
        host = Host(controller, controller)
        controller.host = host
        device = Device(self._model.device.model, Address(self._setting.address), host=host)
        await device.power_on()
        try:
            while True:
                said = (AdvertisingData.SERVICE_DATA_16_BIT_UUID, bthome.SERVICE.to_bytes(2, "little") + self.measure())
                await device.start_advertising(
                    advertising_type=AdvertisingType.UNDIRECTED,
                    advertising_data=bytes(AdvertisingData([(AdvertisingData.FLAGS, b"\x06"), said])),
                    advertising_interval_min=ADVERTISING_MS,
                    advertising_interval_max=ADVERTISING_MS,
                )
                await asyncio.sleep(self._setting.period_s)
                await device.stop_advertising()
                stay_cancelled()
        finally:
            await device.power_off()
            self._setting.link.remove_controller(controller)

    def measure(self) -> bytes:
        """The service data of a new measurement."""
        self.counter += 1
        packet_id = self.counter & 0xFF
        if self._cipher is None:
            return bthome.encode(self.readings(), packet_id=packet_id)
        return bthome.encode(self.readings(), packet_id=packet_id, counter=self.counter, seal=self._seal)

    def readings(self) -> list[Reading]:
        """The metrics that have a course now: percentages whole, others in tenths."""
        found = []
        for name, metric in self._model.metrics.items():
            if metric.sim is not None:
                value = value_at(metric.sim, monotonic() - self._start_s, self._setting.random)
                whole = metric.unit == "%"
                exact = round(value) if whole else DecimalFraction(round(value * 10), -1)
                found.append(reading(name, exact, metric.unit))
        return found

    def _seal(self, info: bytes, counter: bytes, objects: bytes) -> bytes:
        assert self._cipher
        return self._cipher.encrypt(bthome.nonce(self._address, info, counter), objects, None)
