"""CBOR (RFC 8949), the part that packs need: definite lengths, typed arrays (RFC 8746), decimal fractions (tag 4).

Typed arrays are written little-endian in the smallest width and read, in either byte order, as tuples.
"""

import struct
from collections import namedtuple

from .errors import DecodeError, EncodeError, TruncatedError
from .reading import DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    class TypedArray(NamedTuple):
        """Numbers to be written as one block: little-endian bytes; `code` is struct's letter for one of them."""

        code: str
        data: bytes

else:
    TypedArray = namedtuple("TypedArray", ("code", "data"))

_MAX_DEPTH = 8
_DECIMAL_FRACTION = 4

# RFC 8746, section 2.1: tag -> struct's byte order, letter and size of one element
_ARRAY_FORMATS = {
    64: ("<", "B", 1), 65: (">", "H", 2), 66: (">", "I", 4), 67: (">", "Q", 8),
    69: ("<", "H", 2), 70: ("<", "I", 4), 71: ("<", "Q", 8),
    72: ("<", "b", 1), 73: (">", "h", 2), 74: (">", "i", 4), 75: (">", "q", 8),
    77: ("<", "h", 2), 78: ("<", "i", 4), 79: ("<", "q", 8),
    81: (">", "f", 4), 82: (">", "d", 8), 85: ("<", "f", 4), 86: ("<", "d", 8),
}  # fmt: skip
_ARRAY_TAGS = {"B": 64, "H": 69, "I": 70, "Q": 71, "b": 72, "h": 77, "i": 78, "q": 79, "f": 85, "d": 86}
_INTEGER_BITS = (("b", 7), ("h", 15), ("i", 31), ("q", 63))
_SIMPLE = {False: 20, True: 21, None: 22}


def integers(values: "Any") -> "TypedArray":
    """A typed array of integers in the smallest width that holds them all. Raises EncodeError beyond 64 bits."""
    low = min(values)
    high = max(values)
    for code, bits in _INTEGER_BITS:
        if -(1 << bits) <= low and high < 1 << bits:
            return _packed(code, values)
    raise EncodeError("CBOR", f"an integer between {low} and {high} is beyond 64 bits")


def floats(values: "Any") -> "TypedArray":
    """A typed array of floats: 32 bits wide where that loses nothing, else 64."""
    count = len(values)
    try:
        narrow = struct.unpack(f"<{count}f", struct.pack(f"<{count}f", *values))
    except OverflowError:  # CPython refuses what a float32 cannot hold; MicroPython makes it infinite
        return _packed("d", values)
    exact = all(repr(a) == repr(b) for a, b in zip(narrow, values))  # repr: NaN is equal to itself
    return _packed("f" if exact else "d", values)


def _packed(code: str, values: "Any") -> "TypedArray":
    return TypedArray(code, struct.pack(f"<{len(values)}{code}", *values))


def encode(item: "Any") -> bytes:
    """One item: None, bool, int, float, str, bytes, list or tuple, dict, TypedArray or DecimalFraction."""
    out = bytearray()
    _write(out, item)
    return bytes(out)


def _write_head(out: bytearray, major: int, number: int) -> None:
    if number < 24:
        out.append(major << 5 | number)
    elif number < 1 << 8:
        out.extend(bytes((major << 5 | 24, number)))
    elif number < 1 << 16:
        out.append(major << 5 | 25)
        out.extend(struct.pack(">H", number))
    elif number < 1 << 32:
        out.append(major << 5 | 26)
        out.extend(struct.pack(">I", number))
    elif number < 1 << 64:
        out.append(major << 5 | 27)
        out.extend(struct.pack(">Q", number))
    else:
        raise EncodeError("CBOR", f"{number} is beyond 64 bits")


def _write(out: bytearray, item: "Any") -> None:
    if item is None or item is True or item is False:
        out.append(7 << 5 | _SIMPLE[item])
    elif isinstance(item, int):
        _write_head(out, 0 if item >= 0 else 1, item if item >= 0 else -1 - item)
    elif isinstance(item, float):
        out.append(7 << 5 | 27)
        out.extend(struct.pack(">d", item))
    elif isinstance(item, str):
        text = item.encode()
        _write_head(out, 3, len(text))
        out.extend(text)
    elif isinstance(item, TypedArray):
        _write_head(out, 6, _ARRAY_TAGS[item.code])
        _write(out, item.data)
    elif isinstance(item, DecimalFraction):
        _write_head(out, 6, _DECIMAL_FRACTION)
        _write(out, [item.exponent, item.mantissa])
    else:
        _write_many(out, item)


def _write_many(out: bytearray, item: "Any") -> None:
    if isinstance(item, (bytes, bytearray)):
        _write_head(out, 2, len(item))
        out.extend(item)
    elif isinstance(item, (list, tuple)):
        _write_head(out, 4, len(item))
        for part in item:
            _write(out, part)
    elif isinstance(item, dict):
        _write_head(out, 5, len(item))
        for key, value in item.items():
            _write(out, key)
            _write(out, value)
    else:
        raise EncodeError("CBOR", f"cannot carry a {type(item).__name__}")


def decode(data: bytes, start: int = 0) -> "tuple[Any, int]":
    """The item at `start` and the place behind it. Raises DecodeError; never reads beyond the data."""
    return _read(data, start, 0)


def _take(data: bytes, start: int, count: int) -> bytes:
    if count > len(data) - start:
        raise TruncatedError("CBOR", start + count, len(data))
    return data[start : start + count]


def _read(data: bytes, start: int, depth: int) -> "tuple[Any, int]":
    """One item. A hub spends most of its time here: so what is short is read without a further call."""
    if start >= len(data):
        raise TruncatedError("CBOR", start + 1, len(data))
    major, number = data[start] >> 5, data[start] & 31
    begin = start + 1
    if number >= 24:
        if number > 27:
            raise DecodeError("CBOR", f"initial byte {data[start]:#04x} is not of the part that packs use")
        width = 1 << (number - 24)
        number = int.from_bytes(_take(data, begin, width), "big")
        begin += width
    if major == 0:
        return number, begin
    if major == 4:
        return _read_list(data, number, begin, depth)
    if major == 6:
        return _read_tagged(data, number, begin, depth)
    if major == 1:
        return -1 - number, begin
    if major == 2:
        return bytes(_take(data, begin, number)), begin + number
    if major == 3:
        try:
            return bytes(_take(data, begin, number)).decode(), begin + number
        except UnicodeError:
            raise DecodeError("CBOR", "text is not UTF-8") from None
    if major == 5:
        return _read_map(data, number, begin, depth)
    return _read_simple(data, start, begin, number)


def _check(data: bytes, number: int, start: int, depth: int) -> None:
    if number > len(data) - start:  # each part takes a byte at least: refuse before making room for them
        raise TruncatedError("CBOR", start + number, len(data))
    if depth >= _MAX_DEPTH:
        raise DecodeError("CBOR", f"nested deeper than {_MAX_DEPTH}")


def _read_list(data: bytes, number: int, start: int, depth: int) -> "tuple[Any, int]":
    _check(data, number, start, depth)
    items = []
    for _ in range(number):
        item, start = _read(data, start, depth + 1)
        items.append(item)
    return items, start


def _read_map(data: bytes, number: int, start: int, depth: int) -> "tuple[Any, int]":
    _check(data, number, start, depth)
    pairs = {}
    for _ in range(number):
        key, start = _read(data, start, depth + 1)
        if not isinstance(key, (int, str)):
            raise DecodeError("CBOR", "a map's key is neither integer nor text")
        pairs[key], start = _read(data, start, depth + 1)
    return pairs, start


def _read_simple(data: bytes, initial: int, start: int, number: int) -> "tuple[Any, int]":
    width = start - initial - 1
    if width == 8:
        return struct.unpack(">d", _take(data, initial + 1, 8))[0], start
    if width == 4:
        return struct.unpack(">f", _take(data, initial + 1, 4))[0], start
    for value, code in _SIMPLE.items():
        if width == 0 and number == code:
            return value, start
    raise DecodeError("CBOR", f"simple value {number} is not of the part that packs use")


def _read_tagged(data: bytes, tag: int, start: int, depth: int) -> "tuple[Any, int]":
    if depth >= _MAX_DEPTH:
        raise DecodeError("CBOR", f"nested deeper than {_MAX_DEPTH}")
    content, end = _read(data, start, depth + 1)
    if tag in _ARRAY_FORMATS:
        order, code, width = _ARRAY_FORMATS[tag]
        if not isinstance(content, bytes) or len(content) % width:
            raise DecodeError("CBOR", f"a typed array is not a byte string of {width}-byte elements")
        return struct.unpack(f"{order}{len(content) // width}{code}", content), end
    if tag == _DECIMAL_FRACTION:
        if not (isinstance(content, list) and len(content) == 2 and all(_is_integer(part) for part in content)):
            raise DecodeError("CBOR", "a decimal fraction is not [exponent, mantissa]")
        return DecimalFraction(content[1], content[0]), end
    raise DecodeError("CBOR", f"tag {tag} is not of the part that packs use")


def _is_integer(item: object) -> bool:
    return isinstance(item, int) and item is not True and item is not False
