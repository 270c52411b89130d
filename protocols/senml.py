"""SenML JSON (RFC 8428): packs of devices, and what the plain `mqtt` uplink publishes.

A device's pack is one SenML pack whose first record also carries the custody header as fields of our own (section
4.4: a receiver ignores the labels it does not know). Times are seconds with milliseconds. A device without a wall clock
leaves the base time out; `mono` then says when the base was (seconds), and `sent` when it sent the pack (milliseconds),
both on its own clock. Encoding runs on both interpreters; decoding is the gateway's and needs CPython's json.
Numbers are written digit by digit, since a board's 32-bit floats cannot hold a time, and since 37.60 is not 37.6.
A reading without a value has no value field, and in `q` the reason. A gap record has no readings: `lost`, `from`, `to`.
"""

import json
from collections import namedtuple

from .custody import Header, header_problem
from .errors import DecodeError, EncodeError
from .reading import GOOD, DecimalFraction, Reading, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

    from .reading import Value

    class DevicePack(NamedTuple):
        """A device's pack, decoded. Times are Unix ms, or ms of the device's own clock where `sent_ms` is given.

        lost: how many readings gave way (a gap record then, without readings).
        """

        header: Header
        readings: Sequence[Reading]
        sent_ms: int | None
        lost: int

else:
    DevicePack = namedtuple("DevicePack", ("header", "readings", "sent_ms", "lost"))

_MAX_BYTES = 65536
_MAX_NUMBER = 1 << 53
_MAX_LOST = 1 << 31
_MAX_FLOAT = 1.7976931348623157e308


class BodyError(DecodeError):
    """A device's pack of a sound `header` whose body cannot be read: it gives up `count` readings (about)."""

    def __init__(self, header: "Header", count: int, reason: str):
        super().__init__("SenML pack", reason)
        self.header = header
        self.count = count


def encode_readings(base_name: str, readings: "Sequence[Reading]") -> str:
    """Plain SenML records (without the brackets) of readings with Unix times; the names begin with `base_name`."""
    if not readings:
        return ""
    base_ms = readings[0].time_ms or 0
    records = [_record(reading, base_ms) for reading in readings]
    records[0] = f'{{"bn":{json.dumps(base_name)},"bt":{_seconds(base_ms)},{records[0][1:]}'
    return ",".join(records)


def _record(reading: "Reading", base_ms: int) -> str:
    parts = ['"n":' + json.dumps(reading.metric)]
    if reading.unit:
        parts.append('"u":' + json.dumps(reading.unit))
    if reading.time_ms is not None and reading.time_ms != base_ms:
        parts.append('"t":' + _seconds(reading.time_ms - base_ms))
    if reading.quality != GOOD:
        parts.append(f'"q":{reading.quality}')
    if reading.value is not None:
        parts.append(_value(reading.value))
    return "{" + ",".join(parts) + "}"


def _value(value: "Value") -> str:
    if value is True or value is False:
        return '"vb":' + ("true" if value else "false")
    if isinstance(value, str):
        return '"vs":' + json.dumps(value)
    if isinstance(value, float) and not -_MAX_FLOAT <= value <= _MAX_FLOAT:
        raise EncodeError("SenML", f"JSON has no {value}; give None and a quality")
    return '"v":' + to_text(value)


def _seconds(milliseconds: int) -> str:
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{abs(milliseconds) // 1000}.{abs(milliseconds) % 1000:03d}"


def encode_body(readings: "Sequence[Reading]", *, device: str, wall_clock: bool) -> str:
    """A device's readings as they wait in its journal: records without brackets and without the custody header.

    Times are Unix ms if there was a wall clock, else ms of the device's own clock.
    """
    text = encode_readings(device + "/", readings)
    return text if wall_clock else text.replace('"bt":', '"mono":', 1)


def encode_lost(count: int, *, device: str) -> str:
    """The gap record that stands for a pack of `count` readings which had to give way."""
    return f'{{"bn":"{device}/","lost":{count}}}'


def encode_pack(header: "Header", body: str, sent_ms: int) -> bytes:
    """The message: the body under its custody header. `sent_ms` is the device's own clock now."""
    backfill = "true" if header.backfill else "false"
    fields = f'"epoch":{header.epoch},"seq":{header.seq},"base":{header.base},"oldest":{header.oldest}'
    if header.first != header.seq:
        fields += f',"first":{header.first}'
    return f'[{{{fields},"backfill":{backfill},"sent":{sent_ms},{body[1:]}]'.encode()


def decode_pack(data: bytes, device: str) -> "DevicePack":
    """A device's pack. Raises DecodeError, also when its base name is not the device's own; BodyError if only what
    stands under its header is wrong.
    """
    records = _records(data)
    first = records[0]
    epoch, seq, base, oldest = [first.get(label) for label in ("epoch", "seq", "base", "oldest")]
    problem = header_problem(epoch, seq, base, oldest, first.get("first", seq))
    if problem:
        raise DecodeError("SenML pack", problem)
    if first.get("bn") != device + "/":
        raise DecodeError("SenML pack", f"its base name is not {device}/")
    epoch, seq, base, oldest = first["epoch"], first["seq"], first["base"], first["oldest"]
    header = Header(epoch, seq, base, oldest, first.get("backfill") is True, first.get("first", seq))
    try:
        return _read_pack(header, records)
    except DecodeError as error:
        raise BodyError(header, len(records), str(error)) from error


def _read_pack(header: "Header", records: "list[dict[str, Any]]") -> "DevicePack":
    first = records[0]
    lost = first.get("lost", 0)
    sent_ms = None if "bt" in first or lost else first.get("sent")
    if not _is_integer(lost) or not 0 <= lost < _MAX_LOST:
        raise DecodeError("SenML pack", "lost is not a number, or out of range")
    if not (sent_ms is None or (_is_integer(sent_ms) and abs(sent_ms) < _MAX_NUMBER)):
        raise DecodeError("SenML pack", "sent is not a number, or out of range")
    base_ms = _milliseconds(first["bt"] if "bt" in first else first.get("mono", 0), "base time")
    return DevicePack(header, [] if lost else [_read(record, base_ms) for record in records], sent_ms, lost)


def _records(data: bytes) -> "list[dict[str, Any]]":
    if len(data) > _MAX_BYTES:
        raise DecodeError("SenML pack", f"{len(data)} bytes are too many")
    try:
        records = json.loads(data.decode(), parse_float=_Digits, parse_constant=_refuse)
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested too deeply, on MicroPython too
        raise DecodeError("SenML pack", f"not JSON: {error}") from error
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise DecodeError("SenML pack", "not a list of records")
    return records


class _Digits(str):
    """A JSON number with a fraction, as text until its digits have been counted."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_integer(item: object) -> bool:
    return isinstance(item, int) and item is not True and item is not False


def _is_whole_text(text: str) -> bool:
    """Whether the text can be written down: JSON's escapes can also say half a character, which is none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _read(record: "dict[str, Any]", base_ms: int) -> "Reading":
    name = record.get("n")
    unit = record.get("u", "")
    quality = record.get("q", GOOD)
    if not isinstance(name, str) or not isinstance(unit, str) or not _is_integer(quality) or not 0 <= quality < 256:
        raise DecodeError("SenML record", "name, unit or quality is not of its type")
    if not _is_whole_text(name + unit):
        raise DecodeError("SenML record", "name or unit holds half a character")
    time_ms = base_ms + _milliseconds(record.get("t", 0), f"time of {name}")
    return Reading(name, _read_value(record, name), unit, quality, time_ms)


def _read_value(record: "dict[str, Any]", name: str) -> "Value":
    labels = [label for label in ("v", "vs", "vb") if label in record]
    if not labels:
        return None
    if len(labels) > 1:
        raise DecodeError("SenML record", f"{name} has two values")
    value = record[labels[0]]
    if labels[0] == "v":
        return _read_number(value, name)
    if type(value) is not (str if labels[0] == "vs" else bool):
        raise DecodeError("SenML record", f"value of {name} is not of its type")
    if isinstance(value, str) and not _is_whole_text(value):
        raise DecodeError("SenML record", f"value of {name} holds half a character")
    return value


def _read_number(number: "Any", name: str) -> "Value":
    """A value of 64 bits or fewer as it is; one with more digits than that, or with an exponent, as a float."""
    value: "int | float | DecimalFraction" = number if _is_integer(number) else _decimal(number, f"value of {name}")
    digits = value.mantissa if isinstance(value, DecimalFraction) else value
    if not isinstance(digits, float) and abs(digits) < 1 << 63:
        return value
    wide = float(str(number))
    if not -_MAX_FLOAT <= wide <= _MAX_FLOAT:
        raise DecodeError("SenML record", f"value of {name} is beyond all range")
    return wide


def _decimal(number: object, subject: str) -> "DecimalFraction | float":
    """A JSON number's text as a decimal fraction with just the digits that it claims."""
    if not isinstance(number, _Digits) or len(number) > 40:
        raise DecodeError("SenML record", f"{subject} is not a number")
    try:
        if "e" in number or "E" in number:
            return float(number)
        whole, _, digits = number.partition(".")
        return DecimalFraction(int(whole + digits), -len(digits))
    except ValueError as error:
        raise DecodeError("SenML record", f"{subject} is not a number") from error


def _milliseconds(number: object, subject: str) -> int:
    if _is_integer(number):
        milliseconds = number * 1000  # type: ignore[operator]
    else:
        decimal = _decimal(number, subject)
        if isinstance(decimal, float):
            raise DecodeError("SenML record", f"{subject} has an exponent")
        shift = decimal.exponent + 3
        milliseconds = decimal.mantissa * 10**shift if shift >= 0 else decimal.mantissa // 10**-shift
    if abs(milliseconds) >= _MAX_NUMBER:
        raise DecodeError("SenML record", f"{subject} is out of range")
    return int(milliseconds)
