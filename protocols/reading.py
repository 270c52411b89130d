"""A reading: one value of one metric, with its unit, its quality and its time."""

import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class DecimalFraction(NamedTuple):
        """mantissa x 10^exponent, so that the precision an instrument claims survives (2.00 is not 2)."""

        mantissa: int
        exponent: int

    Value = bool | int | float | str | DecimalFraction | None

    class Reading(NamedTuple):
        """One value of one metric. `unit` is a UCUM code, `time_ms` Unix milliseconds UTC or None if not known yet.

        `value` is None when the device says that it has none; `quality` then says why.
        """

        metric: str
        value: Value
        unit: str
        quality: int
        time_ms: int | None

else:
    Value = object  # for annotations, which CPython evaluates
    DecimalFraction = namedtuple("DecimalFraction", ("mantissa", "exponent"))
    Reading = namedtuple("Reading", ("metric", "value", "unit", "quality", "time_ms"))

# Qualities. Below BAD a value may be used; at BAD and above it is absent or must not be.
GOOD = 0
STALE = 1  # the last good value, repeated because nothing newer came
UNCERTAIN = 2  # measured, but under conditions the device doubts (motion, poor contact)
BAD = 16
BAD_TIMEOUT = 17  # no answer
BAD_CHECKSUM = 19  # the frame was damaged
BAD_RANGE = 20  # outside what the sensor can measure
BAD_INVALID = 21  # the device itself says: not a number, not at this resolution
BAD_REFUSED = 32  # the device refused, and up to 31 more than this: by which exception code of Modbus
TIME_ESTIMATED = 0x80  # a flag beside the codes: the time was reckoned by the receiver

QUALITY_NAMES = {
    GOOD: "good",
    STALE: "stale",
    UNCERTAIN: "uncertain",
    BAD: "bad",
    BAD_TIMEOUT: "bad: timeout",
    BAD_CHECKSUM: "bad: checksum",
    BAD_RANGE: "bad: out of range",
    BAD_INVALID: "bad: invalid",
    BAD_REFUSED: "bad: refused",
}


def reading(metric: str, value: "Value", unit: str, quality: int = GOOD, time_ms: "int | None" = None) -> "Reading":
    """A Reading, good and without a time unless told otherwise."""
    return Reading(metric, value, unit, quality, time_ms)


def refused(exception: int) -> int:
    """The quality of what a device refuses with this exception code of Modbus."""
    return BAD_REFUSED + exception if 0 < exception < 32 else BAD_REFUSED


def quality_name(quality: int) -> str:
    """The English name of a quality code; the time flag is left aside."""
    code = quality & ~TIME_ESTIMATED
    if BAD_REFUSED < code < BAD_REFUSED + 32:
        return f"{QUALITY_NAMES[BAD_REFUSED]}, exception {code - BAD_REFUSED}"
    return QUALITY_NAMES.get(code, f"code {code}")


def to_float(value: "bool | int | float | DecimalFraction") -> float:
    """A numeric value as a float, for comparing and drawing; the decimal places are lost."""
    if isinstance(value, DecimalFraction):
        if value.exponent < 0:
            return float(value.mantissa / 10**-value.exponent)
        return float(value.mantissa * 10**value.exponent)
    return float(value)


def to_text(value: "Value") -> str:
    """A value as people read it: exactly the decimal places that it claims, and no more digits than it holds."""
    if isinstance(value, DecimalFraction):
        mantissa, exponent = value
        if exponent >= 0:
            return str(mantissa * 10**exponent)
        digits = str(abs(mantissa))
        while len(digits) <= -exponent:
            digits = "0" + digits
        return ("-" if mantissa < 0 else "") + digits[:exponent] + "." + digits[exponent:]
    if isinstance(value, float):
        return _shortest(value)
    return "" if value is None else str(value)


def _shortest(value: float) -> str:
    """A number that a 32-bit register held, in the fewest digits that give that register again; else all its digits."""
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return str(value)
    if single == value:
        for digits in range(1, 9):
            text = f"{value:.{digits}g}"
            if "e" not in text and "n" not in text and struct.unpack("<f", struct.pack("<f", float(text)))[0] == single:
                return text if "." in text else text + ".0"
    return str(value)
