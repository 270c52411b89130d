"""Packs from gateway to hub: a header in CBOR, then a CBOR body of columns (design, section 5).

    message = header ++ deflated body     header = [version, epoch, seq, base, oldest, backfill, first]
    body    = [columns, rows, tallies, lost]
    column  = [alias, first time ms, time deltas, quality, kind, values]
    row     = [time ms, alias steps, values]
    tallies = {thing: [read, suppressed]}                 counted on this lane since the epoch began
    lost    = {thing: [count, from ms, to ms]}            the gap record: what had to give way

A column holds readings of one stream that share a kind: integers, floats, decimal fractions of one exponent (as typed
arrays), or anything (bool, text, None and mixtures). A quality shared by the whole column is written once.

A row holds good readings of many streams at one time, as a Modbus response brings them: integers or floats. Its first
step is the first alias, each further one the distance to the next.

A gap record that takes the place of several packs (`first` < seq) may come when its receiver has stored some of them,
which the sender did not hear. Its tallies tell how many readings were packed up to seq, those of the last pack stored
how many by then: what lies between is lost, and no more.
"""

from collections import namedtuple

from . import cbor
from .cbor import TypedArray
from .custody import Header, header_problem
from .errors import DecodeError, ProtocolError
from .reading import DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NamedTuple

    from .reading import Reading, Value

    class Column(NamedTuple):
        """Readings of one stream in order of arrival: three sequences of equal length."""

        alias: int
        times_ms: "list[int]"
        qualities: "Sequence[int]"
        values: "Sequence[Value]"

    class Row(NamedTuple):
        """Good readings of several streams at one time: two typed arrays of equal length.

        They are written as TypedArray or from sequences, and read as tuples. `by_alias` undoes the steps.
        """

        time_ms: int
        steps: "TypedArray | Sequence[int]"
        values: "TypedArray | Sequence[int] | Sequence[float]"

    class Body(NamedTuple):
        """What a pack carries, apart from its header."""

        columns: "Sequence[Column]"
        rows: "Sequence[Row]"
        tallies: "Mapping[str, tuple[int, int]]"
        lost: "Mapping[str, tuple[int, int, int]]"

else:
    Column = namedtuple("Column", ("alias", "times_ms", "qualities", "values"))
    Row = namedtuple("Row", ("time_ms", "steps", "values"))
    Body = namedtuple("Body", ("columns", "rows", "tallies", "lost"))

VERSION = 3
_MAX_NUMBER = 1 << 53
_MAX_EXPONENT = 128  # of a decimal fraction; reckoning with a much larger one would take for ever

# How a column's values are written
_INTEGER, _FLOAT, _DECIMAL, _ANY = range(4)


def _kind(value: "Value") -> tuple[int, int]:
    """The kind of a value and, for a decimal fraction, its exponent: what its column must share."""
    if isinstance(value, DecimalFraction) and abs(value.mantissa) < 1 << 63:
        return _DECIMAL, value.exponent
    if isinstance(value, bool) or value is None:
        return _ANY, 0
    if isinstance(value, int) and abs(value) < 1 << 63:
        return _INTEGER, 0
    return (_FLOAT if isinstance(value, float) else _ANY), 0


def columns(readings: "Iterable[tuple[int, Reading]]") -> "list[Column]":
    """Columns of readings given as (alias, reading), in the order of their aliases; times must be known."""
    groups: "dict[tuple[int, int, int], list[Reading]]" = {}
    for alias, reading in readings:
        if reading.time_ms is None:
            raise ProtocolError(f"a reading of {reading.metric} without a time cannot be packed")
        groups.setdefault((alias,) + _kind(reading.value), []).append(reading)
    return [
        Column(
            key[0],
            [reading.time_ms for reading in group],  # type: ignore[misc]
            [reading.quality for reading in group],
            [reading.value for reading in group],
        )
        for key, group in sorted(groups.items())
    ]


def encode_body(body: "Body") -> bytes:
    """The body's bytes."""
    item = [
        [_write_column(column) for column in body.columns],
        [[row.time_ms, _typed(row.steps), _typed(row.values)] for row in body.rows],
        {thing: list(tally) for thing, tally in body.tallies.items()},
        {thing: list(loss) for thing, loss in body.lost.items()},
    ]
    return cbor.encode(item)


def by_alias(row: "Row") -> "list[tuple[int, int | float]]":
    """(alias, value) of each reading of a row that was decoded."""
    found = []
    alias = 0
    for step, value in zip(row.steps, row.values):
        alias += step  # type: ignore[operator]
        found.append((alias, value))
    return found  # type: ignore[return-value]


def encode_header(header: "Header") -> bytes:
    """The header, which is put before the body at sending."""
    return cbor.encode((VERSION,) + header)


def _typed(values: "Any") -> "TypedArray":
    if isinstance(values, TypedArray):
        return values
    return cbor.floats(values) if isinstance(values[0], float) else cbor.integers(values)


def _write_column(column: "Column") -> "list[Any]":
    alias, times, qualities, values = column
    kind, exponent = _kind(values[0])
    if any(_kind(value) != (kind, exponent) for value in values):
        kind = _ANY
    content: "Any"
    if kind == _INTEGER:
        content = cbor.integers(values)
    elif kind == _FLOAT:
        content = cbor.floats(values)
    elif kind == _DECIMAL:
        content = [exponent, cbor.integers([value.mantissa for value in values])]  # type: ignore[union-attr]
    else:
        content = list(values)
    deltas = cbor.integers([after - before for before, after in zip(times[:1] + times, times)])
    quality = qualities[0] if len(set(qualities)) == 1 else bytes(qualities)
    return [alias, times[0], deltas, quality, kind, content]


def decode_header(data: bytes) -> "tuple[Header, int]":
    """The header and the place where the body begins. Raises DecodeError."""
    item, end = cbor.decode(data)
    if not isinstance(item, list) or len(item) != 7 or item[0] != VERSION or not isinstance(item[5], bool):
        raise DecodeError("pack header", f"is not of version {VERSION}")
    epoch, seq, base, oldest, backfill, first = item[1:]
    problem = header_problem(epoch, seq, base, oldest, first)
    if problem:
        raise DecodeError("pack header", problem)
    return Header(epoch, seq, base, oldest, backfill, first), end


def decode_body(raw: bytes) -> "Body":
    """The body. Raises DecodeError."""
    item, end = cbor.decode(raw)
    if end != len(raw) or not isinstance(item, list) or [type(part) for part in item] != [list, list, dict, dict]:
        raise DecodeError("pack body", "is not [columns, rows, tallies, lost]")
    return Body(
        [_read_column(column) for column in item[0]],
        [_read_row(row) for row in item[1]],
        {thing: (numbers[0], numbers[1]) for thing, numbers in _read_counts(item[2], 2)},
        {thing: (numbers[0], numbers[1], numbers[2]) for thing, numbers in _read_counts(item[3], 3)},
    )


def _read_counts(item: "Any", width: int) -> "Iterable[tuple[str, list[int]]]":
    for thing, numbers in item.items():
        if not isinstance(thing, str) or not isinstance(numbers, list) or len(numbers) != width:
            raise DecodeError("pack body", f"counts of {thing!r} are not {width} numbers")
        if not all(type(number) is int and abs(number) < _MAX_NUMBER for number in numbers):
            raise DecodeError("pack body", f"counts of {thing!r} are out of range")
        yield thing, numbers


def _read_column(item: "Any") -> "Column":
    if not isinstance(item, list) or len(item) != 6:
        raise DecodeError("column", "has not six parts")
    alias, first, deltas, quality, kind, content = item
    if type(alias) is not int or type(first) is not int or abs(first) >= _MAX_NUMBER or not _is_block(deltas, int):
        raise DecodeError("column", "alias or times are not integers")
    times = []
    time = first
    for delta in deltas:
        time += delta
        times.append(time)
    values = _read_values(kind, content)
    qualities = bytes([quality]) * len(times) if type(quality) is int and 0 <= quality < 256 else quality
    if not isinstance(qualities, bytes) or not len(times) == len(qualities) == len(values) > 0:
        raise DecodeError("column", f"of alias {alias}: times, qualities and values differ in number")
    return Column(alias, times, list(qualities), values)


def _read_row(item: "Any") -> "Row":
    if not isinstance(item, list) or len(item) != 3:
        raise DecodeError("row", "has not three parts")
    time_ms, steps, values = item
    if type(time_ms) is not int or abs(time_ms) >= _MAX_NUMBER:
        raise DecodeError("row", "its time is no integer")
    if not _is_block(steps, int) or not (_is_block(values, int) or _is_block(values, float)):
        raise DecodeError("row", "its steps or values are no typed arrays")
    if len(steps) != len(values):
        raise DecodeError("row", f"{len(steps)} steps and {len(values)} values")
    return Row(time_ms, steps, values)


def _read_values(kind: "Any", content: "Any") -> "list[Value]":
    if kind == _INTEGER and _is_block(content, int):
        return list(content)
    if kind == _FLOAT and _is_block(content, float):
        return list(content)
    if kind == _ANY and isinstance(content, list) and all(_is_value(item) for item in content):
        return content
    if kind == _DECIMAL and isinstance(content, list) and len(content) == 2:
        exponent, mantissas = content
        if type(exponent) is int and abs(exponent) < _MAX_EXPONENT and _is_block(mantissas, int):
            return [DecimalFraction(mantissa, exponent) for mantissa in mantissas]
    raise DecodeError("column", f"values are not of kind {kind}")


def _is_value(item: "Any") -> bool:
    if isinstance(item, DecimalFraction):
        return abs(item.exponent) < _MAX_EXPONENT
    return item is None or isinstance(item, (bool, int, float, str))


def _is_block(item: "Any", of: type) -> bool:
    """Whether it is what a typed array is read as: a tuple, whose elements are all of one type."""
    return isinstance(item, tuple) and len(item) > 0 and type(item[0]) is of
