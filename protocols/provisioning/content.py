"""What is asked and told once the line is sealed, as JSON.

{"ask": "describe"}                            -> {"board": "kerb-wearable", "firmware": "0.1.0", "key": hex}
{"ask": "provision", "config": {...},
 "certificate": hex, "ca": hex}                -> {"state": "done"} or {"state": "refused", "reason": "..."}

`key` is the public half of the device's own key, an uncompressed point of P-256; the certificates are DER. A request
that is refused has changed nothing.
"""

import binascii
import json
from collections import namedtuple

from ..errors import DecodeError
from ..identity import POINT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    class Description(NamedTuple):
        """What a device says of itself: the board that it is, its firmware's version, its public key."""

        board: str
        firmware: str
        key: bytes

    class Provision(NamedTuple):
        """What a device is given: its config (see firmware/core/config.py), and what its gateway admits it by."""

        config: "dict[str, Any]"
        certificate: bytes
        ca: bytes

else:
    Description = namedtuple("Description", ("board", "firmware", "key"))
    Provision = namedtuple("Provision", ("config", "certificate", "ca"))

SUBJECT = "provisioning request"
DESCRIBE = b'{"ask": "describe"}'
_MOST_REASON = 300
_DONE = b'{"state": "done"}'


def encode_provision(provision: Provision) -> bytes:
    """The request to take this."""
    request = {
        "ask": "provision",
        "config": provision.config,
        "certificate": _hex(provision.certificate),
        "ca": _hex(provision.ca),
    }
    return json.dumps(request).encode()


def decode_request(body: bytes) -> "Provision | None":
    """What the device shall take; None if it shall describe itself. Raises DecodeError."""
    request = _object(body)
    if request.get("ask") == "describe":
        return None
    if request.get("ask") != "provision" or not isinstance(request.get("config"), dict):
        raise DecodeError(SUBJECT, "asks neither to describe nor to provision with a config")
    return Provision(request["config"], _bytes(request, "certificate"), _bytes(request, "ca"))


def encode_description(description: Description) -> bytes:
    """What the device answers."""
    told = {"board": description.board, "firmware": description.firmware, "key": _hex(description.key)}
    return json.dumps(told).encode()


def decode_description(body: bytes) -> Description:
    """What the device has answered. Raises DecodeError."""
    told = _object(body)
    board, firmware, key = told.get("board"), told.get("firmware"), _bytes(told, "key")
    if not isinstance(board, str) or not isinstance(firmware, str) or len(key) != POINT_BYTES:
        raise DecodeError(SUBJECT, "is answered without board, firmware and public key")
    return Description(board, firmware, key)


def encode_result(reason: str = "") -> bytes:
    """How it ended: done, or refused for a reason."""
    return json.dumps({"state": "refused", "reason": reason[:_MOST_REASON]}).encode() if reason else _DONE


def decode_result(body: bytes) -> str:
    """Why the device refuses; empty if it is done. Raises DecodeError."""
    told = _object(body)
    reason = told.get("reason", "")
    if told.get("state") == "done":
        return ""
    if told.get("state") != "refused" or not isinstance(reason, str) or not reason:
        raise DecodeError(SUBJECT, "is answered by neither done nor refused")
    return reason[:_MOST_REASON]


def _object(body: bytes) -> "dict[str, Any]":
    try:
        content = json.loads(body.decode())
    except (ValueError, RuntimeError) as error:
        raise DecodeError(SUBJECT, "is not JSON") from error
    if not isinstance(content, dict):
        raise DecodeError(SUBJECT, "is not a JSON object")
    return content


def _bytes(content: "dict[str, Any]", name: str) -> bytes:
    try:
        return bytes.fromhex(content[name])
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(SUBJECT, name + " is missing or not hex") from error


def _hex(data: bytes) -> str:
    return binascii.hexlify(data).decode()
