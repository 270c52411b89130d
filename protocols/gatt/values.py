"""How one value stands in bytes: integers with a step, medical floats, date-times, named codes. Little-endian.

Each class has `size`, `decode(data) -> (value, quality)` and `encode(value, quality) -> bytes`; data has `size` bytes.
"""

from ..errors import DecodeError, EncodeError
from ..ieee11073 import (
    NAN,
    NEGATIVE_INFINITY,
    POSITIVE_INFINITY,
    decode_float,
    decode_sfloat,
    encode_float,
    encode_sfloat,
)
from ..reading import BAD_INVALID, BAD_RANGE, GOOD, DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..reading import Value

    class ValueCodec(Protocol):
        """What the field tables need of a value's codec."""

        size: int

        def decode(self, data: bytes) -> tuple[Value, int]:
            """The value and its quality. Raises DecodeError."""

        def encode(self, value: Value, quality: int) -> bytes:
            """The bytes. Raises EncodeError."""


class Integer:
    """`raw * step * 10^exponent`, exact. `special` names raw words that stand for "no value", with their quality."""

    def __init__(
        self,
        size: int,
        *,
        signed: bool = False,
        step: int = 1,
        exponent: int = 0,
        special: "tuple[tuple[int, int], ...]" = (),
        maximum: "int | None" = None,
    ):
        self.size = size
        self.step = step
        self.exponent = exponent
        self.special = special
        self.signed = signed
        self.least = -(1 << (8 * size - 1)) if signed else 0
        self.most = maximum if maximum is not None else (1 << (8 * size - (1 if signed else 0))) - 1

    def decode(self, data: bytes) -> "tuple[Value, int]":
        """The value and its quality. Raises DecodeError for a word above the maximum."""
        raw = int.from_bytes(data, "little")
        if self.signed and raw >> (8 * self.size - 1):
            raw -= 1 << (8 * self.size)
        for word, quality in self.special:
            if raw == word:
                return None, quality
        if raw > self.most:
            raise DecodeError("integer", f"{raw} is more than {self.most}")
        scaled = raw * self.step
        return (DecimalFraction(scaled, self.exponent) if self.exponent else scaled), GOOD

    def encode(self, value: "Value", quality: int) -> bytes:
        """The bytes. None becomes the special word of that quality, or the first. Raises EncodeError."""
        if value is None:
            return self._bytes(self._special(quality))
        raw = self._raw(value)
        if not self.least <= raw <= self.most or any(raw == word for word, _ in self.special):
            raise EncodeError("integer", f"{value!r} is out of range")
        return self._bytes(raw)

    def carries(self, value: "Value") -> bool:
        """Whether a whole value is within range: decides between two widths of one field."""
        return value is None or (isinstance(value, int) and self.least <= value <= self.most)

    def _bytes(self, raw: int) -> bytes:
        return (raw & ((1 << (8 * self.size)) - 1)).to_bytes(self.size, "little")

    def _special(self, quality: int) -> int:
        if not self.special:
            raise EncodeError("integer", "has no word for a missing value")
        for word, word_quality in self.special:
            if word_quality == quality:
                return word
        return self.special[0][0]

    def _raw(self, value: "Value") -> int:
        if isinstance(value, DecimalFraction):
            mantissa, exponent = value
        elif isinstance(value, int) and not isinstance(value, bool):
            mantissa, exponent = value, 0
        else:
            raise EncodeError("integer", f"{value!r} is neither a DecimalFraction nor an int")
        shift = exponent - self.exponent
        if shift >= 0:
            scaled, divisor = mantissa * 10**shift, self.step
        else:
            scaled, divisor = mantissa, self.step * 10**-shift
        if scaled % divisor:
            raise EncodeError("integer", f"{value!r} is no multiple of {self.step} x 10^{self.exponent}")
        return int(scaled // divisor)


class MedicalFloat:
    """An SFLOAT (size 2) or FLOAT (size 4), times 10^shift. Exponent 0 gives an int, any other a DecimalFraction.

    nan, nres and reserved become None, BAD_INVALID, which is written back as nan; both infinities become None,
    BAD_RANGE, which is written back as +inf.
    """

    def __init__(self, size: int, *, shift: int = 0):
        self.size = size
        self._shift = shift
        self._from_word = decode_sfloat if size == 2 else decode_float
        self._to_word = encode_sfloat if size == 2 else encode_float

    def decode(self, data: bytes) -> "tuple[Value, int]":
        """The value and its quality."""
        number = self._from_word(int.from_bytes(data, "little"))
        if isinstance(number, str):
            return None, (BAD_RANGE if number in (POSITIVE_INFINITY, NEGATIVE_INFINITY) else BAD_INVALID)
        exponent = number.exponent + self._shift
        return (DecimalFraction(number.mantissa, exponent) if exponent else number.mantissa), GOOD

    def encode(self, value: "Value", quality: int) -> bytes:
        """The bytes. Raises EncodeError if the number does not fit without loss."""
        if isinstance(value, str):
            raise EncodeError("medical float", f"{value!r} is text")
        if value is None:
            value = POSITIVE_INFINITY if quality == BAD_RANGE else NAN
        elif self._shift:
            if isinstance(value, DecimalFraction):
                value = DecimalFraction(value.mantissa, value.exponent - self._shift)
            elif isinstance(value, int) and not isinstance(value, bool):
                value = DecimalFraction(value, -self._shift)
        return self._to_word(value).to_bytes(self.size, "little")


class DateTime:
    """Seven bytes as text "2012-12-05T11:50:27", local time without a zone; an unknown year, month or day is zeros."""

    size = 7
    _LIMITS = (("year", 9999), ("month", 12), ("day", 31), ("hour", 23), ("minute", 59), ("second", 59))
    _PLACES = (0, 5, 8, 11, 14, 17)
    _SEPARATORS = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"))

    def decode(self, data: bytes) -> "tuple[Value, int]":
        """The text. Raises DecodeError for a field that no clock shows."""
        parts = (data[0] | data[1] << 8, data[2], data[3], data[4], data[5], data[6])
        for part, (name, limit) in zip(parts, self._LIMITS):
            if part > limit:
                raise DecodeError("date-time", f"{name} {part}")
        return "%04d-%02d-%02dT%02d:%02d:%02d" % parts, GOOD

    def encode(self, value: "Value", quality: int) -> bytes:
        """The seven bytes of such a text. Raises EncodeError for any other text."""
        if not isinstance(value, str) or len(value) != 19 or any(value[at] != mark for at, mark in self._SEPARATORS):
            raise EncodeError("date-time", f"{value!r} is not YYYY-MM-DDThh:mm:ss")
        parts = []
        for at, (name, limit) in zip(self._PLACES, self._LIMITS):
            digits = value[at : at + (4 if at == 0 else 2)]
            if not all("0" <= digit <= "9" for digit in digits) or int(digits) > limit:
                raise EncodeError("date-time", f"{name} {digits} in {value!r}")
            parts.append(int(digits))
        return bytes([parts[0] & 0xFF, parts[0] >> 8] + parts[1:])


class Code:
    """A code of `size` bytes with a name each; a code without a name reads "code_12", so that nothing is lost."""

    def __init__(self, names: "tuple[tuple[int, str], ...]", *, size: int = 1, most: int = 0xFF):
        self.size = size
        self.most = most
        self._names = dict(names)
        self._codes = {name: code for code, name in names}

    def decode(self, data: bytes) -> "tuple[Value, int]":
        """The code's name."""
        return self.name(int.from_bytes(data, "little")), GOOD

    def encode(self, value: "Value", quality: int) -> bytes:
        """The code of a name. Raises EncodeError for a name that is not in the table."""
        return self.code(value).to_bytes(self.size, "little")

    def name(self, code: int) -> str:
        """The name of a number."""
        return self._names.get(code, f"code_{code}")

    def code(self, name: "Value") -> int:
        """The number of a name. Raises EncodeError."""
        if isinstance(name, str):
            if name in self._codes:
                return self._codes[name]
            digits = name[5:]
            if name.startswith("code_") and digits and all("0" <= digit <= "9" for digit in digits):
                code = int(digits)
                if code <= self.most and self.name(code) == name:
                    return code
        raise EncodeError("code", f"{name!r} is not in the table")
