"""The Modbus link: one line, one owner. Polls, probes and commands of all its devices go over it one after another.

Sources: MODBUS Application Protocol V1.1b3, Modbus Messaging on TCP/IP V1.0b, MODBUS over Serial Line V1.02.
"""

import asyncio
import statistics
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge import config
from edge.errors import ActionRefused, DeviceError, LinkError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.modbus_action import Action
from edge.links.modbus_blocks import BlockRequest, Table
from edge.links.modbus_line import Line, Silence, TcpLine
from edge.links.modbus_rtu import RtuOverTcpLine, SerialLine
from edge.links.modbus_schedule import Poll, Schedule
from edge.links.modbus_station import Station
from hardware.catalogue import Command
from protocols.errors import ChecksumError, DecodeError
from protocols.modbus import Cost, ExceptionResponse, response_payload, serial_cost, tcp_cost
from protocols.modbus.frames import NO_PATH, NO_RESPONSE
from protocols.reading import BAD_CHECKSUM, BAD_INVALID, BAD_TIMEOUT, refused

if TYPE_CHECKING:
    from protocols.reading import Value

MOST_SILENCES = 4  # so many in a row, from all devices: the connection itself may be dead without saying so
MOST_COMMANDS = 64  # that wait for the line; one more is refused
PROBE_LEAST_S = 0.01
PROBE_MARGIN = 2  # a device that has answered within T of late is probed for twice that
PROBE_WHOLE_S = 300.0  # so often a probe waits for the whole timeout: the device may have become slower
PROBE_LATE_S = 1.0  # and this soon, then ever less often, if it has answered when nobody waited any more
FORGETTING = 0.99  # of the slowest answer, with each further one


def make_link(declared: config.ModbusLink, surroundings: Surroundings) -> "ModbusLink":
    """The link as the config declares it."""
    intake, clock = surroundings.intake, surroundings.clock

    def count(counter: str) -> None:
        intake.count(counter)

    line: Line
    if declared.serial is not None:
        port = declared.serial
        line = SerialLine(port.port, clock, count, baud=port.baud, parity=port.parity, stop_bits=port.stop_bits)
        costs = {bits: serial_cost(port.baud, bits=bits) for bits in (False, True)}
    else:
        assert declared.host is not None
        network = TcpLine if declared.framing == "tcp" else RtuOverTcpLine
        line = network(declared.host, declared.port, clock, count)
        costs = TCP_COSTS
    return ModbusLink(
        declared.name,
        line,
        [Attached(device.thing, device.declared, device.address) for device in declared.devices],
        intake,
        clock,
        costs=costs,
        periods_ms={device.thing: device.period_ms or declared.period_ms for device in declared.devices},
        timeout_ms=declared.timeout_ms,
    )


TCP_COSTS = {bits: tcp_cost(bits=bits) for bits in (False, True)}


class ModbusLink:
    """All devices on one line. `periods_ms` overrides the models' own period for a thing.

    A device that gives no answer within `timeout_ms` is offline and then only probed (see modbus_schedule), so that it
    never starves its neighbours. Raises DeviceError at construction for an address or a model that cannot be polled.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        devices: Sequence[Attached],
        intake: Intake,
        clock: Clock,
        *,
        costs: dict[bool, Cost] = TCP_COSTS,
        periods_ms: dict[str, int | None] | None = None,
        timeout_ms: int = 500,
        backoff: Backoff | None = None,
    ):
        if not devices:
            raise LinkError(name, "has no devices")
        self.name = name
        self._line = line
        self._intake = intake
        self._clock = clock
        self._timeout_s = timeout_ms / 1000
        self._backoff = backoff or Backoff()
        periods_ms = periods_ms or {}
        self._stations = [Station(name, device, intake, costs, periods_ms.get(device.thing)) for device in devices]
        self._schedule = Schedule(self._stations, self._timeout_s + line.late_s if line.late_s else 0.0)
        self._actions: deque[Action] = deque()
        self._wake = asyncio.Event()
        self._open = False
        self._silences = 0
        seen: dict[int, str] = {}
        for station in self._stations:
            if station.unit_id in seen:
                raise DeviceError(
                    name, station.thing, f"unit id {station.unit_id} is also that of {seen[station.unit_id]}"
                )
            seen[station.unit_id] = station.thing

    async def run(self) -> None:
        """Serve the link until cancelled; a line that fails is opened anew, ever less often."""
        try:
            while True:
                reason = await self._serve()
                for station in self._stations:
                    station.condition.failed(station.metrics, BAD_TIMEOUT, self._clock())
                    station.condition.gone(reason)
                self._refuse_all(reason)
                await asyncio.sleep(self._backoff.next_s())
        finally:
            self._refuse_all("the link is stopped")

    async def act(self, thing: str, command: Command, value: "Value") -> "Value":
        """Carry out a command before all polls; see edge.links.base.Link."""
        station = next(each for each in self._stations if each.thing == thing)
        if not self._open:
            raise ActionRefused(thing, f"{self._line.where} is not open")
        if len(self._actions) >= MOST_COMMANDS:
            raise ActionRefused(thing, f"{MOST_COMMANDS} commands are waiting for the line already")
        action = Action(thing, station.unit_id, station.modbus, command, value)
        self._actions.append(action)
        self._wake.set()
        return await action.result

    async def _serve(self) -> str:
        """Poll over one opening of the line until it is lost; how it ended."""
        lost = asyncio.Event()
        try:
            await self._line.open(lost.set)
        except LinkError as error:
            self._intake.count("connect_failures")
            return error.reason
        try:
            self._open = True
            async with asyncio.TaskGroup() as group:
                polling = group.create_task(self._poll_all(lost), name=f"{self.name} polling")
                await lost.wait()
                polling.cancel()
            self._intake.count("connections_lost")
            return f"connection to {self._line.where} lost"
        finally:
            self._open = False
            self._line.close()

    async def _poll_all(self, lost: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        self._silences = 0
        self._schedule.start(loop.time())
        while True:
            if self._actions:
                await self._carry_out()
            at_s, what = self._schedule.next(loop.time())
            if at_s > loop.time():
                await self._sleep_until(at_s)
            elif isinstance(what, Poll):
                await self._poll(what)
            else:
                assert isinstance(what, Station)
                await self._probe(what)
            silences = max(MOST_SILENCES, len(self._stations))
            if self._silences >= silences and all(station.silent for station in self._stations):
                self._backoff.reset()  # the line is there, and a device that comes back is soon to be noticed
                lost.set()
                await asyncio.sleep(self._timeout_s)  # until the end that was asked for

    async def _sleep_until(self, at_s: float) -> None:
        """Wait for the time or for a command."""
        loop = asyncio.get_running_loop()
        self._wake.clear()
        if not self._actions:
            timer = loop.call_at(at_s, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _carry_out(self) -> None:
        while self._actions:
            action = self._actions.popleft()
            await action.carry_out(lambda unit, pdu: self._ask(unit, pdu, self._timeout_s))

    async def _poll(self, poll: Poll) -> None:
        """Read every block once. A silence ends the poll: the other blocks would only cost the neighbours' time."""
        station = poll.unit
        assert isinstance(station, Station)
        station.heard, station.trouble = False, ""
        for table in station.tables[poll]:
            if not await self._read(station, table):
                now_s = asyncio.get_running_loop().time()
                station.whole_s, station.late_gap_s = now_s, PROBE_LATE_S
                station.probe_takes_s = self._probe_timeout_s(station, now_s)
                self._schedule.fell_silent(station, now_s - self._timeout_s, now_s)
                return
        if missed := self._schedule.polled(poll, asyncio.get_running_loop().time()):
            self._intake.count("missed_cycles", station.thing, missed)
        self._tell(station)

    async def _read(self, station: Station, table: Table) -> bool:
        """Read a table by its plan, commands first; whether the device answered."""
        plan = table.due(asyncio.get_running_loop().time())
        left = deque(plan)
        answered: list[BlockRequest] = []
        learned = table.learning or plan is not table.requests
        while left:
            if self._actions:
                await self._carry_out()
            request = left.popleft()
            try:
                await self._request(station, request)
            except Silence as silence:
                self._is_silent(station, str(silence))
                return False
            except ExceptionResponse as refusal:
                self._intake.count("refusals", station.thing)
                if refusal.code in (NO_PATH, NO_RESPONSE):
                    self._is_silent(station, refusal.reason)
                    return False
                left.extendleft(reversed(table.refused(request, refusal.code)))
                station.heard = learned = True
            except DecodeError as error:
                self._damaged(station, request, error)
            else:
                answered.append(request)
                station.heard = True
        if learned:
            table.settle(answered)
        for name, code in table.refusals.items():
            station.condition.failed((name,), refused(code), self._clock())
        return True

    def _damaged(self, station: Station, request: BlockRequest, error: DecodeError) -> None:
        station.trouble = str(error)
        checksum = isinstance(error, ChecksumError)
        self._intake.count("checksum_errors" if checksum else "decode_errors", station.thing)
        names = [field.name for field in request.fields]
        station.condition.failed(names, BAD_CHECKSUM if checksum else BAD_INVALID, self._clock())

    def _is_silent(self, station: Station, reason: str) -> None:
        self._silences += 1
        self._intake.count("timeouts", station.thing)
        station.condition.failed(station.metrics, BAD_TIMEOUT, self._clock())
        station.condition.gone(reason)

    def _tell(self, station: Station) -> None:
        """How the device is, after a poll that it has answered somehow."""
        self._silences = 0
        if station.trouble and not station.heard:
            station.condition.gone(station.trouble)
            return
        station.condition.online(station.note)
        self._backoff.reset()

    async def _request(self, station: Station, request: BlockRequest) -> None:
        """Make one request and hand its readings on. Raises Silence, DecodeError."""
        response = await self._line.exchange(station.unit_id, request.pdu, self._timeout_s)
        data = response_payload(request.pdu, response)
        station.slowest_s = max(station.slowest_s * FORGETTING, self._line.answer_s)
        request.take(data, self._line.arrived_ms, station.condition)

    async def _ask(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """The data of an answer. Raises Silence, ExceptionResponse, DecodeError."""
        return response_payload(pdu, await self._line.exchange(unit, pdu, timeout_s))

    async def _probe(self, station: Station) -> None:
        """Ask a device that did not answer for as little as can be; any answer at all means that it is back."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        answered = True
        try:
            await self._ask(station.unit_id, station.probe.pdu, station.probe_takes_s)
        except Silence:
            answered = False
        except ExceptionResponse as refusal:
            answered = refusal.code not in (NO_PATH, NO_RESPONSE)
        except DecodeError:
            self._intake.count("decode_errors", station.thing)
        if not answered:
            self._silences += 1
            self._intake.count("timeouts", station.thing)
        now_s = loop.time()
        station.probe_takes_s = self._probe_timeout_s(station, now_s)
        self._schedule.probed(station, asked_s, now_s, answered=answered)

    def _probe_timeout_s(self, station: Station, now_s: float) -> float:
        """As long as it took at most before; of one that was never heard as long as its neighbours do."""
        late = station.unit_id in self._line.late
        if now_s >= station.whole_s + (station.late_gap_s if late else PROBE_WHOLE_S):
            self._line.late.discard(station.unit_id)
            station.whole_s = now_s
            station.late_gap_s = min(2 * station.late_gap_s, PROBE_WHOLE_S)
            return self._timeout_s
        heard_s = [each.slowest_s for each in self._stations if each.slowest_s]
        if not heard_s:
            return self._timeout_s
        usual_s = station.slowest_s or statistics.median(heard_s)
        return min(self._timeout_s, max(PROBE_LEAST_S, PROBE_MARGIN * usual_s))

    def _refuse_all(self, reason: str) -> None:
        while self._actions:
            self._actions.popleft().refuse(reason)
