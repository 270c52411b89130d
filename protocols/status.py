"""The status message: what a gateway holds that the hub has not confirmed, and its counts. Pure; JSON, retained.

It tells the hub what no pack can: how much waits, since when, and what was suppressed though nothing was sent. Counts
are cumulative and times Unix milliseconds, so that any message stands for all before it.
"""

import json
from collections import namedtuple

from .custody import MAX_EPOCH
from .errors import DecodeError
from .tally import json_object, lanes_of, number, numbers, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Counts(NamedTuple):
        """What was read and suppressed of all things on a lane in an epoch, as far as a power cut would not undo it."""

        epoch: int
        read: int
        suppressed: int

    class Lane(NamedTuple):
        """counts: of the epochs of which something is held, and of the newest, which comes last. readings: how many
        are held; oldest_ms: when the oldest of them was made, None if there is none.
        """

        counts: "list[Counts]"
        readings: int
        oldest_ms: "int | None"

    class Sample(NamedTuple):
        """How many readings were held at a time, and the time of the oldest of them."""

        time_ms: int
        readings: int
        oldest_ms: "int | None"

    class Status(NamedTuple):
        """lost: readings in gap records that the hub has not confirmed. failure: why the outbox
        cannot be written, empty if it can. past: samples from before, oldest first, for a hub that may have missed
        them.
        """

        time_ms: int
        lanes: "dict[str, Lane]"
        lost: int
        bytes_held: int
        max_bytes: int
        failure: str
        past: "list[Sample]"

else:
    Counts = namedtuple("Counts", ("epoch", "read", "suppressed"))
    Lane = namedtuple("Lane", ("counts", "readings", "oldest_ms"))
    Sample = namedtuple("Sample", ("time_ms", "readings", "oldest_ms"))
    Status = namedtuple("Status", ("time_ms", "lanes", "lost", "bytes_held", "max_bytes", "failure", "past"))

MAX_BYTES = 200_000
MAX_EPOCHS = 64  # of a lane, the newest
MAX_PAST = 1440  # a day by the minute
_MAX_REASON = 300


def encode(status: "Status") -> bytes:
    """The message's bytes."""
    return json.dumps(
        {
            "time_ms": status.time_ms,
            "lanes": {
                name: {
                    "counts": [list(counts) for counts in lane.counts],
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
    message = json_object("status", data, MAX_BYTES)
    failure = message.get("failure")
    if not isinstance(failure, str):
        raise DecodeError("status", "failure is no text")
    held, most = numbers("status", "bytes", message.get("bytes"), 2)
    return Status(
        _number("time_ms", message.get("time_ms")),
        {name: _lane(name, lane) for name, lane in lanes_of("status", message).items()},
        _number("lost", message.get("lost")),
        held,
        most,
        failure[:_MAX_REASON],
        [_sample(row) for row in rows("status", "past", message.get("past"), MAX_PAST, 3)],
    )


def _lane(name: str, lane: object) -> "Lane":
    if not isinstance(lane, dict):
        raise DecodeError("status", name + " is not a JSON object")
    return Lane(
        [_counts(name, row) for row in rows("status", name + " counts", lane.get("counts"), MAX_EPOCHS, 3)],
        _number(name + " readings", lane.get("readings")),
        _time("the oldest of " + name, lane.get("oldest_ms")),
    )


def _counts(name: str, row: "list[object]") -> "Counts":
    epoch, read, suppressed = row
    counts = Counts(
        number("status", "an epoch of " + name, epoch, MAX_EPOCH),
        _number("what was read of " + name, read),
        _number("what was suppressed of " + name, suppressed),
    )
    if counts.suppressed > counts.read:
        raise DecodeError("status", name + " has suppressed more than it read")
    return counts


def _sample(row: "list[object]") -> "Sample":
    time_ms, readings, oldest_ms = row
    return Sample(
        _number("a past time", time_ms),
        _number("past readings", readings),
        _time("the oldest of the past", oldest_ms),
    )


def _time(name: str, value: object) -> "int | None":
    return None if value is None else _number(name, value)


def _number(name: str, value: object) -> int:
    return number("status", name, value)
