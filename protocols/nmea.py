"""NMEA 0183 sentences of satellite receivers: checksum, fields, and what RMC and GGA say.

Source: NMEA 0183 version 4.10, sentence structure and the formatters RMC and GGA. Arithmetic is in integers, so that
boards with 32-bit floats give the same digits: positions are in 10^-7 degree (1.1 cm).
"""

from collections import namedtuple

from .errors import ChecksumError, DecodeError, EncodeError
from .reading import BAD_INVALID, GOOD, UNCERTAIN, DecimalFraction, Reading, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from .reading import Value

    class Sentence(NamedTuple):
        """A checked sentence: talker ("GP"), type ("RMC") and the fields after them.

        In a maker's own sentence the talker is "P", the type begins with the maker.
        """

        talker: str
        type: str
        fields: tuple[str, ...]

    Number = int | DecimalFraction
else:
    Sentence = namedtuple("Sentence", ("talker", "type", "fields"))

# The standard allows 82 characters with "$" and CR LF. Receivers in high-precision mode exceed it by a few digits.
MAX_LENGTH = 82
TOLERATED_LENGTH = 100

POSITION_EXPONENT = -7
_MINUTE_DIGITS = 6
_KNOT_DIGITS = 4


def checksum(body: "str | bytes") -> int:
    """The exclusive or of the characters between "$" and "*"."""
    value = 0
    for byte in body.encode() if isinstance(body, str) else body:
        value ^= byte
    return value


def sentence(body: str) -> str:
    """The whole sentence of a body, ready to be sent: "$", body, "*", checksum, CR LF. Raises EncodeError."""
    if any(not " " <= char <= "~" or char in "$*" for char in body) or len(body) + 6 > MAX_LENGTH:
        raise EncodeError("NMEA sentence", f"{body!r} cannot be sent")
    return f"${body}*{checksum(body):02X}\r\n"


def parse(text: "str | bytes") -> "Sentence":
    """The parts of one sentence, with or without its line end. Raises DecodeError, ChecksumError."""
    subject = "NMEA sentence"
    if len(text) > TOLERATED_LENGTH:
        raise DecodeError(subject, f"is {len(text)} characters long")
    data = text.encode() if isinstance(text, str) else bytes(text)
    while data and data[-1] in b"\r\n":
        data = data[:-1]
    if any(not 0x20 <= byte <= 0x7E for byte in data):
        raise DecodeError(subject, "has a character that is not printable ASCII")
    line = data.decode()
    if len(line) < 4 or line[0] != "$" or line[-3] != "*":
        raise DecodeError(subject, "does not go from $ to * and a checksum")
    body = line[1:-3]
    if "$" in body or "*" in body:
        raise DecodeError(subject, "holds a second start or end")
    if any(digit not in "0123456789ABCDEFabcdef" for digit in line[-2:]):
        raise DecodeError(subject, f"checksum {line[-2:]!r} is not hexadecimal")
    if int(line[-2:], 16) != checksum(body):
        raise ChecksumError(subject, f"checksum {line[-2:]} where {checksum(body):02X} is wanted")
    fields = body.split(",")
    address = fields[0]
    if any(not ("A" <= char <= "Z" or "0" <= char <= "9") for char in address) or len(address) < 4:
        raise DecodeError(subject, f"address {address!r}")
    if address[0] == "P":
        return Sentence("P", address[1:], tuple(fields[1:]))
    if len(address) != 5:
        raise DecodeError(subject, f"address {address!r}")
    return Sentence(address[:2], address[2:], tuple(fields[1:]))


def decode(parsed: "Sentence") -> "list[Reading]":
    """The readings of an RMC or GGA sentence; other types give none. Raises DecodeError.

    Without a fix every value is None and BAD_INVALID, except the count of satellites; an estimated, manual or simulated
    fix is UNCERTAIN. A field that the receiver leaves empty is None and BAD_INVALID.
    """
    if parsed.talker == "P":
        return []
    if parsed.type == "RMC":
        return _decode_rmc(parsed.fields)
    if parsed.type == "GGA":
        return _decode_gga(parsed.fields)
    return []


def encode_rmc(
    device_time: str,
    latitude: "Number | None",
    longitude: "Number | None",
    *,
    speed: "Number | None",
    course: "Number | None",
    talker: str = "GN",
) -> str:
    """An RMC sentence: "YYYY-MM-DDThh:mm:ss" UTC, degrees, m/s, degrees. Without a position its status is V."""
    valid = latitude is not None and longitude is not None
    knots = "" if speed is None else _text(_rescaled(speed, 900, 463, -_KNOT_DIGITS))
    date, time = _date_time_fields(device_time)
    fields = [talker + "RMC", time, "A" if valid else "V"]
    fields += _angle_fields(latitude, 2, "NS") + _angle_fields(longitude, 3, "EW")
    fields += [knots, "" if course is None else _text(course), date, "", "", "A" if valid else "N"]
    return sentence(",".join(fields))


def encode_gga(
    device_time: str,
    latitude: "Number | None",
    longitude: "Number | None",
    *,
    altitude: "Number | None",
    satellites: int,
    hdop: "Number | None",
    talker: str = "GN",
) -> str:
    """A GGA sentence: "YYYY-MM-DDThh:mm:ss" UTC, degrees, metres over the sea. Without a position its quality is 0."""
    valid = latitude is not None and longitude is not None
    fields = [talker + "GGA", _date_time_fields(device_time)[1]]
    fields += _angle_fields(latitude, 2, "NS") + _angle_fields(longitude, 3, "EW")
    fields += ["1" if valid else "0", f"{satellites:02d}", "" if hdop is None else _text(hdop)]
    fields += ["" if altitude is None else _text(altitude), "M", "", "M", "", ""]
    return sentence(",".join(fields))


def _decode_rmc(fields: "tuple[str, ...]") -> "list[Reading]":
    subject = "RMC"
    if not 11 <= len(fields) <= 13:
        raise DecodeError(subject, f"has {len(fields)} fields")
    time, status, latitude, north, longitude, east, speed, course, date = fields[:9]
    mode = fields[11] if len(fields) > 11 else "A"
    if status not in ("A", "V"):
        raise DecodeError(subject, f"status {status!r}")
    quality = BAD_INVALID if status == "V" or mode == "N" else UNCERTAIN if mode in ("E", "M", "S") else GOOD
    values = (
        ("latitude", _angle(subject, latitude, north, 2, "NS"), "deg"),
        ("longitude", _angle(subject, longitude, east, 3, "EW"), "deg"),
        ("speed", _speed(subject, speed), "m/s"),
        ("course", _limited(subject, "course", course, 360), "deg"),
        ("device_time", _date_time(subject, date, time), ""),
    )
    return [_reading(metric, value, unit, quality) for metric, value, unit in values]


def _decode_gga(fields: "tuple[str, ...]") -> "list[Reading]":
    subject = "GGA"
    if len(fields) != 14:
        raise DecodeError(subject, f"has {len(fields)} fields")
    time, latitude, north, longitude, east, fix, satellites, hdop, altitude, altitude_unit = fields[:10]
    if len(fix) != 1 or fix not in "012345678":
        raise DecodeError(subject, f"quality {fix!r}")
    if altitude and altitude_unit != "M":
        raise DecodeError(subject, f"altitude in {altitude_unit!r}")
    if satellites and not _is_digits(satellites):
        raise DecodeError(subject, f"satellites {satellites!r}")
    if time:
        _time(subject, time)
    quality = BAD_INVALID if fix == "0" else UNCERTAIN if fix in "678" else GOOD
    return [
        _reading("latitude", _angle(subject, latitude, north, 2, "NS"), "deg", quality),
        _reading("longitude", _angle(subject, longitude, east, 3, "EW"), "deg", quality),
        _reading("altitude", _decimal(subject, "altitude", altitude) if altitude else None, "m", quality),
        _reading("satellites", int(satellites) if satellites else None, "1", GOOD),
        _reading("hdop", _limited(subject, "hdop", hdop, 1000), "1", quality),
    ]


def _reading(metric: str, value: "Value", unit: str, quality: int) -> "Reading":
    if value is None or quality == BAD_INVALID:
        return reading(metric, None, unit, BAD_INVALID)
    return reading(metric, value, unit, quality)


def _is_digits(text: str) -> bool:
    return bool(text) and all("0" <= char <= "9" for char in text)


def _decimal(subject: str, name: str, text: str) -> "Number":
    """A decimal number with the places that it shows. Raises DecodeError."""
    digits = text[1:] if text[:1] == "-" else text
    whole, _, fraction = digits.partition(".")
    if len(digits) > 18 or not _is_digits(whole) or ("." in digits and not _is_digits(fraction)):
        raise DecodeError(subject, f"{name} {text!r}")
    mantissa = int(whole + fraction)
    if text[:1] == "-":
        mantissa = -mantissa
    return DecimalFraction(mantissa, -len(fraction)) if fraction else mantissa


def _parts(number: "Number") -> "tuple[int, int]":
    return (number.mantissa, number.exponent) if isinstance(number, DecimalFraction) else (number, 0)


def _rescaled(number: "Number", times: int, by: int, exponent: int) -> "DecimalFraction":
    """number * times / by, rounded to 10^exponent, halves away from zero."""
    mantissa, shift = _parts(number)
    shift -= exponent
    dividend = abs(mantissa) * times * 10 ** max(shift, 0)
    divisor = by * 10 ** max(-shift, 0)
    rounded = (2 * dividend + divisor) // (2 * divisor)
    return DecimalFraction(-rounded if mantissa < 0 else rounded, exponent)


def _limited(subject: str, name: str, text: str, most: int) -> "Number | None":
    if not text:
        return None
    number = _decimal(subject, name, text)
    mantissa, exponent = _parts(number)
    if not 0 <= mantissa <= most * 10**-exponent:
        raise DecodeError(subject, f"{name} {text!r}")
    return number


def _speed(subject: str, text: str) -> "Number | None":
    """Metres a second (1 knot is 1852 m/h) with one place more than the knots, so that no two knots look alike."""
    knots = _limited(subject, "speed", text, 100000)
    return None if knots is None else _rescaled(knots, 463, 900, _parts(knots)[1] - 1)


def _angle(subject: str, text: str, side: str, degree_digits: int, sides: str) -> "DecimalFraction | None":
    """Signed degrees of "ddmm.mmmm" and its hemisphere; both empty is None. Raises DecodeError."""
    if not text and not side:
        return None
    if len(side) != 1 or side not in sides:
        raise DecodeError(subject, f"hemisphere {side!r} where {sides[0]} or {sides[1]} is wanted")
    whole, _, fraction = text.partition(".")
    if len(whole) != degree_digits + 2 or not _is_digits(whole + fraction) or len(fraction) > 9:
        raise DecodeError(subject, f"position {text!r}")
    minutes = int(whole[-2:])
    scale = 10 ** len(fraction)
    total = (int(whole[:-2]) * 60 + minutes) * scale + int(fraction or "0")
    if minutes >= 60 or total > (90 if sides == "NS" else 180) * 60 * scale:
        raise DecodeError(subject, f"position {text!r}")
    return _rescaled(DecimalFraction(-total if side == sides[1] else total, -len(fraction)), 1, 60, POSITION_EXPONENT)


def _angle_fields(angle: "Number | None", degree_digits: int, sides: str) -> "list[str]":
    if angle is None:
        return ["", ""]
    total = abs(_rescaled(angle, 60, 1, -_MINUTE_DIGITS).mantissa)
    if total > (90 if sides == "NS" else 180) * 60 * 10**_MINUTE_DIGITS:
        raise EncodeError("NMEA sentence", f"{angle!r} degrees")
    minutes, fraction = divmod(total, 10**_MINUTE_DIGITS)
    degrees = str(1000 + minutes // 60)[-degree_digits:]
    return [f"{degrees}{minutes % 60:02d}.{fraction:06d}", sides[1 if _parts(angle)[0] < 0 else 0]]


def _text(number: "Number") -> str:
    mantissa, exponent = _parts(number)
    if exponent >= 0:
        return str(mantissa * 10**exponent)
    whole, fraction = divmod(abs(mantissa), 10**-exponent)
    return ("-" if mantissa < 0 else "") + f"{whole}." + str(10**-exponent + fraction)[1:]


def _time(subject: str, text: str) -> str:
    """hh:mm:ss of "hhmmss.ss"; a leap second reads 60, fractions are left out. Raises DecodeError."""
    whole, _, fraction = text.partition(".")
    if len(whole) != 6 or not _is_digits(whole + fraction):
        raise DecodeError(subject, f"time {text!r}")
    if int(whole[:2]) > 23 or int(whole[2:4]) > 59 or int(whole[4:]) > 60:
        raise DecodeError(subject, f"time {text!r}")
    return f"{whole[:2]}:{whole[2:4]}:{whole[4:]}"


def _date_time(subject: str, date: str, time: str) -> "str | None":
    """The date is ddmmyy; there was no satellite navigation before 1980, so a year from 80 is of the last century."""
    if not date or not time:
        return None
    if len(date) != 6 or not _is_digits(date) or not 1 <= int(date[:2]) <= 31 or not 1 <= int(date[2:4]) <= 12:
        raise DecodeError(subject, f"date {date!r}")
    century = "19" if int(date[4:]) >= 80 else "20"
    return f"{century}{date[4:]}-{date[2:4]}-{date[:2]}T{_time(subject, time)}"


def _date_time_fields(device_time: str) -> "tuple[str, str]":
    """ddmmyy and hhmmss.00 of "YYYY-MM-DDThh:mm:ss". Raises EncodeError."""
    digits = device_time[:4] + device_time[5:7] + device_time[8:10] + device_time[11:13] + device_time[14:16]
    digits += device_time[17:19]
    if len(device_time) != 19 or not _is_digits(digits) or not 1980 <= int(digits[:4]) <= 2079:
        raise EncodeError("NMEA sentence", f"time {device_time!r}")
    return digits[6:8] + digits[4:6] + digits[2:4], digits[8:] + ".00"
