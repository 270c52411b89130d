"""Simulated Bluetooth devices with stored records, which a gateway asks for: a glucometer and a spot-check oximeter."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import takewhile

from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue

from hardware.catalogue import DeviceModel
from hardware.sim.ble_peripherals import Bytes, Peripheral, Setting, stay_cancelled
from protocols import gatt
from protocols.gatt import racp
from protocols.reading import DecimalFraction, Reading, reading

_Properties = Characteristic.Properties


class Meter(Peripheral):
    """Keeps its records and gives them when it is asked; is on the air all the time.

    records: (sequence number, measurement's bytes), oldest first. Bounded by the model's `records`.
    """

    has_clock = True
    refused: frozenset[str] = frozenset()  # operators that it does not know

    def __init__(self, model: DeviceModel, setting: Setting):
        self.records: list[tuple[int, bytes]] = []
        self.requests: list[bytes] = []  # all that were made
        self.left = 0  # records yet to be given in answer to the present request
        self.pace_s = 0.0  # between records
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(4)  # a central asks one thing at a time; more are dropped
        super().__init__(model, setting)

    def more_characteristics(self) -> list[Bytes]:
        """The Record Access Control Point."""
        value = CharacteristicValue(write=self._asked)
        self._control = self.subscribable(
            gatt.RECORD_ACCESS_CONTROL_POINT, _Properties.WRITE | _Properties.INDICATE, value
        )
        return [self._control]

    def store(self, record: bytes) -> None:
        """Keep a record; the oldest gives way."""
        number = self.records[-1][0] + 1 if self.records else 0
        self.records = [*self.records, (number, record)][-(self._ble.records or 0) :]

    async def serve(self) -> None:
        """Answer whoever connects."""
        while True:
            await self.advertise()
            await self._here.wait()
            gone = asyncio.create_task(self._gone.wait())
            answering = asyncio.create_task(self._answer())
            try:
                await asyncio.wait((gone, answering), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                answering.cancel()
                await asyncio.wait((gone, answering))
                self.left = 0
            stay_cancelled()

    async def _answer(self) -> None:
        while not self._waiting.empty():
            self._waiting.get_nowait()  # of a central that has gone
        while True:
            request = await self._waiting.get()
            asked = {each.metric: each.value for each in racp.decode(request)}
            known = asked["operator"] not in self.refused
            wanted = self._wanted(asked["operator"], asked.get("minimum")) if known else []
            for given, record in enumerate(wanted):
                self.left = len(wanted) - given
                await self._deliver(self.measurement, record)
            self.left = 0
            code = "success" if wanted else "no_records" if known else "operator_not_supported"
            response = {"opcode": "response", "operator": "null", "request_opcode": "report", "response_code": code}
            said = racp.encode([reading(metric, value, "") for metric, value in response.items()])
            await self._deliver(self._control, said)

    def _wanted(self, operator: object, minimum: object) -> list[bytes]:
        if operator == "all":
            return [record for _, record in self.records]
        assert isinstance(minimum, int)
        newest_first = takewhile(lambda each: each[0] >= minimum, reversed(self.records))
        return [record for _, record in newest_first][::-1]

    async def _deliver(self, characteristic: Bytes, value: bytes) -> None:
        connection = self.connection
        if connection is None:
            return
        if characteristic.properties & _Properties.NOTIFY:
            await self.device.notify_subscriber(connection, characteristic, value)
            await asyncio.sleep(self.pace_s)
        else:
            await connection.cancel_on_disconnection(self.device.indicate_subscriber(connection, characteristic, value))

    def _asked(self, _connection: Connection, request: bytes) -> None:
        self.requests.append(request)
        if not self._waiting.full():
            self._waiting.put_nowait(request)


class Glucometer(Meter):
    """A blood glucose meter: every record has a sequence number."""

    delivery = _Properties.NOTIFY

    def measure(self, mg_per_dl: int) -> None:
        """Store a measurement made now."""
        number = self.records[-1][0] + 1 if self.records else 0
        self.store(glucose_record(number, self.now(), mg_per_dl))

    def fill(self, values: Iterable[int]) -> None:
        """Store measurements, one a minute up to now."""
        given = list(values)
        for back, value in zip(range(len(given), 0, -1), given, strict=True):
            self.clock_off -= timedelta(minutes=back)
            self.measure(value)
            self.clock_off += timedelta(minutes=back)


class SpotOximeter(Meter):
    """A pulse oximeter with stored spot checks, which have no numbers."""

    delivery = _Properties.INDICATE


def glucose_record(number: int, shown: str, mg_per_dl: int) -> bytes:
    """A measurement of capillary blood from a finger."""
    readings: list[Reading] = [
        reading("sequence_number", number, ""),
        reading("device_time", shown, ""),
        reading("glucose", DecimalFraction(mg_per_dl, 0), "mg/dL"),
        reading("sample_type", "capillary_whole_blood", ""),
        reading("sample_site", "finger", ""),
        reading("context_follows", False, ""),
    ]
    return gatt.encode(gatt.GLUCOSE_MEASUREMENT, readings)
