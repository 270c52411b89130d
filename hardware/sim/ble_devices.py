"""Simulated Bluetooth health devices that give their measurements by themselves."""

import asyncio
from collections import deque

from bumble.device import Connection
from bumble.gatt import Characteristic

from hardware.catalogue import DeviceModel
from hardware.sim.ble_peripherals import Peripheral, Setting, stay_cancelled
from protocols import gatt
from protocols.reading import Reading, reading


class Episodic(Peripheral):
    """Measures every period, and is on the air only while it has measurements to hand over.

    One that was not confirmed is kept and comes again at the next connection. Holds 100; the oldest is dropped.
    """

    delivery = Characteristic.Properties.INDICATE
    linger_s = 1.0  # connected with nothing left to say
    remarks: tuple[Reading, ...] = ()  # what it says beside the metrics of its model

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
            readings = [*self.measured(self.model.metrics), reading("device_time", self.now(), ""), *self.remarks]
            self.store(gatt.encode(self._ble.characteristics[0], readings))
            await asyncio.sleep(self.setting.period_s)

    async def _hand_over(self) -> None:
        while True:
            await self._measured.wait()
            if await self.subscribed():
                await self._indicate_all()
            await self.disconnect()
            stay_cancelled()

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
        stay_cancelled()
        return True


class Cuff(Episodic):
    """A blood-pressure cuff."""

    remarks = (reading("irregular_pulse", False, ""),)


class Thermometer(Episodic):
    """A clinical thermometer, in steps of 0.1."""

    places = 1


class Scale(Episodic):
    """A body scale, in steps of 0.1 kg."""

    places = 1


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
                    stay_cancelled()
                    await self.gone_within(self.setting.period_s)
            await self.disconnect()
            stay_cancelled()
