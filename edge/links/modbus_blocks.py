"""What to request from a Modbus device, planned once from its model, and the readings in what it answers. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.catalogue import DeviceModel, Modbus, Register
from protocols.errors import DecodeError
from protocols.modbus import decode_registers, plan_reads, register_count
from protocols.reading import BAD_INVALID, GOOD, Reading, reading

if TYPE_CHECKING:
    from protocols.reading import Value

MOST_REGISTERS = 125  # in one answer; protocol specification, sections 6.3 and 6.4
MOST_BITS = 2000  # sections 6.1 and 6.2
MOST_GAP = 8  # unused registers that are cheaper to read along than to leave out


@dataclass(frozen=True)
class Field:
    """One metric and where in its table it lies."""

    metric: str
    unit: str
    register: Register

    @property
    def span(self) -> tuple[int, int]:
        """(address, count) in registers, or in bits for a coil or discrete input."""
        bits = self.register.table in ("coil", "discrete")
        return self.register.address, 1 if bits else register_count(self.register.type)


@dataclass(frozen=True)
class Block:
    """One request: `count` registers or bits of `table` from `address`, and the metrics in them."""

    table: str
    address: int
    count: int
    fields: tuple[Field, ...]


def blocks_of(model: DeviceModel) -> tuple[Block, ...]:
    """The fewest requests that read all metrics of a Modbus model. Raises DecodeError for a type that is none."""
    fields = [
        Field(name, metric.unit, metric.register_)
        for name, metric in model.metrics.items()
        if metric.register_ is not None
    ]
    for field in fields:
        if field.register.table not in ("coil", "discrete") and model.modbus is not None:
            _decode(
                field.register, (0,) * field.span[1], model.modbus
            )  # so that a wrong declaration shows at the start
    return tuple(
        block
        for table in ("coil", "discrete", "holding", "input")
        for block in _blocks(table, [field for field in fields if field.register.table == table], MOST_GAP)
    )


def split(block: Block) -> tuple[Block, ...]:
    """Smaller requests for the same metrics, for a device that refuses to have unused registers read along.

    First without any gap, then one for each span; () when the block cannot be split any more.
    """
    parts = _blocks(block.table, block.fields, 0)
    if len(parts) == 1:
        spans = sorted({field.span for field in block.fields})
        parts = [_block(block.table, span, [field for field in block.fields if field.span == span]) for span in spans]
    return tuple(parts) if len(parts) > 1 else ()


def readings_of(block: Block, values: Sequence[int | bool], model: Modbus, time_ms: int) -> list[Reading]:
    """The readings in an answer of at least `block.count` registers or bits, all of the time the answer came."""
    readings = []
    for field in block.fields:
        address, count = field.span
        part = values[address - block.address : address - block.address + count]
        try:
            value = part[0] if block.table in ("coil", "discrete") else _decode(field.register, part, model)
        except DecodeError:
            value = None  # text that is none, or a register that is none: the device's answer has no such value
        quality = BAD_INVALID if value is None else GOOD
        readings.append(reading(field.metric, value, field.unit, quality, time_ms))
    return readings


def _decode(register: Register, registers: Sequence[int], model: Modbus) -> "Value":
    """The value in its unit; None for a float that is no number. Raises DecodeError."""
    return decode_registers(
        registers,
        register.type,
        byte_order=model.byte_order,
        word_order=model.word_order,
        bit=register.bit,
        scale=register.scale,
        offset=register.offset,
    )


def _blocks(table: str, fields: Sequence[Field], max_gap: int) -> list[Block]:
    most = MOST_BITS if table in ("coil", "discrete") else MOST_REGISTERS
    spans = sorted({field.span for field in fields})
    return [_block(table, read, fields) for read in plan_reads(spans, max_count=most, max_gap=max_gap)]


def _block(table: str, read: tuple[int, int], fields: Sequence[Field]) -> Block:
    address, count = read
    inside = [field for field in fields if address <= field.span[0] and sum(field.span) <= address + count]
    return Block(table, address, count, tuple(inside))
