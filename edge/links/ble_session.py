"""One connection to a Bluetooth device: bond, subscribe, fetch its stored records, and set its clock at last.

The clock is read first and set last: what the device stored before carries the time of the clock as it was.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from edge.links.base import Attached, Intake
from edge.links.ble_declared import declared
from edge.links.ble_records import RecordMemory
from edge.links.ble_time import EXACT_MS, DeviceClock
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Peer
from edge.links.condition import Condition
from hardware.catalogue import Ble
from protocols import gatt
from protocols.errors import DecodeError
from protocols.gatt import racp
from protocols.reading import Reading

log = logging.getLogger(__name__)

RECORDS_S = 30.0  # the profile's own: nothing for so long, and the transfer has failed
ASK_AGAIN_S = 60.0  # a meter that stays connected is asked for newer records
QUIET_S = 1.0  # nothing for so long: a device that gives its records by itself has no more

CURRENT_TIME_SERVICE = 0x1805
_SERVICES = {gatt.HEART_RATE_MEASUREMENT: 0x180D, gatt.TEMPERATURE_MEASUREMENT: 0x1809, gatt.BATTERY_LEVEL: 0x180F}
_STORED = (gatt.GLUCOSE_MEASUREMENT, gatt.GLUCOSE_MEASUREMENT_CONTEXT, gatt.PLX_SPOT_CHECK_MEASUREMENT)
_CLOCKS = ((gatt.CURRENT_TIME, DeviceClock.current_time), (gatt.DATE_TIME, DeviceClock.date_time))


def services_of(ble: Ble) -> frozenset[int]:
    """The services to discover for measurements: each costs a dozen round trips."""
    others = {_SERVICES[uuid16] for uuid16 in ble.characteristics if uuid16 in _SERVICES}
    return frozenset({ble.service, CURRENT_TIME_SERVICE} | others)


class Session:
    """A connection, from the moment it is made. Its methods raise RadioError."""

    def __init__(
        self,
        peer: Peer,
        device: Attached,
        *,
        intake: Intake,
        condition: Condition,
        memory: RecordMemory,
        clock: DeviceClock,
    ):
        assert device.model.ble
        self.peer = peer
        self.episodic = True  # whether the device comes for its measurements and goes
        self._thing = device.thing
        self._ble = device.model.ble
        self._metrics = device.model.metrics
        self._intake = intake
        self._condition = condition
        self._memory = memory
        self._clock = clock
        self._arrivals = 0
        self._reply: asyncio.Future[str] | None = None  # to what was asked of the Record Access Control Point
        self._asked: int | None = None  # the number from which records are asked for, which we have
        self._renumbered = False
        self._measurement: tuple[object, bytes, int, int] | None = None  # number, bytes, time and its mark: the last

    async def set_up(self) -> None:
        """Bond, read the clock, subscribe."""
        if self._ble.bond:
            await self.peer.pair()
        await self._read_clock()
        if self._ble.records:
            await self.peer.subscribe(gatt.RECORD_ACCESS_CONTROL_POINT, self._arrived)
        for uuid16 in self._ble.characteristics:
            properties = self.peer.properties(uuid16)
            if not properties and uuid16 != self._ble.characteristics[0]:
                continue  # profiles leave all but the measurement to the device
            if properties & {"notify", "indicate"}:
                await self.peer.subscribe(uuid16, self._arrived)
            if "read" in properties or not properties & {"notify", "indicate"}:
                self._arrived(uuid16, await self.peer.read(uuid16))  # one that is told when it changes, too
            if "notify" in properties and not self._is_stored(uuid16):
                self.episodic = False

    async def serve(self) -> None:
        """Take what comes, until the device has gone."""
        if self._ble.records:
            while not self.peer.gone.done():
                await self._fetch()
                await self._set_clock()
                # One that also tells what it measures just now has stored nothing more as long as we are here.
                await asyncio.wait((self.peer.gone,), timeout=ASK_AGAIN_S if self.episodic else None)
        await self._quiet()
        await self._set_clock()
        await asyncio.wait((self.peer.gone,))

    async def _read_clock(self) -> None:
        for uuid16, _ in _CLOCKS:
            if "read" in self.peer.properties(uuid16):
                try:
                    shown = _facts(gatt.decode(uuid16, await self.peer.read(uuid16)))["device_time"].value
                except DecodeError as error:
                    log.warning("%s: its clock cannot be read: %s", self._thing, error)
                    self._intake.count("decode_errors", self._thing)
                    continue
                self._clock.read(str(shown))
                if self._clock.wrong:
                    log.warning("%s: its clock shows %s", self._thing, shown)
                    self._intake.count("clocks_wrong", self._thing)
                return

    async def _set_clock(self) -> None:
        if not self._clock.may_be_set:
            return
        if self._clock.is_set or (self._clock.ahead_ms is not None and abs(self._clock.ahead_ms) < EXACT_MS):
            return
        for uuid16, value in _CLOCKS:
            if "write" in self.peer.properties(uuid16) and not self.peer.gone.done():
                try:
                    await self.peer.write(uuid16, value(self._clock))
                except RadioError as error:
                    if self.peer.gone.done():
                        return
                    log.warning("%s: its clock cannot be set: %s", self._thing, error)
                    self._intake.count("clocks_refused", self._thing)
                    continue
                self._clock.was_set()
                return

    async def _quiet(self) -> None:
        """Wait until the device has nothing more to say for now, or has gone."""
        heard = -1
        while heard != self._arrivals and not self.peer.gone.done():
            heard = self._arrivals
            await asyncio.wait((self.peer.gone,), timeout=QUIET_S)

    async def _fetch(self) -> None:
        """All records that we do not have.

        Those from the last one on, itself included: if it is another one by now, or gone, the device has begun to
        count anew, and all are asked for; so they are of a device that cannot choose.
        """
        last = self._memory.last
        if last is not None:
            self._asked, self._renumbered = last, False
            answer = await self._ask(racp.request("report", "at_least", minimum=last))
            self._asked = None
            if not answer or (answer == "success" and not self._renumbered):
                return
        await self._ask(racp.request("report", "all"))

    async def _ask(self, request: bytes) -> str:
        """The response code; empty if the device went before it came."""
        reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reply = reply
        await self.peer.write(gatt.RECORD_ACCESS_CONTROL_POINT, request)
        while not reply.done() and not self.peer.gone.done():
            heard = self._arrivals
            done, _ = await asyncio.wait(
                (reply, self.peer.gone), timeout=RECORDS_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and heard == self._arrivals:
                raise RadioError("gives no records and no answer")
        if not reply.done():
            return ""
        if reply.result() not in ("success", "no_records"):
            log.warning("%s: refuses to give its records: %s", self._thing, reply.result())
            self._intake.count("records_refused", self._thing)
        return reply.result()

    def _arrived(self, uuid16: int, data: bytes) -> None:
        self._arrivals += 1
        try:
            decoded = gatt.decode(uuid16, data)
            if uuid16 == gatt.RECORD_ACCESS_CONTROL_POINT:
                self._answered(decoded)
            elif uuid16 == gatt.GLUCOSE_MEASUREMENT_CONTEXT:
                self._take_context(decoded, data)
            else:
                self._take_measurement(decoded, data, stored=self._is_stored(uuid16))
        except DecodeError as error:
            # The bytes themselves are a person's measurement and stay out of the log.
            log.warning("%s: %d bytes of %04X are refused: %s", self._thing, len(data), uuid16, error)
            self._intake.count("decode_errors", self._thing)

    def _answered(self, decoded: Sequence[Reading]) -> None:
        facts = _facts(decoded)
        if "response_code" in facts and self._reply and not self._reply.done():
            self._reply.set_result(str(facts["response_code"].value))

    def _is_stored(self, uuid16: int) -> bool:
        """Whether what comes there comes from the device's memory."""
        return self._ble.records is not None and uuid16 in _STORED

    def _take_measurement(self, decoded: Sequence[Reading], data: bytes, *, stored: bool) -> None:
        facts = _facts(decoded)
        time_ms, mark = self._time_of(facts, stored)
        readings = declared(self._metrics, decoded, time_ms, mark)
        number = facts["sequence_number"].value if "sequence_number" in facts else None
        self._measurement = (number, data, time_ms, mark)
        # Without number or date two measurements may be equal; but what is stored comes again and again.
        if number is None and not _dated(facts) and not stored:
            if readings:
                self._condition.heard(readings)
        elif self._take_record(readings, data, number) and isinstance(number, int):
            self._intake.take(self._thing, (), origin=self._memory.number(number))

    def _take_context(self, decoded: Sequence[Reading], data: bytes) -> None:
        """What a meter tells of the circumstances, right after the measurement to which it belongs."""
        number = _facts(decoded)["sequence_number"].value
        if self._measurement is None or self._measurement[0] != number:
            raise DecodeError("glucose measurement context", f"follows no measurement {number}")
        _, measured, time_ms, mark = self._measurement
        if readings := declared(self._metrics, decoded, time_ms, mark):
            self._take_record(readings, measured + data, number)

    def _take_record(self, readings: Sequence[Reading], record: bytes, number: object) -> bool:
        """Take a record, unless we have it; whether it was new."""
        if self._memory.knows(record):
            if number is None or number != self._asked:
                log.info("%s: a record that it has sent before", self._thing)
                self._intake.count("repeated_records", self._thing)
            return False
        self._renumbered = self._renumbered or (number is not None and number == self._asked)
        self._intake.take(self._thing, readings, origin=self._memory.take(record))
        return True

    def _time_of(self, facts: Mapping[str, Reading], stored: bool) -> tuple[int, int]:
        text = str(facts["device_time"].value) if "device_time" in facts else None
        if "clock_not_set" in facts and facts["clock_not_set"].value is True:
            text = ""
        offset = facts["time_offset"].value if "time_offset" in facts else 0
        assert isinstance(offset, int)
        return self._clock.time_of(text, offset_min=offset, stored=stored)


def _facts(decoded: Sequence[Reading]) -> dict[str, Reading]:
    return {each.metric: each for each in decoded}


def _dated(facts: Mapping[str, Reading]) -> bool:
    return "device_time" in facts and not str(facts["device_time"].value).startswith("0000")
