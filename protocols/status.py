"""The status message: what a gateway holds that the hub has not confirmed, and its counts. Pure; JSON, retained.

It tells the hub what no pack can: how much waits, since when, and what was suppressed though nothing was sent. Counts
are cumulative and times Unix milliseconds, so that any message stands for all before it.
"""

import json
from collections import namedtuple

from .custody import MAX_EPOCH
from .errors import DecodeError
from .topics import LANES, is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Lane(NamedTuple):
        """tallies: {thing: (read, suppressed)} since the epoch began, as packs give them. readings: how many are held;
        oldest_ms: when the oldest of them was made, None if there is none.
        """

        tallies: dict[str, tuple[int, int]]
        readings: int
        oldest_ms: "int | None"

    class Sample(NamedTuple):
        """How many readings were held at a time, and the time of the oldest of them."""

        time_ms: int
        readings: int
        oldest_ms: "int | None"

    class Status(NamedTuple):
        """epoch: the newest. lost: readings in gap records that the hub has not confirmed. failure: why the outbox
        cannot be written, empty if it can. past: samples from before, oldest first, for a hub that may have missed
        them.
        """

        time_ms: int
        epoch: int
        lanes: "dict[str, Lane]"
        lost: int
        bytes_held: int
        max_bytes: int
        failure: str
        past: "list[Sample]"

else:
    Lane = namedtuple("Lane", ("tallies", "readings", "oldest_ms"))
    Sample = namedtuple("Sample", ("time_ms", "readings", "oldest_ms"))
    Status = namedtuple("Status", ("time_ms", "epoch", "lanes", "lost", "bytes_held", "max_bytes", "failure", "past"))

MAX_BYTES = 800_000
MAX_PAST = 1440  # a day by the minute
_MAX_THINGS = 2000
_MAX_REASON = 300
_MAX_NUMBER = 1 << 53


def encode(status: "Status") -> bytes:
    """The message's bytes."""
    return json.dumps(
        {
            "time_ms": status.time_ms,
            "epoch": status.epoch,
            "lanes": {
                name: {
                    "tallies": lane.tallies,
                    "readings": lane.readings,
                    "oldest_ms": lane.oldest_ms,
                }
                for name, lane in status.lanes.items()
            },
            "lost": status.lost,
            "bytes": [status.bytes_held, status.max_bytes],
            "failure": status.failure[:_MAX_REASON],
            "past": [list(sample) for sample in status.past],
        }
    ).encode()


def decode(data: bytes) -> "Status":
    """The status in a message. Raises DecodeError."""
    if len(data) > MAX_BYTES:
        raise DecodeError("status", f"{len(data)} bytes are too many")
    try:
        message = json.loads(data)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deep
        raise DecodeError("status", "is not JSON") from None
    if not isinstance(message, dict):
        raise DecodeError("status", "is not a JSON object")
    failure = message.get("failure")
    if not isinstance(failure, str):
        raise DecodeError("status", "failure is no text")
    held, most = _numbers("bytes", message.get("bytes"), 2)
    return Status(
        _number("time_ms", message.get("time_ms")),
        _number("epoch", message.get("epoch"), MAX_EPOCH),
        _lanes(message.get("lanes")),
        _number("lost", message.get("lost")),
        held,
        most,
        failure[:_MAX_REASON],
        _past(message.get("past")),
    )


def _tallies(table: object) -> "dict[str, tuple[int, int]]":
    if not isinstance(table, dict) or len(table) > _MAX_THINGS:
        raise DecodeError("status", "tallies are not a table of at most " + str(_MAX_THINGS) + " things")
    found = {}
    for thing, tally in table.items():
        if not is_id(thing):
            raise DecodeError("status", repr(thing[:80]) + " is no id of a thing")
        read, suppressed = _numbers("the tally of " + thing, tally, 2)
        if suppressed > read:
            raise DecodeError("status", thing + " has suppressed more than it read")
        found[thing] = (read, suppressed)
    return found


def _lanes(table: object) -> "dict[str, Lane]":
    if not isinstance(table, dict) or set(table) != set(LANES):
        raise DecodeError("status", "lanes are not " + " and ".join(LANES))
    found = {}
    for name, lane in table.items():
        if not isinstance(lane, dict):
            raise DecodeError("status", name + " is not a JSON object")
        found[name] = Lane(
            _tallies(lane.get("tallies")),
            _number(name + " readings", lane.get("readings")),
            _time("the oldest of " + name, lane.get("oldest_ms")),
        )
    return found


def _past(rows: object) -> "list[Sample]":
    if not isinstance(rows, list) or len(rows) > MAX_PAST:
        raise DecodeError("status", "past is not a list of at most " + str(MAX_PAST) + " samples")
    found = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise DecodeError("status", "a sample of the past has not three parts")
        found.append(
            Sample(
                _number("a past time", row[0]),
                _number("past readings", row[1]),
                _time("the oldest of the past", row[2]),
            )
        )
    return found


def _time(name: str, value: object) -> "int | None":
    return None if value is None else _number(name, value)


def _numbers(name: str, values: object, count: int) -> "list[int]":
    if not isinstance(values, list) or len(values) != count:
        raise DecodeError("status", name + " is not a list of " + str(count))
    return [_number(name, value) for value in values]


def _number(name: str, value: object, limit: int = _MAX_NUMBER) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise DecodeError("status", name + " is missing or out of range")
    return value
