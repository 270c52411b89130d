"""What Modbus registers hold: integers, floats, decimal digits, bits and text over 16-bit registers.

Source: MODBUS Application Protocol Specification V1.1b3, section 4.2 (a register travels high byte first). How wider
values spread over registers is each maker's choice: `word_order` "big" has the most significant register first,
`byte_order` "little" has the bytes within each register exchanged.
"""

import math
import struct

from ..errors import DecodeError, EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..reading import Value

# type -> (registers, kind, bits). The 8-bit types name the half of the register that they stand in.
TYPES = {
    "bool": (1, "bits", 1),
    "bits": (1, "bits", 16),
    "uint8_high": (1, "high", 8),
    "uint8_low": (1, "low", 8),
    "int8_high": (1, "signed_high", 8),
    "int8_low": (1, "signed_low", 8),
    "uint16": (1, "unsigned", 16),
    "int16": (1, "signed", 16),
    "uint32": (2, "unsigned", 32),
    "int32": (2, "signed", 32),
    "uint64": (4, "unsigned", 64),
    "int64": (4, "signed", 64),
    "bcd16": (1, "decimal", 16),  # a decimal digit in every four bits
    "bcd32": (2, "decimal", 32),
    "float32": (2, ">f", 32),
    "float64": (4, ">d", 64),
}
_FLOAT32_MAX = 3.4028234663852886e38
_MAX_STRING = 125


def register_count(type_: str) -> int:
    """How many registers a type takes; text is "string[n]" in n registers. Raises DecodeError for an unknown type."""
    if type_ in TYPES:
        return TYPES[type_][0]
    digits = type_[7:-1]
    if type_.startswith("string[") and type_.endswith("]") and digits and all("0" <= digit <= "9" for digit in digits):
        if 1 <= int(digits) <= _MAX_STRING:
            return int(digits)
        raise DecodeError("modbus type", f"{type_} is not 1 to {_MAX_STRING} registers")
    raise DecodeError("modbus type", f"{type_} is unknown")


def decode_registers(
    registers: "Sequence[int]",
    type_: str,
    *,
    byte_order: str = "big",
    word_order: str = "big",
    bit: "int | None" = None,
    width: int = 1,
    scale: float = 1.0,
    offset: float = 0.0,
) -> "Value":
    """The value in registers: raw * scale + offset, an exact int while scale is 1 and offset 0. None: a float's NaN or
    infinity, which is BAD_INVALID. Raises DecodeError.

    "bool" is the one at `bit` (0, the lowest, unless given); "bits" is the `width` bits from `bit` upwards as an int.
    """
    count = register_count(type_)
    if len(registers) != count:
        raise DecodeError("modbus " + type_, f"needs {count} registers, has {len(registers)}")
    if any(not 0 <= register <= 0xFFFF for register in registers):
        raise DecodeError("modbus " + type_, "a register is no 16-bit word")
    data = _reordered(b"".join([struct.pack(">H", register) for register in registers]), byte_order, word_order)
    if type_ not in TYPES:
        return _text(type_, data)
    kind = TYPES[type_][1]
    if kind == "bits":
        start, mask = _bit_field(type_, bit, width, DecodeError)
        field = data[0] << 8 | data[1]
        field = field >> start & mask
        return bool(field) if type_ == "bool" else scaled(field, scale, offset)
    _no_bit(type_, bit, DecodeError)
    if kind[0] == ">":
        number = struct.unpack(kind, data)[0]
        if not math.isfinite(number):
            return None
        return scaled(number, scale, offset)
    if kind == "decimal":
        return scaled(_digits(type_, data), scale, offset)
    if kind.endswith("high"):
        data = data[:1]
    elif kind.endswith("low"):
        data = data[1:]
    raw = int.from_bytes(data, "big")
    if kind.startswith("signed") and data[0] & 0x80:
        raw -= 1 << (8 * len(data))
    return scaled(raw, scale, offset)


def encode_registers(
    value: "bool | int | float | str | None",
    type_: str,
    *,
    byte_order: str = "big",
    word_order: str = "big",
    bit: "int | None" = None,
    width: int = 1,
    scale: float = 1.0,
    offset: float = 0.0,
) -> "list[int]":
    """The registers of a value; bits beside its own are 0. None is a float's NaN. Raises EncodeError out of range."""
    if type_ not in TYPES:
        data = _text_bytes(value, register_count(type_))
    else:
        if value is not None and not isinstance(value, str) and (scale != 1 or offset != 0):
            value = (value - offset) / scale
        data = _number_bytes(value, type_, bit, width)
    data = _reordered(data, byte_order, word_order)
    return [data[at] << 8 | data[at + 1] for at in range(0, len(data), 2)]


def _reordered(data: bytes, byte_order: str, word_order: str) -> bytes:
    """The bytes with the most significant first, or back again: the two exchanges undo themselves."""
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if word_order == "little":
        words = words[::-1]
    if byte_order == "little":
        words = [bytes([word[1], word[0]]) for word in words]
    return b"".join(words)


def scaled(raw: "int | float", scale: float, offset: float) -> "int | float":
    """raw * scale + offset. Divides where the scale is one over a whole number: 3 / 10 is 0.3, and 3 * 0.1 is not."""
    if scale == 1 and offset == 0:
        return raw
    divisor = round(1 / scale) if scale else 0
    if divisor > 1 and abs(divisor * scale - 1) < 1e-6:
        return raw / divisor + offset
    return raw * scale + offset


def _bit_field(
    type_: str, bit: "int | None", width: int, error: "type[DecodeError] | type[EncodeError]"
) -> "tuple[int, int]":
    start = bit or 0
    if type_ == "bool" and width != 1:
        raise error("modbus bool", f"is {width} bits wide")
    if start < 0 or width < 1 or start + width > 16:
        raise error("modbus " + type_, f"{width} bits from bit {start} are not within a register")
    return start, (1 << width) - 1


def _no_bit(type_: str, bit: "int | None", error: "type[DecodeError] | type[EncodeError]") -> None:
    if bit is not None:
        raise error("modbus " + type_, "has no bits to pick from; the types for that are bool and bits")


def _number_bytes(raw: "bool | int | float | str | None", type_: str, bit: "int | None", width: int) -> bytes:
    """Range-checked by hand, since MicroPython's struct.pack truncates."""
    registers, kind, bits = TYPES[type_]
    subject = "modbus " + type_
    if kind != "bits":
        _no_bit(type_, bit, EncodeError)
    if kind[0] == ">" and raw is None:
        return struct.pack(kind, float("nan"))
    if raw is None or isinstance(raw, str):
        raise EncodeError(subject, f"{raw!r} is no number")
    if kind[0] == ">":
        number = float(raw)
        if not math.isfinite(number) or (bits == 32 and abs(number) > _FLOAT32_MAX):
            raise EncodeError(subject, f"{raw!r} is out of range")
        return struct.pack(kind, number)
    if not isinstance(raw, int) and not math.isfinite(raw):
        raise EncodeError(subject, f"{raw!r} is out of range")
    whole = int(raw) if isinstance(raw, int) else round(raw)
    shift = 8 if kind.endswith("high") else 0
    if kind == "bits":
        shift, most = _bit_field(type_, bit, width, EncodeError)
        least = 0
    elif kind == "decimal":
        least, most = 0, 10 ** (bits // 4) - 1
    elif kind.startswith("signed"):
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    else:
        least, most = 0, (1 << bits) - 1
    if not least <= whole <= most:
        raise EncodeError(subject, f"{raw!r} is out of range")
    if kind == "decimal":
        whole = int(str(whole), 16)
    return ((whole & ((1 << bits) - 1)) << shift).to_bytes(2 * registers, "big")


def _digits(type_: str, data: bytes) -> int:
    try:
        return int(data.hex())
    except ValueError:
        raise DecodeError("modbus " + type_, "holds four bits that are no decimal digit") from None


def _text(type_: str, data: bytes) -> str:
    """UTF-8 without the zeros and spaces that fill the last registers."""
    try:
        return data.decode("utf-8").rstrip("\0 ")
    except UnicodeError:
        raise DecodeError("modbus " + type_, "is not UTF-8") from None


def _text_bytes(value: "bool | int | float | str | None", count: int) -> bytes:
    if not isinstance(value, str):
        raise EncodeError("modbus string", f"{value!r} is no text")
    data = value.encode("utf-8")
    if len(data) > 2 * count:
        raise EncodeError("modbus string", f"{len(data)} bytes do not fit into {count} registers")
    return data + bytes(2 * count - len(data))
