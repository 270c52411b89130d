"""How a simulated board talks to its simulated radio: one JSON array a line; bytes are {"hex": "..."}.

From the board: ["call", name, [arguments]], answered by ["done", value] or ["failed", errno]; and ["answer", value].
From the radio, besides: ["event", number, [data]], and ["ask", number, [data]], which wants that answer at once.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALL, DONE, FAILED, EVENT, ASK, ANSWER = "call", "done", "failed", "event", "ask", "answer"
LONGEST = 65536  # bytes of a line
_STATIC = 0xC0  # the two bits that make a random address a static one


def address_of(serial: bytes) -> bytes:
    """The Bluetooth address of a board with this serial number, highest byte first."""
    return bytes([serial[0] | _STATIC]) + serial[1:6]


def encode(message: "list[Any]") -> bytes:
    """The line."""
    return (json.dumps(_without_bytes(message)) + "\n").encode()


def decode(line: bytes) -> "list[Any]":
    """The message in a line. Raises ValueError."""
    message = _with_bytes(json.loads(line))
    if not isinstance(message, list) or not message:
        raise ValueError("no message")
    return message


def _without_bytes(value: "Any") -> "Any":
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, (list, tuple)):
        return [_without_bytes(each) for each in value]
    return value


def _with_bytes(value: "Any") -> "Any":
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(value, list):
        return [_with_bytes(each) for each in value]
    return value
