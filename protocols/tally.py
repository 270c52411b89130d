"""Tallies by lane: what was read and suppressed of each thing since an epoch began. Pure; JSON.

The hub gives back to a gateway what it knows of the epoch before: one that was killed may not have on disk what it had
already sent.

{"epoch": 824330232528897, "lanes": {"urgent": {}, "bulk": {"meter-1": [1200, 900]}}}
"""

import json

from .custody import MAX_EPOCH
from .errors import DecodeError
from .topics import LANES, is_id

MAX_BYTES = 800_000
MAX_NUMBER = 1 << 53
_MAX_THINGS = 2000


def encode(epoch: int, lanes: dict[str, dict[str, tuple[int, int]]]) -> bytes:
    """The message's bytes."""
    return json.dumps({"epoch": epoch, "lanes": lanes}).encode()


def decode(data: bytes) -> tuple[int, dict[str, dict[str, tuple[int, int]]]]:
    """The epoch, and {thing: (read, suppressed)} by lane. Raises DecodeError."""
    message = json_object("tally", data, MAX_BYTES)
    lanes = lanes_of("tally", message)
    return number("tally", "epoch", message.get("epoch"), MAX_EPOCH), {
        name: _tallies(table) for name, table in lanes.items()
    }


def _tallies(table: object) -> dict[str, tuple[int, int]]:
    if not isinstance(table, dict) or len(table) > _MAX_THINGS:
        raise DecodeError("tally", "a lane is not a table of at most " + str(_MAX_THINGS) + " things")
    found = {}
    for thing, tally in table.items():
        if not is_id(thing):
            raise DecodeError("tally", repr(thing[:80]) + " is no id of a thing")
        read, suppressed = numbers("tally", thing, tally, 2)
        if suppressed > read:
            raise DecodeError("tally", thing + " has suppressed more than it read")
        found[thing] = (read, suppressed)
    return found


def json_object(subject: str, data: bytes, max_bytes: int) -> dict:  # type: ignore[type-arg]  # see below
    """The JSON object in a message. Raises DecodeError."""
    if len(data) > max_bytes:
        raise DecodeError(subject, str(len(data)) + " bytes are too many")
    try:
        message = json.loads(data)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deep
        raise DecodeError(subject, "is not JSON") from None
    if not isinstance(message, dict):
        raise DecodeError(subject, "is not a JSON object")
    return message


def lanes_of(subject: str, message: dict) -> dict:  # type: ignore[type-arg]  # MicroPython cannot subscript dict here
    """What stands under each of the lanes. Raises DecodeError unless it is these and no others."""
    lanes = message.get("lanes")
    if not isinstance(lanes, dict) or set(lanes) != set(LANES):
        raise DecodeError(subject, "lanes are not " + " and ".join(LANES))
    return lanes


def rows(subject: str, name: str, values: object, most: int, width: int) -> list:  # type: ignore[type-arg]
    """At most so many lists of that width. Raises DecodeError."""
    if not isinstance(values, list) or len(values) > most:
        raise DecodeError(subject, name + " is not a list of at most " + str(most))
    for row in values:
        if not isinstance(row, list) or len(row) != width:
            raise DecodeError(subject, name + " has a row that is not of " + str(width))
    return values


def numbers(subject: str, name: str, values: object, count: int) -> list[int]:
    """So many numbers. Raises DecodeError."""
    if not isinstance(values, list) or len(values) != count:
        raise DecodeError(subject, name + " is not a list of " + str(count))
    return [number(subject, name, value) for value in values]


def number(subject: str, name: str, value: object, limit: int = MAX_NUMBER) -> int:
    """A count or a time, below the limit. Raises DecodeError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise DecodeError(subject, name + " is missing or out of range")
    return value
