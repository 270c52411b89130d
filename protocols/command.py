"""Commands: what is told to a thing, how it ends, and the messages that say so. Pure; JSON on the wire.

A command has a key that is its sender's own: whoever is told the same key again answers with the same end, and never
acts again. It ends in exactly one of DONE, REFUSED (nothing was done), EXPIRED (nothing was done in time) and FAILED
(something may have been done), the last three with the reason.
"""

import json
from collections import namedtuple

from .errors import DecodeError
from .topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from .reading import Value

    class Request(NamedTuple):
        """What shall be done: the command of that name in the device's file, before `expires_ms` (Unix)."""

        key: str
        thing: str
        command: str
        value: "bool | int | float | str | None"
        expires_ms: int

    class Result(NamedTuple):
        """How it ended; `value` is what was read back, None where the device tells nothing."""

        key: str
        state: str
        reason: str
        value: "Value"
        time_ms: int

else:
    Request = namedtuple("Request", ("key", "thing", "command", "value", "expires_ms"))
    Result = namedtuple("Result", ("key", "state", "reason", "value", "time_ms"))

QUEUED = "queued"
STARTED = "started"
DONE = "done"
REFUSED = "refused"
EXPIRED = "expired"
FAILED = "failed"
FINAL = (DONE, REFUSED, EXPIRED, FAILED)

# From each state to which: whatever else is asked for is a mistake of ours.
_NEXT = {QUEUED: (STARTED, REFUSED, EXPIRED), STARTED: (DONE, REFUSED, FAILED)}

MAX_BYTES = 4096
_MAX_TIME_MS = 1 << 53
_MAX_REASON = 300


def check_step(before: str, after: str) -> None:
    """Raises ValueError unless a command may go from the one state to the other."""
    if after not in _NEXT.get(before, ()):
        raise ValueError(f"a command that is {before} cannot become {after}")


def is_repetition(request: "Request", known: "Request") -> bool:
    """Whether it asks for the same under the same key; it may have another expiry, and the first one counts."""
    return request._replace(expires_ms=known.expires_ms) == known


def encode_request(request: "Request") -> bytes:
    """The message of a request."""
    return json.dumps(
        {
            "key": request.key,
            "thing": request.thing,
            "command": request.command,
            "value": request.value,
            "expires_ms": request.expires_ms,
        }
    ).encode()


def decode_request(data: bytes) -> "Request":
    """The request in a message. Raises DecodeError."""
    message = _object("command", data)
    for name in ("key", "thing", "command"):
        if not isinstance(message.get(name), str) or not is_id(message[name]):
            raise DecodeError("command", f"{name} is not 1 to 64 of A-Z a-z 0-9 _ -")
    value = message.get("value")
    if not _is_value(value):
        raise DecodeError("command", "value is neither text nor a number of 64 bits")
    expires_ms = message.get("expires_ms")
    if not isinstance(expires_ms, int) or isinstance(expires_ms, bool) or not 0 < expires_ms < _MAX_TIME_MS:
        raise DecodeError("command", "expires_ms is no time in Unix milliseconds")
    return Request(message["key"], message["thing"], message["command"], value, expires_ms)


def encode_result(result: "Result") -> bytes:
    """The message of a result."""
    return json.dumps(
        {
            "key": result.key,
            "state": result.state,
            "reason": result.reason[:_MAX_REASON],
            "value": result.value,
            "time_ms": result.time_ms,
        }
    ).encode()


def decode_result(data: bytes) -> "Result":
    """The result in a message. Raises DecodeError."""
    message = _object("result", data)
    key, state, reason, time_ms = [message.get(name) for name in ("key", "state", "reason", "time_ms")]
    if not isinstance(key, str) or not is_id(key) or state not in FINAL or not isinstance(reason, str):
        raise DecodeError("result", "key, state or reason are not as they must be")
    if not isinstance(time_ms, int) or isinstance(time_ms, bool) or not 0 <= time_ms < _MAX_TIME_MS:
        raise DecodeError("result", "time_ms is no time in Unix milliseconds")
    value = message.get("value")
    if not _is_value(value):
        raise DecodeError("result", "value is neither text nor a number of 64 bits")
    return Result(key, state, reason[:_MAX_REASON], value, time_ms)


def _is_value(value: object) -> bool:
    """Python's JSON reads NaN, infinities and integers of any length: no device can be told one of those."""
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, int):
        return abs(value) < 1 << 64
    return value is None or isinstance(value, str)


def _object(subject: str, data: bytes) -> dict:  # type: ignore[type-arg]  # MicroPython cannot subscript dict here
    if len(data) > MAX_BYTES:
        raise DecodeError(subject, f"{len(data)} bytes are too many")
    try:
        message = json.loads(data)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply, on MicroPython too
        raise DecodeError(subject, "is not JSON") from None
    if not isinstance(message, dict):
        raise DecodeError(subject, "is not a JSON object")
    return message
