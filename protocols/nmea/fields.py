"""The fields of NMEA 0183 sentences: numbers, angles, times.

Arithmetic is in integers, so that boards with 32-bit floats give the same digits: positions are in 10^-7 degree
(1.1 cm).
"""

from ..errors import DecodeError, EncodeError
from ..reading import DecimalFraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    Number = int | DecimalFraction

POSITION_EXPONENT = -7
MINUTE_DIGITS = 6
KNOT_DIGITS = 4


def is_digits(text: str) -> bool:
    """Whether it is one or more of 0 to 9."""
    return bool(text) and all("0" <= char <= "9" for char in text)


def decimal(subject: str, name: str, text: str) -> "Number":
    """A decimal number with the places that it shows. Raises DecodeError."""
    digits = text[1:] if text[:1] == "-" else text
    whole, _, fraction = digits.partition(".")
    if len(digits) > 18 or not is_digits(whole) or ("." in digits and not is_digits(fraction)):
        raise DecodeError(subject, f"{name} {text!r}")
    mantissa = int(whole + fraction)
    if text[:1] == "-":
        mantissa = -mantissa
    return DecimalFraction(mantissa, -len(fraction)) if fraction else mantissa


def parts(number: "Number") -> "tuple[int, int]":
    """Mantissa and exponent."""
    return (number.mantissa, number.exponent) if isinstance(number, DecimalFraction) else (number, 0)


def rescaled(number: "Number", times: int, by: int, exponent: int) -> "DecimalFraction":
    """number * times / by, rounded to 10^exponent, halves away from zero."""
    mantissa, shift = parts(number)
    shift -= exponent
    dividend = abs(mantissa) * times * 10 ** max(shift, 0)
    divisor = by * 10 ** max(-shift, 0)
    rounded = (2 * dividend + divisor) // (2 * divisor)
    return DecimalFraction(-rounded if mantissa < 0 else rounded, exponent)


def limited(subject: str, name: str, text: str, most: int) -> "Number | None":
    """A number from 0 to `most`; an empty field is None. Raises DecodeError."""
    if not text:
        return None
    number = decimal(subject, name, text)
    mantissa, exponent = parts(number)
    if not 0 <= mantissa <= most * 10**-exponent:
        raise DecodeError(subject, f"{name} {text!r}")
    return number


def speed(subject: str, text: str) -> "Number | None":
    """Metres a second (1 knot is 1852 m/h) with one place more than the knots, so that no two knots look alike."""
    knots = limited(subject, "speed", text, 100000)
    return None if knots is None else rescaled(knots, 463, 900, parts(knots)[1] - 1)


def angle(subject: str, text: str, side: str, degree_digits: int, sides: str) -> "DecimalFraction | None":
    """Signed degrees of "ddmm.mmmm" and its hemisphere; both empty is None. Raises DecodeError."""
    if not text and not side:
        return None
    if len(side) != 1 or side not in sides:
        raise DecodeError(subject, f"hemisphere {side!r} where {sides[0]} or {sides[1]} is wanted")
    whole, _, fraction = text.partition(".")
    if len(whole) != degree_digits + 2 or not is_digits(whole + fraction) or len(fraction) > 9:
        raise DecodeError(subject, f"position {text!r}")
    minutes = int(whole[-2:])
    scale = 10 ** len(fraction)
    total = (int(whole[:-2]) * 60 + minutes) * scale + int(fraction or "0")
    if minutes >= 60 or total > (90 if sides == "NS" else 180) * 60 * scale:
        raise DecodeError(subject, f"position {text!r}")
    return rescaled(DecimalFraction(-total if side == sides[1] else total, -len(fraction)), 1, 60, POSITION_EXPONENT)


def angle_fields(angle: "Number | None", degree_digits: int, sides: str) -> "list[str]":
    """The two fields of an angle: "ddmm.mmmmmm" and its hemisphere."""
    if angle is None:
        return ["", ""]
    total = abs(rescaled(angle, 60, 1, -MINUTE_DIGITS).mantissa)
    if total > (90 if sides == "NS" else 180) * 60 * 10**MINUTE_DIGITS:
        raise EncodeError("NMEA sentence", f"{angle!r} degrees")
    minutes, fraction = divmod(total, 10**MINUTE_DIGITS)
    degrees = str(1000 + minutes // 60)[-degree_digits:]
    return [f"{degrees}{minutes % 60:02d}.{fraction:06d}", sides[1 if parts(angle)[0] < 0 else 0]]


def text_of(number: "Number") -> str:
    """A number with the places that it claims."""
    mantissa, exponent = parts(number)
    if exponent >= 0:
        return str(mantissa * 10**exponent)
    whole, fraction = divmod(abs(mantissa), 10**-exponent)
    return ("-" if mantissa < 0 else "") + f"{whole}." + str(10**-exponent + fraction)[1:]


def time_of(subject: str, text: str) -> str:
    """hh:mm:ss of "hhmmss.ss"; a leap second reads 60, fractions are left out. Raises DecodeError."""
    whole, _, fraction = text.partition(".")
    if len(whole) != 6 or not is_digits(whole + fraction):
        raise DecodeError(subject, f"time {text!r}")
    if int(whole[:2]) > 23 or int(whole[2:4]) > 59 or int(whole[4:]) > 60:
        raise DecodeError(subject, f"time {text!r}")
    return f"{whole[:2]}:{whole[2:4]}:{whole[4:]}"


def date_time(subject: str, date: str, time: str) -> "str | None":
    """The date is ddmmyy; there was no satellite navigation before 1980, so a year from 80 is of the last century."""
    if not date or not time:
        return None
    if len(date) != 6 or not is_digits(date) or not 1 <= int(date[:2]) <= 31 or not 1 <= int(date[2:4]) <= 12:
        raise DecodeError(subject, f"date {date!r}")
    century = "19" if int(date[4:]) >= 80 else "20"
    return f"{century}{date[4:]}-{date[2:4]}-{date[:2]}T{time_of(subject, time)}"


def date_time_fields(device_time: str) -> "tuple[str, str]":
    """ddmmyy and hhmmss.00 of "YYYY-MM-DDThh:mm:ss". Raises EncodeError."""
    digits = device_time[:4] + device_time[5:7] + device_time[8:10] + device_time[11:13] + device_time[14:16]
    digits += device_time[17:19]
    if len(device_time) != 19 or not is_digits(digits) or not 1980 <= int(digits[:4]) <= 2079:
        raise EncodeError("NMEA sentence", f"time {device_time!r}")
    return digits[6:8] + digits[4:6] + digits[2:4], digits[8:] + ".00"
