"""Tallies by lane: what was read and suppressed of each thing since an epoch began. Pure; JSON.

They stand in a gateway's status, and in the message by which the hub gives back to a gateway what it knows of the epoch
before: one that was killed may not have on disk what it had already sent.

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
        name: decode_tallies("tally", table) for name, table in lanes.items()
    }


def decode_tallies(subject: str, table: object) -> dict[str, tuple[int, int]]:
    """{thing: (read, suppressed)} out of a message. Raises DecodeError."""
    if not isinstance(table, dict) or len(table) > _MAX_THINGS:
        raise DecodeError(subject, "tallies are not a table of at most " + str(_MAX_THINGS) + " things")
    found = {}
    for thing, tally in table.items():
        if not is_id(thing):
            raise DecodeError(subject, repr(thing[:80]) + " is no id of a thing")
        read, suppressed = numbers(subject, "the tally of " + thing, tally, 2)
        if suppressed > read:
            raise DecodeError(subject, thing + " has suppressed more than it read")
        found[thing] = (read, suppressed)
    return found


def json_object(subject: str, data: bytes, max_bytes: int) -> dict:  # type: ignore[type-arg]  # MicroPython, as below
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
