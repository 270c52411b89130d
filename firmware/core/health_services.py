"""A device that measures vital signs as a standard Bluetooth peripheral: the SIG's health services on a GATT server.

Heart Rate, Pulse Oximeter (continuous, and spot checks that are stored), Health Thermometer, Battery, Device
Information and Current Time. Nothing of a person is told before the link is encrypted.
Source: Bluetooth SIG HRS 1.0, PLXS 1.0, HTS 1.0, BAS 1.0, DIS 1.1, CTS 1.1.
"""

import asyncio
import struct

from firmware import VERSION
from firmware.core.gatt_server import INDICATE, NOTIFY, READ, READ_ENCRYPTED, WRITE, WRITE_ENCRYPTED
from firmware.core.local_clock import LocalClock
from firmware.core.record_access import RecordAccess
from firmware.errors import JournalError
from protocols import gatt
from protocols.errors import DecodeError
from protocols.reading import BAD, GOOD, DecimalFraction, Reading, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firmware.core.clock import Clock
    from firmware.core.gatt_server import GattServer
    from firmware.core.records import Records

HEART_RATE, OXIMETER, THERMOMETER, BATTERY, INFORMATION, TIME = 0x180D, 0x1822, 0x1809, 0x180F, 0x180A, 0x1805
_BODY_SENSOR_LOCATION, _PLX_FEATURES, _TEMPERATURE_TYPE, _MEASUREMENT_INTERVAL = 0x2A38, 0x2A60, 0x2A1D, 0x2A21
_MANUFACTURER, _MODEL, _SERIAL, _FIRMWARE = 0x2A29, 0x2A24, 0x2A25, 0x2A26
_SEALED = READ | READ_ENCRYPTED

SERVICES = (
    (HEART_RATE, ((gatt.HEART_RATE_MEASUREMENT, NOTIFY | READ_ENCRYPTED), (_BODY_SENSOR_LOCATION, READ))),
    (
        OXIMETER,
        (
            (gatt.PLX_SPOT_CHECK_MEASUREMENT, INDICATE | READ_ENCRYPTED),
            (gatt.PLX_CONTINUOUS_MEASUREMENT, NOTIFY | READ_ENCRYPTED),
            (_PLX_FEATURES, _SEALED),
            (gatt.RECORD_ACCESS_CONTROL_POINT, WRITE | INDICATE | WRITE_ENCRYPTED),
        ),
    ),
    (
        THERMOMETER,
        (
            (gatt.TEMPERATURE_MEASUREMENT, INDICATE | READ_ENCRYPTED),
            (_TEMPERATURE_TYPE, READ),
            (_MEASUREMENT_INTERVAL, READ),
        ),
    ),
    (BATTERY, ((gatt.BATTERY_LEVEL, READ | NOTIFY),)),
    (INFORMATION, ((_MANUFACTURER, READ), (_MODEL, READ), (_SERIAL, _SEALED), (_FIRMWARE, READ))),
    (TIME, ((gatt.CURRENT_TIME, READ | NOTIFY | WRITE | READ_ENCRYPTED | WRITE_ENCRYPTED),)),
)
ADVERTISED = (HEART_RATE, OXIMETER, THERMOMETER)

_WRIST = 2  # body sensor location
_BODY = 2  # temperature type
# Measurement status, stored spot checks, their time; of the status the bits that `_spot_check` and `_continuous` set.
_FEATURES = struct.pack("<HH", 0x000D, 0x4000)
_LONGEST_HEADER = 3 + 2  # of a notification and of the heart rate before its intervals
_WORDLESS = "0000-00-00T00:00:00"


class HealthServices:
    """The services. `measured` is told each second what the sensors say; `run` serves centrals.

    `period_s`: between two spot checks, and between two temperatures; `stores_always`: also while a central is there,
    which is told of each second. `battery`: what is left, in percent.
    """

    def __init__(
        self,
        server: "GattServer",
        clock: "Clock",
        records: "Records",
        *,
        maker: str,
        model: str,
        serial: str,
        period_s: int = 60,
        stores_always: bool = False,
        battery: "Callable[[], int]",
    ):
        self._server = server
        self._clock = clock
        self._local = LocalClock(clock)
        self._records = records
        self._period_s = period_s
        self._stores_always = stores_always
        self._battery = battery
        self._texts = ((_MANUFACTURER, maker), (_MODEL, model), (_SERIAL, serial), (_FIRMWARE, VERSION))
        self._access = RecordAccess(
            records,
            lambda record: server.indicate(gatt.PLX_SPOT_CHECK_MEASUREMENT, record),
            lambda answer: server.indicate(gatt.RECORD_ACCESS_CONTROL_POINT, answer),
        )
        self._latest: "dict[str, Reading]" = {}
        self._level = -1

    def start(self) -> None:
        """Register the services and advertise."""
        server = self._server
        server.on_write[gatt.RECORD_ACCESS_CONTROL_POINT] = self._access.asked
        server.on_write[gatt.CURRENT_TIME] = self._set_clock
        server.on_link = self._link_changed
        server.start(SERVICES, advertised=ADVERTISED)
        server.set(_BODY_SENSOR_LOCATION, bytes([_WRIST]))
        server.set(_PLX_FEATURES, _FEATURES)
        server.set(_TEMPERATURE_TYPE, bytes([_BODY]))
        server.set(_MEASUREMENT_INTERVAL, struct.pack("<H", self._period_s))
        for uuid, text in self._texts:
            server.set(uuid, text.encode())
        self._show()

    def measured(self, readings: "Sequence[Reading]", intervals_s: "Sequence[DecimalFraction]" = ()) -> None:
        """Tell a central what was measured just now; `intervals_s`: between the beats since the last time."""
        self._latest = {each.metric: each for each in readings}
        self._show()
        if self._server.encrypted:
            if "heart_rate" in self._latest:
                self._server.notify(gatt.HEART_RATE_MEASUREMENT, self._heart_rate(intervals_s))
            if "oxygen_saturation" in self._latest:
                self._server.notify(gatt.PLX_CONTINUOUS_MEASUREMENT, self._continuous())

    async def run(self) -> None:
        """Serve for ever."""
        await asyncio.gather(self._server.run(), self._access.run(), self._check())

    async def _check(self) -> None:
        """A spot check and a temperature each period."""
        while True:
            await asyncio.sleep(self._period_s)
            temperature = self._latest.get("skin_temperature")
            alone = self._stores_always or not self._server.encrypted
            if alone and self._latest.get("oxygen_saturation", _NOTHING).quality == GOOD:
                try:
                    self._records.append(self._spot_check())
                except JournalError as error:
                    print("records:", error)
            if temperature is not None and temperature.quality < BAD:
                await self._server.indicate(gatt.TEMPERATURE_MEASUREMENT, self._temperature(temperature))

    def _show(self) -> None:
        """What may be read at any time."""
        self._server.set(gatt.CURRENT_TIME, self._local.current_time())
        level = self._battery()
        if level != self._level:
            self._level = level
            self._server.notify(gatt.BATTERY_LEVEL, bytes([level]))

    def _set_clock(self, value: bytes) -> None:
        try:
            self._local.set(value)
        except DecodeError as error:
            print("clock:", error)
        self._server.notify(gatt.CURRENT_TIME, self._local.current_time())

    def _link_changed(self) -> None:
        if not self._server.connected:
            self._access.gone()

    # --- readings as characteristics ---

    def _heart_rate(self, intervals_s: "Sequence[DecimalFraction]") -> bytes:
        rate = _whole(self._latest["heart_rate"])
        room = (self._server.mtu - _LONGEST_HEADER) // 2
        said = [reading("heart_rate", rate or 0, "/min"), reading("sensor_contact", rate is not None, "")]
        said += [reading("rr_interval", each, "s") for each in list(intervals_s)[-room:]]
        return gatt.encode(gatt.HEART_RATE_MEASUREMENT, said)

    def _continuous(self) -> bytes:
        return gatt.encode(gatt.PLX_CONTINUOUS_MEASUREMENT, self._oximetry())

    def _spot_check(self) -> bytes:
        text = self._local.text()
        said = self._oximetry() + [reading("device_time", text or _WORDLESS, "")]
        return gatt.encode(
            gatt.PLX_SPOT_CHECK_MEASUREMENT, said + ([] if text else [reading("clock_not_set", True, "")])
        )

    def _oximetry(self) -> "list[Reading]":
        saturation, rate = self._latest["oxygen_saturation"], self._latest.get("heart_rate", _NOTHING)
        doubtful = any(GOOD < each.quality < BAD for each in (saturation, rate))
        return [
            reading("oxygen_saturation", _whole(saturation), "%"),
            reading("pulse_rate", _whole(rate), "/min"),
            reading("questionable_measurement", doubtful, ""),
        ]

    def _temperature(self, measured: "Reading") -> bytes:
        text = self._local.text()
        said = [reading("body_temperature", measured.value, "Cel")]
        return gatt.encode(gatt.TEMPERATURE_MEASUREMENT, said + ([reading("device_time", text, "")] if text else []))


_NOTHING = reading("", None, "", BAD)


def _whole(measured: "Reading") -> "int | None":
    """The value to the nearest whole number; None for one that is bad."""
    value = measured.value
    if measured.quality >= BAD or value is None or isinstance(value, str):
        return None
    if not isinstance(value, DecimalFraction):
        return int(value)
    scale = 10 ** max(0, -value.exponent)
    return int((2 * value.mantissa * 10 ** max(0, value.exponent) + scale) // (2 * scale))
