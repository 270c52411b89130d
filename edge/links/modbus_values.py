"""How the answers of Modbus devices become readings: as blocks where they are numbers, else one by one.

For each request the places of its numbers are worked out once, so that an answer costs a few array operations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.links.base import Channel
from edge.links.condition import Condition
from hardware.catalogue import Metric, Modbus, Register
from protocols.errors import DecodeError, EncodeError
from protocols.modbus import decode_bits, decode_registers, decode_words, encode_registers, register_count
from protocols.reading import BAD_INVALID, BAD_RANGE, GOOD, Reading, reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocols.reading import Value

# Types that are decoded as arrays: their numpy type, most significant byte first
_NUMBERS = {
    "uint16": ">u2", "int16": ">i2", "uint32": ">u4", "int32": ">i4", "uint64": ">u8", "int64": ">i8",
    "float32": ">f4", "float64": ">f8",
}  # fmt: skip

MakeChannel = Callable[[Sequence[str]], Channel]


@dataclass(frozen=True)
class Field:
    """One metric and where in its table it lies."""

    name: str
    metric: Metric
    register: Register

    @cached_property
    def span(self) -> tuple[int, int]:
        """(address, count) in registers, or in bits for a coil or discrete input."""
        return self.register.address, 1 if is_bits(self.register.table) else register_count(self.register.type)

    def reading(self, words: Sequence[int], time_ms: int, modbus: Modbus) -> Reading:
        """The reading in its own registers, or its bit."""
        try:
            value = bool(words[0]) if is_bits(self.register.table) else decode(self.register, words, modbus)
        except DecodeError:
            value = None  # text that is none: the device's answer has no such value
        quality = GOOD if value is not None else BAD_INVALID
        if value is not None and not self.metric.takes(value):
            value, quality = None, BAD_RANGE
        return reading(self.name, value, self.metric.unit, quality, time_ms)


def is_bits(table: str) -> bool:
    """Whether a table holds bits rather than registers."""
    return table in ("coil", "discrete")


class _Numbers:
    """Metrics of one type: where they lie in a block, and how they become values."""

    def __init__(self, type_: str, fields: Sequence[Field], start: int, modbus: Modbus, make_channel: MakeChannel):
        self._type = np.dtype(_NUMBERS[type_])
        self._swapped = modbus.byte_order == "little"
        words = np.arange(register_count(type_))
        order = words if modbus.word_order == "big" else words[::-1]
        firsts = np.array([field.register.address - start for field in fields])
        self._index: Any = firsts[:, None] + order
        flat = self._index.ravel()
        if np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat))):
            self._index = slice(int(flat[0]), int(flat[0]) + len(flat))  # a slice costs no copy
        registers = [field.register for field in fields]
        self._scaled = any(each.is_scaled for each in registers)
        none = [(at, each.no_value) for at, each in enumerate(registers) if each.no_value is not None]
        self._none_at = np.array([at for at, _ in none], dtype=np.intp)
        self._none = np.array([value for _, value in none], dtype=self._type.newbyteorder("="))
        factors = [_factors(each.scale) for each in registers]
        self._multiplier = np.array([multiplier for multiplier, _ in factors])
        self._divisor = np.array([divisor for _, divisor in factors])
        self._offset = np.array([each.offset for each in registers], dtype=np.float64)
        self._ranges = _ranges(fields)
        self._channel = make_channel([field.name for field in fields])

    def take(self, registers: "NDArray[np.uint16]", time_ms: int, condition: Condition) -> None:
        """registers: the block's, of type '>u2'."""
        raw = registers[self._index]
        if self._swapped:
            raw = raw.byteswap()
        held: NDArray[Any] = np.ascontiguousarray(raw).view(self._type).ravel()
        values = held * self._multiplier / self._divisor + self._offset if self._scaled else held
        condition.heard_block(self._channel, values, time_ms, self._bad(held, values))

    def _bad(self, held: "NDArray[Any]", values: "NDArray[Any]") -> "NDArray[np.uint8] | None":
        """Of each value its quality code, 0 where it is good: from what the registers hold and what it means."""
        bad = None
        if self._ranges is not None:
            low, high = self._ranges
            beyond = (values < low) | (values > high)
            if beyond.any():
                bad = np.where(beyond, BAD_RANGE, 0).astype(np.uint8)
        # What is no number is invalid, before it is beyond any range.
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                bad = np.where(finite, 0 if bad is None else bad, BAD_INVALID).astype(np.uint8)
        if len(self._none_at):
            none = self._none_at[held[self._none_at] == self._none]
            if len(none):
                bad = np.zeros(len(values), dtype=np.uint8) if bad is None else bad
                bad[none] = BAD_INVALID
        return bad


class Decoder:
    """Reads the answer to one request: numbers as arrays, all else one by one."""

    def __init__(
        self,
        table: str,
        block: tuple[int, int],
        fields: Sequence[Field],
        modbus: Modbus,
        make_channel: MakeChannel,
    ):
        self._start, self._count = block
        self._bits = is_bits(table)
        self._modbus = modbus
        self._singles: list[Field] = []
        groups: dict[tuple[str, bool], list[Field]] = {}  # scaled ones apart: the others stay whole numbers
        for field in fields:
            if self._bits or not _is_number(field):
                self._singles.append(field)
            else:
                groups.setdefault((field.register.type, field.register.is_scaled), []).append(field)
        self._numbers = [
            _Numbers(type_, group, self._start, modbus, make_channel) for (type_, _), group in groups.items()
        ]

    def take(self, data: bytes, time_ms: int, condition: Condition) -> None:
        """Hand on all readings in the data."""
        if self._numbers:
            registers = np.frombuffer(data, dtype=">u2")
            for numbers in self._numbers:
                numbers.take(registers, time_ms, condition)
        if self._singles:
            words = words_of(self._bits, data, self._count)
            condition.heard([self._reading(field, words, time_ms) for field in self._singles])

    def _reading(self, field: Field, words: Sequence[int], time_ms: int) -> Reading:
        first = field.span[0] - self._start
        return field.reading(words[first : first + field.span[1]], time_ms, self._modbus)


def words_of(bits: bool, data: bytes, count: int) -> Sequence[int]:
    """An answer's data as so many bits or registers."""
    return decode_bits(data, count) if bits else decode_words(data)


def _is_number(field: Field) -> bool:
    return field.register.type in _NUMBERS and field.metric.states is None


def _factors(scale: float) -> tuple[float, float]:
    """(multiplier, divisor), with which decoding gives exactly what protocols.modbus gives for one value."""
    divisor = round(1 / scale) if scale else 0
    if divisor > 1 and abs(divisor * scale - 1) < 1e-6:
        return 1.0, float(divisor)
    return scale, 1.0


def _ranges(fields: Sequence[Field]) -> "tuple[NDArray[np.float64], NDArray[np.float64]] | None":
    if all(field.metric.range is None for field in fields):
        return None
    ranges = [field.metric.range or (-np.inf, np.inf) for field in fields]
    return np.array([low for low, _ in ranges]), np.array([high for _, high in ranges])


def decode(register: Register, registers: Sequence[int], model: Modbus) -> "Value":
    """The value in its unit; None for a float that is no number, and where the device has none. Raises DecodeError."""
    options = _options(register, model)
    if register.no_value is not None:
        held = decode_registers(registers, register.type, **{**options, "scale": 1.0, "offset": 0.0})
        if held == register.no_value:
            return None
    return decode_registers(registers, register.type, **options)


def encode(register: Register, value: "Value", model: Modbus) -> list[int]:
    """The registers of a value. Raises EncodeError."""
    if isinstance(value, tuple):
        raise EncodeError("modbus " + register.type, "cannot hold a decimal fraction")
    return encode_registers(value, register.type, **_options(register, model))


def _options(register: Register, model: Modbus) -> dict[str, Any]:
    return {
        "byte_order": model.byte_order,
        "word_order": model.word_order,
        "bit": register.bit,
        "width": register.width,
        "scale": register.scale,
        "offset": register.offset,
    }
