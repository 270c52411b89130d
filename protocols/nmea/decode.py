"""What NMEA 0183 sentences say: RMC, GGA, GSV, VTG, HDT, ZDA. Source: NMEA 0183 version 4.10, approved sentences.

Without a fix every value is None and BAD_INVALID, except counts of satellites; an estimated, manual or simulated fix is
UNCERTAIN. A field that the receiver leaves empty is None and BAD_INVALID.
"""

from ..errors import DecodeError
from ..reading import BAD_INVALID, GOOD, UNCERTAIN, reading
from .fields import angle, date_time, decimal, is_digits, limited, speed, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..reading import Reading, Value
    from .sentence import Sentence

# Whose satellites a talker's GSV sentences tell of
_CONSTELLATIONS = {
    "GP": "gps",
    "GL": "glonass",
    "GA": "galileo",
    "GB": "beidou",
    "BD": "beidou",
    "GQ": "qzss",
    "GI": "navic",
}


# The metrics that a type of sentence may give, and their units
METRICS = {
    "RMC": {"latitude": "deg", "longitude": "deg", "speed": "m/s", "course": "deg", "device_time": ""},
    "GGA": {"latitude": "deg", "longitude": "deg", "altitude": "m", "satellites": "1", "hdop": "1"},
    "GSV": {name + "_in_view": "1" for name in _CONSTELLATIONS.values()},
    "VTG": {"course": "deg", "speed": "m/s"},
    "HDT": {"heading": "deg"},
    "ZDA": {"device_time": ""},
}


def decode(parsed: "Sentence") -> "list[Reading]":
    """The readings of a sentence; types that are not known give none. Raises DecodeError."""
    decoder = DECODERS.get(parsed.type)
    return decoder(parsed) if decoder and parsed.talker != "P" else []


def _rmc(parsed: "Sentence") -> "list[Reading]":
    subject = "RMC"
    fields = parsed.fields
    if not 11 <= len(fields) <= 13:
        raise DecodeError(subject, f"has {len(fields)} fields")
    time, status, latitude, north, longitude, east, knots, course, date = fields[:9]
    mode = fields[11] if len(fields) > 11 else "A"
    if status not in ("A", "V"):
        raise DecodeError(subject, f"status {status!r}")
    quality = BAD_INVALID if status == "V" or mode == "N" else UNCERTAIN if mode in ("E", "M", "S") else GOOD
    values = (
        ("latitude", angle(subject, latitude, north, 2, "NS"), "deg"),
        ("longitude", angle(subject, longitude, east, 3, "EW"), "deg"),
        ("speed", speed(subject, knots), "m/s"),
        ("course", limited(subject, "course", course, 360), "deg"),
        ("device_time", date_time(subject, date, time), ""),
    )
    return [_reading(metric, value, unit, quality) for metric, value, unit in values]


def _gga(parsed: "Sentence") -> "list[Reading]":
    subject = "GGA"
    fields = parsed.fields
    if len(fields) != 14:
        raise DecodeError(subject, f"has {len(fields)} fields")
    time, latitude, north, longitude, east, fix, satellites, hdop, altitude, altitude_unit = fields[:10]
    if len(fix) != 1 or fix not in "012345678":
        raise DecodeError(subject, f"quality {fix!r}")
    if altitude and altitude_unit != "M":
        raise DecodeError(subject, f"altitude in {altitude_unit!r}")
    if satellites and not is_digits(satellites):
        raise DecodeError(subject, f"satellites {satellites!r}")
    if time:
        time_of(subject, time)
    quality = BAD_INVALID if fix == "0" else UNCERTAIN if fix in "678" else GOOD
    return [
        _reading("latitude", angle(subject, latitude, north, 2, "NS"), "deg", quality),
        _reading("longitude", angle(subject, longitude, east, 3, "EW"), "deg", quality),
        _reading("altitude", decimal(subject, "altitude", altitude) if altitude else None, "m", quality),
        _reading("satellites", int(satellites) if satellites else None, "1", GOOD),
        _reading("hdop", limited(subject, "hdop", hdop, 1000), "1", quality),
    ]


def _gsv(parsed: "Sentence") -> "list[Reading]":
    """Satellites in view of one constellation: the count stands in each sentence of a group, the first one tells."""
    subject = "GSV"
    fields = parsed.fields
    # Four fields a satellite, at most four of them, and since version 4.10 the signal's id.
    numeric = all([is_digits(each) for each in fields[:3]])
    if not 3 <= len(fields) <= 20 or (len(fields) - 3) % 4 > 1 or not numeric:
        raise DecodeError(subject, f"has {len(fields)} fields, or its counts are no numbers")
    sentences, number, satellites = [int(each) for each in fields[:3]]
    if not 1 <= number <= sentences <= 9 or satellites > 99:
        raise DecodeError(subject, f"sentence {number} of {sentences}, {satellites} satellites")
    if parsed.talker not in _CONSTELLATIONS or number != 1:
        return []
    return [reading(_CONSTELLATIONS[parsed.talker] + "_in_view", satellites, "1")]


def _vtg(parsed: "Sentence") -> "list[Reading]":
    subject = "VTG"
    fields = parsed.fields
    if len(fields) not in (8, 9) or [fields[at] for at in (1, 3, 5, 7)] != ["T", "M", "N", "K"]:
        raise DecodeError(subject, f"has {len(fields)} fields, or others than T, M, N, K")
    mode = fields[8] if len(fields) == 9 else "A"
    quality = BAD_INVALID if mode == "N" else UNCERTAIN if mode in ("E", "M", "S") else GOOD
    return [
        _reading("course", limited(subject, "course", fields[0], 360), "deg", quality),
        _reading("speed", speed(subject, fields[4]), "m/s", quality),
    ]


def _hdt(parsed: "Sentence") -> "list[Reading]":
    if len(parsed.fields) != 2 or parsed.fields[1] != "T":
        raise DecodeError("HDT", "is not a true heading")
    return [_reading("heading", limited("HDT", "heading", parsed.fields[0], 360), "deg", GOOD)]


def _zda(parsed: "Sentence") -> "list[Reading]":
    subject = "ZDA"
    if len(parsed.fields) != 6:
        raise DecodeError(subject, f"has {len(parsed.fields)} fields")
    time, day, month, year = parsed.fields[:4]
    if not (time and day and month and year):
        return [_reading("device_time", None, "", GOOD)]
    widths = [len(each) for each in (day, month, year)]
    if widths != [2, 2, 4] or not is_digits(day + month + year) or not 1 <= int(month) <= 12 or not 1 <= int(day) <= 31:
        raise DecodeError(subject, f"date {day}.{month}.{year}")
    return [_reading("device_time", f"{year}-{month}-{day}T{time_of(subject, time)}", "", GOOD)]


DECODERS = {"RMC": _rmc, "GGA": _gga, "GSV": _gsv, "VTG": _vtg, "HDT": _hdt, "ZDA": _zda}


def _reading(metric: str, value: "Value", unit: str, quality: int) -> "Reading":
    if value is None or quality == BAD_INVALID:
        return reading(metric, None, unit, BAD_INVALID)
    return reading(metric, value, unit, quality)
