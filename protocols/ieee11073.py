"""The medical floats SFLOAT (16 bit) and FLOAT (32 bit): mantissa x 10^exponent, with special values.

Source: IEEE 11073-20601, FLOAT-Type and SFLOAT-Type; Bluetooth SIG, Personal Health Devices Transcoding White Paper.
A special value is known by the whole word (exponent 0), so 0x17FF is the number 2047 x 10^1.
"""

from .errors import DecodeError, EncodeError
from .reading import DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reading import Value

NAN = "nan"
POSITIVE_INFINITY = "+inf"
NEGATIVE_INFINITY = "-inf"
NRES = "nres"  # not at this resolution
RESERVED = "reserved"

SFLOAT_SPECIAL = {
    0x07FF: NAN,
    0x07FE: POSITIVE_INFINITY,
    0x0802: NEGATIVE_INFINITY,
    0x0800: NRES,
    0x0801: RESERVED,
}
FLOAT_SPECIAL = {
    0x007FFFFF: NAN,
    0x007FFFFE: POSITIVE_INFINITY,
    0x00800002: NEGATIVE_INFINITY,
    0x00800000: NRES,
    0x00800001: RESERVED,
}

# name, mantissa bits, exponent bits, special words
_SFLOAT = ("SFLOAT", 12, 4, SFLOAT_SPECIAL)
_FLOAT = ("FLOAT", 24, 8, FLOAT_SPECIAL)


def decode_sfloat(word: int) -> "DecimalFraction | str":
    """The number in a 16-bit word, or the name of its special value. Raises DecodeError for more than 16 bits."""
    return _decode(word, _SFLOAT)


def decode_float(word: int) -> "DecimalFraction | str":
    """The number in a 32-bit word, or the name of its special value. Raises DecodeError for more than 32 bits."""
    return _decode(word, _FLOAT)


def encode_sfloat(value: "Value") -> int:
    """The 16-bit word of a DecimalFraction, an int or a special value's name. Raises EncodeError if it does not fit."""
    return _encode(value, _SFLOAT)


def encode_float(value: "Value") -> int:
    """The 32-bit word of a DecimalFraction, an int or a special value's name. Raises EncodeError if it does not fit."""
    return _encode(value, _FLOAT)


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits


def _decode(word: int, form: "tuple[str, int, int, dict[int, str]]") -> "DecimalFraction | str":
    name, mantissa_bits, exponent_bits, special = form
    if not 0 <= word < 1 << (mantissa_bits + exponent_bits):
        raise DecodeError(name, f"{word} is no word of {mantissa_bits + exponent_bits} bits")
    if word in special:
        return special[word]
    mantissa = _signed(word & ((1 << mantissa_bits) - 1), mantissa_bits)
    return DecimalFraction(mantissa, _signed(word >> mantissa_bits, exponent_bits))


def _encode(value: "Value", form: "tuple[str, int, int, dict[int, str]]") -> int:
    name, mantissa_bits, exponent_bits, special = form
    if isinstance(value, str):
        for word, special_name in special.items():
            if special_name == value:
                return word
        raise EncodeError(name, f"{value} is no special value")
    if isinstance(value, DecimalFraction):
        mantissa, exponent = value
    elif isinstance(value, int) and not isinstance(value, bool):
        mantissa, exponent = value, 0
    else:
        raise EncodeError(name, f"{value!r} is neither a DecimalFraction nor an int")
    mantissa, exponent = _fitted(mantissa, exponent, 1 << (mantissa_bits - 1), 1 << (exponent_bits - 1))
    fits = -(1 << (mantissa_bits - 1)) <= mantissa < 1 << (mantissa_bits - 1)
    if not fits or not -(1 << (exponent_bits - 1)) <= exponent < 1 << (exponent_bits - 1):
        raise EncodeError(name, f"{value!r} does not fit")
    word = (exponent & ((1 << exponent_bits) - 1)) << mantissa_bits | mantissa & ((1 << mantissa_bits) - 1)
    if word in special:
        raise EncodeError(name, f"{value!r} would read as {special[word]}")
    return word


def _fitted(mantissa: int, exponent: int, mantissa_limit: int, exponent_limit: int) -> "tuple[int, int]":
    """The same number with the exponent moved only as far as the limits ask and no digit is lost."""
    if mantissa == 0:
        return 0, min(max(exponent, -exponent_limit), exponent_limit - 1)
    while mantissa % 10 == 0 and (not -mantissa_limit <= mantissa < mantissa_limit or exponent < -exponent_limit):
        mantissa //= 10
        exponent += 1
    while exponent >= exponent_limit and -mantissa_limit <= mantissa < mantissa_limit:
        mantissa *= 10
        exponent -= 1
    return mantissa, exponent
