"""The Modbus TCP link: one connection, its requests one after another, each device polled on a schedule of its own.

Sources: MODBUS Application Protocol V1.1b3, Modbus Messaging on TCP/IP V1.0b.
"""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from edge import config
from edge.errors import DeviceError, LinkError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.condition import Condition
from edge.links.modbus_blocks import Block, blocks_of, readings_of, split
from protocols.errors import ProtocolError
from protocols.reading import BAD_REFUSED, BAD_TIMEOUT

PROBE_SHARE = 0.2  # the most of the bus's time that all silent devices together may take
PROBE_MOST_S = 30.0  # the longest gap between two probes of a silent device
MOST_SILENCES = 4  # so many in a row, from all devices: the connection itself may be dead without saying so

ILLEGAL_ADDRESS = 2
GATEWAY_CODES = (10, 11)  # a bridge to a serial bus says so when the device behind it does not answer
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}


class _Silent(Exception):
    """The device gave no answer; the text says how we know."""


class _Refused(Exception):
    """The device answered with an exception code."""

    def __init__(self, code: int):
        super().__init__(EXCEPTIONS.get(code, f"exception {code}"))
        self.code = code


class _Unit:
    """One device on the link: what to read from it, when next, and how it is. Times are the event loop's."""

    def __init__(self, link: str, device: Attached, intake: Intake, period_ms: int | None):
        modbus = device.model.modbus
        if modbus is None:
            raise DeviceError(link, device.thing, f"{device.model.device.model} is no Modbus model")
        if not device.address.isdecimal() or int(device.address) > 255:
            raise DeviceError(link, device.thing, f"address {device.address!r} is no unit id (0 to 255)")
        self.thing = device.thing
        self.unit_id = int(device.address)
        self.modbus = modbus
        self.metrics = tuple(device.model.metrics)
        try:
            self.blocks = blocks_of(device.model)
        except ProtocolError as error:
            raise DeviceError(link, device.thing, str(error)) from error
        self.condition = Condition(device, intake)
        self.period_s = (period_ms or modbus.period_ms) / 1000
        self.due_s = 0.0
        self.probe_s = 0.0


def make_link(declared: config.ModbusLink, surroundings: Surroundings) -> "ModbusLink":
    """The link as the config declares it."""
    devices = [Attached(device.thing, device.declared, device.address) for device in declared.devices]
    return ModbusLink(declared.name, declared.host, declared.port, devices, surroundings.intake, surroundings.clock)


class ModbusLink:
    """All devices behind one host and port. `period_ms` overrides the models' own periods.

    A device that gives no answer within `timeout_ms` is offline and then only probed: at growing gaps, and all such
    devices together in at most PROBE_SHARE of the time, so that they never starve their neighbours.
    Raises DeviceError at construction for an address or a model that cannot be polled.
    """

    def __init__(  # noqa: PLR0917  every link is made of its name, where it is, its devices, intake and clock
        self,
        name: str,
        host: str,
        port: int,
        devices: Sequence[Attached],
        intake: Intake,
        clock: Clock,
        *,
        period_ms: int | None = None,
        timeout_ms: int = 500,
        backoff: Backoff | None = None,
    ):
        if not devices:
            raise LinkError(name, "has no devices")
        self.name = name
        self._host = host
        self._port = port
        self._intake = intake
        self._clock = clock
        self._timeout_s = timeout_ms / 1000
        self._backoff = backoff or Backoff()
        self._units = [_Unit(name, device, intake, period_ms) for device in devices]
        self._probe_from_s = 0.0
        seen: dict[int, str] = {}
        for unit in self._units:
            if unit.unit_id in seen:
                raise DeviceError(name, unit.thing, f"unit id {unit.unit_id} is also that of {seen[unit.unit_id]}")
            seen[unit.unit_id] = unit.thing

    async def run(self) -> None:
        """Serve the link until cancelled; a connection that fails is made anew, ever less often."""
        # What goes wrong is told as states and counts; the library's own lines would only repeat it at every attempt.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        while True:
            reason = await self._connected()
            for unit in self._units:
                unit.condition.failed(unit.metrics, BAD_TIMEOUT, self._clock())
                unit.condition.gone(reason)
            await asyncio.sleep(self._backoff.next_s())

    async def _connected(self) -> str:
        """Poll over one connection until it is lost; how it ended."""
        lost = asyncio.Event()
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            name=self.name,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=lambda connected: None if connected else lost.set(),
        )
        # Whether silence means a dead connection is decided in _poll_all, which knows whether any device still answers.
        client.set_max_no_responses(sys.maxsize)
        try:
            connected = await client.connect()
            _obey_cancellation()
            if not connected:
                self._intake.count("connect_failures")
                return f"no connection to {self._host}:{self._port}"
            async with asyncio.TaskGroup() as group:
                polling = group.create_task(self._poll_all(client, lost), name=f"{self.name} polling")
                await lost.wait()
                polling.cancel()
            self._intake.count("connections_lost")
            return f"connection to {self._host}:{self._port} lost"
        finally:
            client.close()

    async def _poll_all(self, client: AsyncModbusTcpClient, lost: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        silences = 0
        self._probe_from_s = loop.time()
        for unit in self._units:
            unit.due_s, unit.probe_s = loop.time(), 0.0
        while True:
            unit = self._next(loop.time())
            await asyncio.sleep(self._due_s(unit) - loop.time())
            await self._poll(client, unit)
            self._schedule(unit, loop.time())
            silences = silences + 1 if unit.condition.offline else 0
            if silences >= MOST_SILENCES and all(each.condition.offline for each in self._units):
                lost.set()

    def _due_s(self, unit: _Unit) -> float:
        return max(unit.due_s, self._probe_from_s) if unit.condition.offline else unit.due_s

    def _next(self, now_s: float) -> _Unit:
        """The unit to poll next; among those already due one that answers goes before one that has to be probed."""
        return min(self._units, key=lambda unit: (max(self._due_s(unit), now_s), unit.condition.offline, unit.due_s))

    def _schedule(self, unit: _Unit, now_s: float) -> None:
        """Set when `unit` is due again, on the raster of its period, so that late answers do not add up to drift."""
        if unit.condition.offline:
            unit.probe_s = min(max(unit.period_s, unit.probe_s * 2), max(unit.period_s, PROBE_MOST_S))
            unit.due_s = now_s + unit.probe_s
            self._probe_from_s = now_s + self._timeout_s / PROBE_SHARE
            return
        unit.probe_s = 0.0
        unit.due_s += unit.period_s
        if unit.due_s <= now_s:
            missed = int((now_s - unit.due_s) / unit.period_s) + 1
            unit.due_s += missed * unit.period_s
            self._intake.count("missed_cycles", unit.thing, missed)

    async def _poll(self, client: AsyncModbusTcpClient, unit: _Unit) -> None:
        """Read every block once. A silence ends the poll: the other blocks would only cost the neighbours' time."""
        left = deque(unit.blocks)
        read: list[Block] = []
        refusals: list[str] = []
        while left:
            block = left.popleft()
            try:
                values = await self._request(client, unit, block)
            except _Silent as silence:
                self._intake.count("timeouts", unit.thing)
                silent = [field.metric for each in (block, *left) for field in each.fields]
                unit.condition.failed(silent, BAD_TIMEOUT, self._clock())
                unit.condition.gone(str(silence))
                return
            except _Refused as refusal:
                self._intake.count("refusals", unit.thing)
                parts = split(block) if refusal.code == ILLEGAL_ADDRESS else ()
                left.extendleft(reversed(parts))
                if not parts:
                    read.append(block)
                    names = [field.metric for field in block.fields]
                    refusals.append(f"{', '.join(names)}: {refusal}")
                    unit.condition.failed(names, BAD_REFUSED, self._clock())
                continue
            read.append(block)
            unit.condition.heard(readings_of(block, values, unit.modbus, self._clock()))
        unit.blocks = tuple(read)  # blocks that had to be split stay so
        unit.condition.online("; ".join(refusals))
        self._backoff.reset()

    async def _request(self, client: AsyncModbusTcpClient, unit: _Unit, block: Block) -> Sequence[int | bool]:
        """The registers or bits of one block. Raises _Silent, _Refused."""
        read = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
        }[block.table]
        try:
            response = await read(block.address, count=block.count, device_id=unit.unit_id)
            _obey_cancellation()
        except ConnectionException as error:
            raise _Silent("connection lost") from error
        except ModbusException as error:
            raise _Silent(f"no answer within {self._timeout_s * 1000:.0f} ms") from error
        if response.isError():
            if response.exception_code in GATEWAY_CODES:
                raise _Silent(EXCEPTIONS[response.exception_code])
            raise _Refused(response.exception_code)
        bits = block.table in ("coil", "discrete")
        values: Sequence[int | bool] = response.bits[: block.count] if bits else response.registers  # bits fill bytes
        if len(values) != block.count:
            raise _Silent(f"asked for {block.count} values, answered with {len(values)}")
        return values


def _obey_cancellation() -> None:
    """Stop if this task was told to: asyncio.wait_for, which the library uses, loses what comes along with a result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
