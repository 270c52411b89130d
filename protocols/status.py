"""The status message: what a gateway holds that the hub has not confirmed, and its counts. Pure; JSON, retained.

It tells the hub what no pack can: how much waits, since when, and what was suppressed though nothing was sent. Counts
are cumulative and times Unix milliseconds, so that any message stands for all before it.
"""

import json
from collections import namedtuple

from .custody import MAX_EPOCH
from .errors import DecodeError
from .tally import decode_tallies, json_object, lanes_of, number, numbers

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
_MAX_REASON = 300


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
    message = json_object("status", data, MAX_BYTES)
    failure = message.get("failure")
    if not isinstance(failure, str):
        raise DecodeError("status", "failure is no text")
    held, most = numbers("status", "bytes", message.get("bytes"), 2)
    return Status(
        _number("time_ms", message.get("time_ms")),
        number("status", "epoch", message.get("epoch"), MAX_EPOCH),
        {name: _lane(name, lane) for name, lane in lanes_of("status", message).items()},
        _number("lost", message.get("lost")),
        held,
        most,
        failure[:_MAX_REASON],
        _past(message.get("past")),
    )


def _lane(name: str, lane: object) -> "Lane":
    if not isinstance(lane, dict):
        raise DecodeError("status", name + " is not a JSON object")
    return Lane(
        decode_tallies("status", lane.get("tallies")),
        _number(name + " readings", lane.get("readings")),
        _time("the oldest of " + name, lane.get("oldest_ms")),
    )


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


def _number(name: str, value: object) -> int:
    return number("status", name, value)
