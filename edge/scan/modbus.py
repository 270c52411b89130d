"""Finds Modbus units on a line, and the models that they fit."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge.errors import LinkError
from edge.links.base import Channel
from edge.links.modbus import TCP_COSTS
from edge.links.modbus_blocks import FUNCTIONS, BlockRequest, tables_of
from edge.links.modbus_line import Line, Silence
from edge.links.modbus_values import is_bits, words_of
from edge.scan.found import Fit, FoundDevice
from edge.scan.search import Search
from edge.scan.words import word
from hardware.catalogue import DeviceModel
from protocols.errors import DecodeError
from protocols.modbus import ExceptionResponse, read_request, response_payload
from protocols.modbus.frames import NO_PATH, NO_RESPONSE
from protocols.modbus.registers import decode_registers
from protocols.reading import BAD

_FIRST_REGISTER = read_request(FUNCTIONS["holding"], 0, 1)
_UNLIKELY = (247, 231, 203)  # who answers for all of these answers for every unit id, and is one device


class Bus:
    """A line that is asked patiently: opened again when it ends, and silence is no error.

    timeout_s: for an answer to begin. Raises LinkError where the line cannot be opened.
    """

    def __init__(self, line: Line, timeout_s: float):
        self.where = line.where
        self._line = line
        self._timeout_s = timeout_s
        self._open = False

    async def ask(self, unit: int, request: bytes) -> bytes | None:
        """What the unit says to a request; None if nobody answers. Raises ExceptionResponse, or LinkError."""
        if not self._open:
            await self._line.open(self._lost)
            self._open = True
        try:
            return response_payload(request, await self._line.exchange(unit, request, self._timeout_s))
        except ExceptionResponse as refusal:
            if refusal.code in (NO_PATH, NO_RESPONSE):
                return None  # says the device server in front of it
            raise
        except (Silence, DecodeError):
            return None

    async def answers(self, unit: int) -> bool:
        """Whether there is such a unit: a refusal is an answer too."""
        try:
            return await self.ask(unit, _FIRST_REGISTER) is not None
        except ExceptionResponse:
            return True

    def close(self) -> None:
        """Close the line."""
        self._line.close()
        self._open = False

    def _lost(self) -> None:
        self._open = False


async def scan_bus(bus: Bus, search: Search, found: list[FoundDevice]) -> None:
    """Find the units that answer, and what they are. Raises LinkError."""
    units = search.units
    everybody = len(units) > len(_UNLIKELY) and all([await bus.answers(unit) for unit in _UNLIKELY])
    for done, unit in enumerate(units):
        search.watch.at(word("{} units at {}", bus.where, unit, units[-1]), done, len(units))
        if not await bus.answers(unit):
            continue
        search.watch.found()
        fits = await identify(bus, unit, search.models)
        said = word("every unit") if everybody else "" if fits else word("answers")
        found.append(FoundDevice(str(unit), fits, said))
        if everybody:
            break


async def identify(bus: Bus, unit: int, models: Mapping[str, DeviceModel]) -> list[Fit]:
    """The models that a unit fits, best first; just the one by whose fingerprint it is known. Raises LinkError."""
    plausible = []
    for model in models.values():
        if model.modbus is None:
            continue
        if model.modbus.fingerprint is None:
            if evidence := await _evidence(bus, unit, model):
                plausible.append((evidence, model))
        elif await _is_marked(bus, unit, model):
            return [Fit(model, sure=True)]
    plausible.sort(key=lambda each: (each[0], each[1].device.model), reverse=True)
    return [Fit(model, sure=False) for _, model in plausible]


async def _is_marked(bus: Bus, unit: int, model: DeviceModel) -> bool:
    modbus = model.modbus
    assert modbus
    fingerprint = modbus.fingerprint
    assert fingerprint
    register = fingerprint.register_
    try:
        data = await bus.ask(unit, read_request(FUNCTIONS[register.table], register.address, register.count))
    except ExceptionResponse:
        return False
    if data is None:
        return False
    orders: dict[str, Any] = {"byte_order": modbus.byte_order, "word_order": modbus.word_order}
    value = decode_registers(words_of(False, data, register.count), register.type, **orders)
    return value in fingerprint.values


async def _evidence(bus: Bus, unit: int, model: DeviceModel) -> tuple[int, int] | None:
    """(metrics that could have been implausible, all metrics); None if one is missing or wrong, or nothing speaks.

    Zeros are what many a device says of registers that it does not have.
    """
    assert model.modbus
    telling = total = 0
    silent = True
    for group in (None, *model.modbus.groups):
        for table in tables_of(model, group, TCP_COSTS, _no_channel):
            requests = list(table.requests)
            while requests:
                request = requests.pop()
                try:
                    data = await bus.ask(unit, request.pdu)
                except ExceptionResponse as refusal:
                    smaller = table.refused(request, refusal.code)
                    if not smaller:
                        return None
                    requests += smaller
                    continue
                if data is None or not _is_right(request, data, model):
                    return None
                bits = is_bits(table.table)
                silent = silent and not bits and not any(data)
                telling += sum(bits or field.metric.range is not None for field in request.fields)
                total += len(request.fields)
    return None if silent or not telling else (telling, total)


def _is_right(request: BlockRequest, data: bytes, model: DeviceModel) -> bool:
    assert model.modbus
    start, count = request.block
    words = words_of(is_bits(request.table.table), data, count)
    for field in request.fields:
        first = field.span[0] - start
        if field.reading(words[first : first + field.span[1]], 0, model.modbus).quality >= BAD:
            return False
    return True


def _no_channel(_metrics: Sequence[str]) -> Channel:
    raise LinkError("scan", "takes no readings")
