"""Readings as columns: one numpy record each, 24 bytes, the same in memory, in a hot row and inside a sealed block."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from protocols.reading import BAD, BAD_INVALID, TIME_ESTIMATED, DecimalFraction

if TYPE_CHECKING:
    from protocols.reading import Value  # MicroPython has no unions at run time, so it exists for the checker only

# What `number` means. FLOAT: the bits of a float64. DECIMAL: a mantissa, its exponent beside it. TEXT: an index.
ABSENT, INTEGER, FLOAT, DECIMAL, BOOLEAN, TEXT = range(6)

RECORD = np.dtype(
    [
        ("stream", "<u4"),
        ("kind", "u1"),
        ("exponent", "i1"),
        ("quality", "u1"),
        ("backfill", "?"),
        ("time_ms", "<i8"),
        ("number", "<i8"),
    ]
)
# The same bytes: kind, exponent, quality and backfill are one number, which most readings of a stream share.
FORMED = np.dtype([("stream", "<u4"), ("form", "<u4"), ("time_ms", "<i8"), ("number", "<i8")])

Records = np.ndarray[Any, np.dtype[Any]]
Stored = int | float | str | bytes | None  # a value as it is shown: b"\x00" and b"\x01" are false and true

_WHOLE = struct.Struct("<q")
_FLOAT = struct.Struct("<d")
DAY_MS = 86_400_000


class Readings(NamedTuple):
    """Readings of one or many streams: an array of RECORD, and the texts that its TEXT records index."""

    records: Records
    texts: Sequence[str]

    def of(self, chosen: Any) -> "Readings":
        """Those that a mask, a slice or an array of indexes chooses, in its order."""
        return Readings(self.records[chosen], self.texts)


NONE = Readings(np.zeros(0, RECORD), ())


def form_and_number(value: "Value") -> tuple[int, int]:
    """A value as the kind and exponent of its form, and its number. Not for texts."""
    if isinstance(value, float):
        return FLOAT, float_bits(value)
    if isinstance(value, DecimalFraction):
        if -1 << 63 <= value.mantissa < 1 << 63:
            return DECIMAL | (value.exponent & 255) << 8, value.mantissa
        return form_and_number(float(value.mantissa) * 10.0**value.exponent)
    if isinstance(value, bool):
        return BOOLEAN, int(value)
    if isinstance(value, int):
        return (INTEGER, value) if -1 << 63 <= value < 1 << 63 else form_and_number(float(value))
    return ABSENT, 0


def float_bits(value: float) -> int:
    """The bits of a float64 as a signed integer."""
    bits: int = _WHOLE.unpack(_FLOAT.pack(value))[0]
    return bits


def without_noise(readings: Readings) -> None:
    """A float that is no number is made no value at all, in place, and its quality says so."""
    records = readings.records
    numbers = np.ascontiguousarray(records["number"]).view("<f8")
    bad = (records["kind"] == FLOAT) & ~np.isfinite(numbers)
    if bad.any():
        records["kind"][bad] = ABSENT
        records["number"][bad] = 0
        quality = records["quality"]
        said = bad & (quality & ~np.uint8(TIME_ESTIMATED) < BAD)
        quality[said] = BAD_INVALID | quality[said] & TIME_ESTIMATED


def join(parts: Iterable[Readings]) -> Readings:
    """All of them, one part behind the other."""
    given = list(parts)
    if not given:
        return NONE
    if not any(part.texts for part in given):
        return Readings(np.concatenate([part.records for part in given]), ())
    moved, texts = [], list[str]()
    for part in given:
        records = part.records
        if part.texts:
            records = records.copy()
            records["number"][records["kind"] == TEXT] += len(texts)
            texts += part.texts
        moved.append(records)
    return Readings(np.concatenate(moved), texts)


def in_order(readings: Readings) -> Readings:
    """In order of time; those of one time stay in the order of their arrival."""
    times = readings.records["time_ms"]
    if (times[1:] >= times[:-1]).all():
        return readings
    return readings.of(np.argsort(times, kind="stable"))


def compact(readings: Readings) -> Readings:
    """With only those texts that are spoken of, each once."""
    if not readings.texts:
        return readings
    records = readings.records.copy()
    spoken = records["kind"] == TEXT
    indexes: dict[str, int] = {}
    numbers = [
        indexes.setdefault(readings.texts[number], len(indexes)) for number in records["number"][spoken].tolist()
    ]
    records["number"][spoken] = numbers
    return Readings(records, list(indexes))


def values(readings: Readings) -> list[tuple[Stored, int | None]]:
    """The value of each, and the exponent of those that are decimal fractions."""
    records = readings.records
    number = np.ascontiguousarray(records["number"])
    columns = (
        records["kind"].tolist(),
        records["exponent"].tolist(),
        number.tolist(),
        np.where(records["kind"] == FLOAT, number.view("<f8"), 0.0).tolist(),
    )
    made: list[tuple[Stored, int | None]] = []
    for kind, exponent, whole, real in zip(*columns, strict=True):
        if kind == FLOAT:
            made.append((real, None))
        elif kind == DECIMAL:
            made.append((whole / 10**-exponent if exponent < 0 else float(whole * 10**exponent), exponent))
        elif kind == INTEGER:
            made.append((whole, None))
        elif kind == BOOLEAN:
            made.append((b"\x01" if whole else b"\x00", None))
        else:
            made.append((readings.texts[whole] if kind == TEXT else None, None))
    return made


def numbers(records: Records) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Each as a float, and which of them may be used: those that are numbers (false is 0, true is 1) and not bad."""
    number, kind = np.ascontiguousarray(records["number"]), records["kind"]
    found = np.where(kind == FLOAT, number.view("<f8"), number.astype("<f8"))
    decimal = kind == DECIMAL
    if decimal.any():
        exponent = records["exponent"].astype("<f8")
        # Divided by a power of ten, not multiplied by its inverse: 376 / 10 is 37.6, but 376 * 0.1 is not.
        found[decimal] /= 10.0 ** np.maximum(0, -exponent[decimal])
        found[decimal] *= 10.0 ** np.maximum(0, exponent[decimal])
    number_kinds = (kind >= INTEGER) & (kind <= BOOLEAN)
    return found, number_kinds & ((records["quality"] & ~np.uint8(TIME_ESTIMATED)) < BAD)


def runs(keys: Any) -> Iterator[tuple[int, int]]:
    """(begin, end) of each run of equal keys in an array of them, which has one at least."""
    return pairwise([0, *(np.flatnonzero(keys[1:] != keys[:-1]) + 1).tolist(), len(keys)])
