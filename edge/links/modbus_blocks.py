"""What to request from a Modbus device: its metrics of one table and one group, by a plan that learns from refusals."""

from collections.abc import Iterable, Mapping, Sequence

from edge.links.condition import Condition
from edge.links.modbus_values import Decoder, Field, MakeChannel, decode, is_bits
from hardware.catalogue import DeviceModel, Modbus
from protocols.modbus import Cost, Layout, read_request
from protocols.modbus.frames import ILLEGAL_ADDRESS, ILLEGAL_VALUE

RETRY_S = 60.0
FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_TELLING = (ILLEGAL_ADDRESS, ILLEGAL_VALUE)  # the first of a register that there is not, both of too many at once


class Table:
    """The metrics of one table of a device that are polled together.

    `requests` are the plan, made anew after a refusal has taught something; `refusals` are the exception codes by which
    the device refuses some of the metrics. Raises EncodeError or DecodeError for metrics that cannot be read.
    """

    def __init__(self, table: str, fields: Sequence[Field], modbus: Modbus, cost: Cost, make_channel: MakeChannel):
        self.table = table
        self.fields = fields
        self.refusals: dict[str, int] = {}
        self._modbus = modbus
        self._make_channel = make_channel
        for field in fields:
            if not is_bits(table):
                decode(field.register, (0,) * field.span[1], modbus)  # a wrong declaration shows at the start
        most = modbus.max_bits if is_bits(table) else modbus.max_registers
        self._layout = Layout([field.span for field in fields], cost, most=most)
        self._retry_s = 0.0
        self._retries = 0
        self.requests: tuple[BlockRequest, ...] = ()
        self._replan()

    @property
    def learning(self) -> bool:
        """Whether the answers to the plan tell something new: then `settle` is to be called with them."""
        return self._layout.learning

    @property
    def probe(self) -> "BlockRequest":
        """A request that shows whether the device is there."""
        return self.requests[0] if self.requests else self._request(self._layout.refused_spans[0])

    def due(self, now_s: float) -> "tuple[BlockRequest, ...]":
        """What to request now: the plan; and once in RETRY_S, or where nothing else is left, what is refused by itself.

        A device may have been asked while it was starting, or be given what it did not have.
        """
        refused = self._layout.refused_spans
        if not refused or (self.requests and now_s < self._retry_s):
            return self.requests
        self._retry_s = now_s + RETRY_S
        self._retries += 1
        return *self.requests, self._request(refused[self._retries % len(refused)])

    def refused(self, request: "BlockRequest", code: int) -> "list[BlockRequest]":
        """A request was refused with this exception code: smaller ones to make in its place.

        None for a single span, nor for a code that says nothing of address and length.
        """
        parts = [self._request(block) for block in self._layout.refused(request.block)] if code in _TELLING else []
        covered = {field.name for part in parts for field in part.fields}
        self.refusals |= {field.name: code for field in request.fields if field.name not in covered}
        return parts

    def answered(self, request: "BlockRequest") -> None:
        """A request was answered: nothing in it is refused any more."""
        for field in request.fields:
            self.refusals.pop(field.name, None)

    def settle(self, answered: Iterable["BlockRequest"]) -> None:
        """After a poll that has taught something: what was answered, and so what to request from now on."""
        blocks = [request.block for request in answered]
        if set(blocks).intersection(self._layout.refused_spans):
            self._layout.forget()
        self._layout.answered(blocks)
        self._replan()

    def _replan(self) -> None:
        self.requests = tuple(self._request(block) for block in self._layout.blocks)

    def _request(self, block: tuple[int, int]) -> "BlockRequest":
        address, count = block
        inside = [each for each in self.fields if address <= each.span[0] and sum(each.span) <= address + count]
        return BlockRequest(self, block, read_request(FUNCTIONS[self.table], address, count), inside)

    def decoder(self, request: "BlockRequest") -> "Decoder":
        """How the answer to a request is read."""
        return Decoder(self.table, request.block, request.fields, self._modbus, self._make_channel)


class BlockRequest:
    """One request and how its answer is read. `block` is (address, count), `pdu` the request as it is sent."""

    def __init__(self, table: Table, block: tuple[int, int], pdu: bytes, fields: Sequence[Field]):
        self.table = table
        self.block = block
        self.pdu = pdu
        self.fields = fields
        self._decoder: Decoder | None = None

    def take(self, data: bytes, time_ms: int, condition: Condition) -> None:
        """Hand on the readings in an answer's data, which is of the length that was asked for."""
        if self._decoder is None:
            self._decoder = self.table.decoder(self)
        if self.table.refusals:
            self.table.answered(self)
        self._decoder.take(data, time_ms, condition)


def tables_of(
    model: DeviceModel, group: str | None, costs: Mapping[bool, Cost], make_channel: MakeChannel
) -> list[Table]:
    """The tables of a Modbus model's metrics in one poll group. costs: of a read, by whether it reads bits."""
    assert model.modbus is not None
    fields = [
        Field(name, metric, metric.register_)
        for name, metric in model.metrics.items()
        if metric.register_ is not None and metric.group == group
    ]
    found = []
    for table in FUNCTIONS:
        if of_table := [field for field in fields if field.register.table == table]:
            found.append(Table(table, of_table, model.modbus, costs[is_bits(table)], make_channel))
    return found
