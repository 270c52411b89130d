"""BTHome v2: what a sensor says in its advertisements, as the service data of 0xFCD2.

Source: bthome.io/format and bthome.io/encryption. A byte of device information, then objects: an id, which tells the
length, and a value, little-endian. Sealed objects are followed by a counter of 4 bytes and a check of 4 bytes.
"""

from collections import namedtuple

from .bthome_objects import BUTTON, BUTTON_EVENTS, DIMMER, NUMBERS, PACKET_ID, RAW, STATES, TEXT, VERSIONS
from .errors import DecodeError, EncodeError, TruncatedError
from .reading import BAD_INVALID, BAD_RANGE, GOOD, DecimalFraction, Reading, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NamedTuple

    from .bthome_objects import Number

    class Advertisement(NamedTuple):
        """What one advertisement says.

        readings: without times, and none of an event that did not happen; packet_id: the same in repetitions; counter:
        of a sealed one; trigger_based: sent when something happens, not by the clock; objects: the plain bytes;
        unknown: the id of the first object that is not in the table, where reading had to stop.
        """

        readings: list[Reading]
        packet_id: int | None
        counter: int | None
        trigger_based: bool
        objects: bytes
        unknown: int | None

    # (device information, counter, sealed objects followed by their check) -> plain objects. Raises DecodeError.
    Open = Callable[[bytes, bytes, bytes], bytes]
    # (device information, counter, plain objects) -> sealed objects followed by their check.
    Seal = Callable[[bytes, bytes, bytes], bytes]
else:
    Advertisement = namedtuple(
        "Advertisement", ("readings", "packet_id", "counter", "trigger_based", "objects", "unknown")
    )

SERVICE = 0xFCD2
SUBJECT = "BTHome advertisement"
CHECK_SIZE = 4

_SEALED = 0x01
_TRIGGERED = 0x04
_VERSION = 2 << 5
_COUNTER_SIZE = 4


def decode(data: bytes, unseal: "Open | None" = None) -> "Advertisement":
    """What the service data says. Raises DecodeError, also for a plain one where there is a key to `unseal`.

    An object of unknown id ends the reading without an error: what came before it, by rule of smaller ids, is known.
    """
    data = bytes(data)
    if not data:
        raise TruncatedError(SUBJECT, 1, 0)
    info = data[0]
    if info & 0xE0 != _VERSION:
        raise DecodeError(SUBJECT, f"version {info >> 5}")
    if info & ~(0xE0 | _SEALED | _TRIGGERED):
        raise DecodeError(SUBJECT, f"reserved bits in {info:02x}")
    objects, counter = data[1:], None
    if info & _SEALED:
        if unseal is None:
            raise DecodeError(SUBJECT, "is encrypted, and there is no key")
        if len(objects) < _COUNTER_SIZE + CHECK_SIZE:
            raise TruncatedError(SUBJECT, 1 + _COUNTER_SIZE + CHECK_SIZE, len(data))
        at = len(objects) - CHECK_SIZE - _COUNTER_SIZE
        count = objects[at : at + _COUNTER_SIZE]
        counter = int.from_bytes(count, "little")
        objects = unseal(data[:1], count, objects[:at] + objects[-CHECK_SIZE:])
    elif unseal is not None:
        raise DecodeError(SUBJECT, "is not encrypted, though there is a key")
    readings, packet_id, unknown = _read(objects)
    return Advertisement(readings, packet_id, counter, bool(info & _TRIGGERED), objects, unknown)


def units_of(metric: str) -> "set[str]":
    """The units in which a metric may come, a second one of its kind ("temperature_2") too; none: there is no such."""
    name, _, number = metric.rpartition("_")
    if name and number and all(["0" <= char <= "9" for char in number]) and units_of(name):
        return units_of(name)
    if metric in STATES.values() or metric in ("button", "text", "raw", "firmware_version"):
        return {""}
    if metric == "dimmer":
        return {"1"}
    return {number.unit for number in NUMBERS.values() if number.metric == metric}


def is_sealed(data: bytes) -> bool:
    """Whether the service data is encrypted."""
    return bool(data) and data[0] & _SEALED != 0


def nonce(address: bytes, info: bytes, counter: bytes) -> bytes:
    """The nonce of AES-CCM. `address`: the sensor's six bytes in the order in which they are written."""
    return address + SERVICE.to_bytes(2, "little") + info + counter


def encode(
    readings: "Sequence[Reading]",
    *,
    packet_id: "int | None" = None,
    trigger_based: bool = False,
    counter: "int | None" = None,
    seal: "Seal | None" = None,
) -> bytes:
    """The service data of numbers and states; sealed if `counter` and `seal` are given. Raises EncodeError."""
    objects = b"" if packet_id is None else bytes([PACKET_ID, packet_id])
    objects += b"".join(sorted([_object(item) for item in readings]))
    info = bytes([_VERSION | (_TRIGGERED if trigger_based else 0) | (0 if seal is None else _SEALED)])
    if seal is None or counter is None:
        return info + objects
    count = counter.to_bytes(_COUNTER_SIZE, "little")
    sealed = seal(info, count, objects)
    return info + sealed[:-CHECK_SIZE] + count + sealed[-CHECK_SIZE:]


def _read(objects: bytes) -> "tuple[list[Reading], int | None, int | None]":
    """Readings, packet id, and the first unknown id. Raises DecodeError."""
    readings: "list[Reading]" = []
    packet_id = None
    seen: "dict[str, int]" = {}
    at = 0
    while at < len(objects):
        kind = objects[at]
        size = _size(kind, objects, at)
        if size is None:
            return readings, packet_id, kind
        begin = at + (2 if kind in (TEXT, RAW) else 1)
        at = begin + size
        if at > len(objects):
            raise TruncatedError(SUBJECT, at, len(objects))
        value = objects[begin:at]
        if kind == PACKET_ID:
            packet_id = value[0]
            continue
        item = _reading(kind, value)
        seen[item.metric] = seen.get(item.metric, 0) + 1
        if item.value is None and item.quality == GOOD:
            continue  # an event that did not happen still counts: it tells the second button from the first
        if seen[item.metric] > 1:
            item = reading(f"{item.metric}_{seen[item.metric]}", item.value, item.unit, item.quality)
        readings.append(item)
    return readings, packet_id, None


def _size(kind: int, objects: bytes, at: int) -> "int | None":
    """Bytes of the value, or None for an unknown id."""
    if kind in (TEXT, RAW):
        if at + 1 >= len(objects):
            raise TruncatedError(SUBJECT, at + 2, len(objects))
        return objects[at + 1]
    if kind in NUMBERS:
        return NUMBERS[kind].size
    if kind in VERSIONS:
        return VERSIONS[kind]
    if kind == DIMMER:
        return 2
    return 1 if kind in STATES or kind in (PACKET_ID, BUTTON) else None


def _reading(kind: int, value: bytes) -> "Reading":
    if kind in NUMBERS:
        return _number(NUMBERS[kind], value)
    if kind in STATES:
        if value[0] > 1:
            return reading(STATES[kind], None, "", BAD_INVALID)
        return reading(STATES[kind], value[0] == 1, "")
    if kind == BUTTON:
        return reading("button", BUTTON_EVENTS.get(value[0], f"code_{value[0]}") if value[0] else None, "")
    if kind == DIMMER:
        if value[0] > 2:
            return reading("dimmer", None, "1", BAD_INVALID)
        return reading("dimmer", (None, -value[1], value[1])[value[0]], "1")
    if kind in VERSIONS:
        return reading("firmware_version", ".".join([str(part) for part in reversed(list(value))]), "")
    if kind == RAW:
        return reading("raw", value.hex(), "")
    try:
        return reading("text", value.decode("utf-8"), "")
    except UnicodeError:
        raise DecodeError(SUBJECT, "its text is not UTF-8") from None


def _number(number: "Number", value: bytes) -> "Reading":
    raw = int.from_bytes(value, "little")
    if number.signed and raw >> (8 * number.size - 1):
        raw -= 1 << (8 * number.size)
    if number.most is not None and raw > number.most:
        return reading(number.metric, None, number.unit, BAD_RANGE)
    scaled = raw * number.step
    return reading(number.metric, DecimalFraction(scaled, number.exponent) if number.exponent else scaled, number.unit)


def _object(item: "Reading") -> bytes:
    """The object of a reading: the first that carries it exactly, and if there is one, with its decimal places."""
    for kind, metric in STATES.items():
        if metric == item.metric and (item.value is True or item.value is False):
            return bytes([kind, 1 if item.value else 0])
    places = item.value.exponent if isinstance(item.value, DecimalFraction) else 0
    for _, kind in sorted([(number.exponent != places, kind) for kind, number in NUMBERS.items()]):
        number = NUMBERS[kind]
        if (number.metric, number.unit) == (item.metric, item.unit):
            raw = _raw(number, item.value)
            if raw is not None:
                return bytes([kind]) + (raw & ((1 << (8 * number.size)) - 1)).to_bytes(number.size, "little")
    raise EncodeError(SUBJECT, f"has no object for {item.metric} {item.value!r} {item.unit}")


def _raw(number: "Number", value: object) -> "int | None":
    """The value in the object's steps, or None if it is no whole number of them or does not fit."""
    if isinstance(value, DecimalFraction):
        mantissa, exponent = value
    elif isinstance(value, int) and not isinstance(value, bool):
        mantissa, exponent = value, 0
    else:
        return None
    shift = exponent - number.exponent
    numerator, divisor = (mantissa * 10**shift, number.step) if shift >= 0 else (mantissa, number.step * 10**-shift)
    if numerator % divisor:
        return None
    raw = int(numerator // divisor)
    bits = 8 * number.size
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if number.signed else (0, (1 << bits) - 1)
    if number.most is not None:
        most = min(most, number.most)
    return raw if least <= raw <= most else None
