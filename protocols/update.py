"""Messages of a firmware update between a gateway and a device; the images themselves are those of image.py.

The gateway offers (JSON, topic `offer`): which image, and how long its manifest, signature and patch are. The device
asks for pieces of these three, one behind the other, at its own pace (JSON, topic `update`), and is answered with parts
(topic `part`): id and place in four bytes each, big endian, then the bytes; none where the image ends before that
place. At last it says what has become of the offer, on the topic `update` too.
"""

import json
import struct
from collections import namedtuple

from .errors import DecodeError, TruncatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Offer(NamedTuple):
        """An image: `id` of its bytes (32 bits), the version that it makes, the one it is a patch against (0: none)."""

        id: int
        version: int
        base: int
        manifest_bytes: int
        signature_bytes: int
        patch_bytes: int

    class Step(NamedTuple):
        """What the device says of an offer: WANTS `length` bytes at `at`, REFUSED with the reason, or TRIAL."""

        id: int
        state: str
        at: int
        length: int
        reason: str

    class Part(NamedTuple):
        """Bytes of an offered image from the place `at` on."""

        id: int
        at: int
        data: bytes

else:
    Offer = namedtuple("Offer", ("id", "version", "base", "manifest_bytes", "signature_bytes", "patch_bytes"))
    Step = namedtuple("Step", ("id", "state", "at", "length", "reason"))
    Part = namedtuple("Part", ("id", "at", "data"))

WANTS, REFUSED, TRIAL = "wants", "refused", "trial"
MAX_VERSION = 1 << 30
MAX_MANIFEST_BYTES = 8192
MAX_SIGNATURE_BYTES = 8192
MAX_IMAGE_BYTES = 1 << 21
MAX_PART_BYTES = 4096
_OFFER, _STEP, _PART = "update offer", "update step", "update part"
_HEAD = ">II"
_MAX_BYTES = 1024
_MAX_REASON = 200
_END = MAX_MANIFEST_BYTES + MAX_SIGNATURE_BYTES + MAX_IMAGE_BYTES
_LIMITS = (  # of an offer's fields: from, below
    (0, 1 << 32),
    (1, MAX_VERSION),
    (0, MAX_VERSION),
    (1, MAX_MANIFEST_BYTES + 1),
    (1, MAX_SIGNATURE_BYTES + 1),
    (1, MAX_IMAGE_BYTES + 1),
)


def encode_offer(offer: Offer) -> bytes:
    """The message of an offer."""
    return json.dumps(list(offer)).encode()


def decode_offer(data: bytes) -> Offer:
    """The offer in a message. Raises DecodeError."""
    fields = _loads(_OFFER, data)
    if not isinstance(fields, list) or len(fields) != len(_LIMITS):
        raise DecodeError(_OFFER, f"is not a list of {len(_LIMITS)} numbers")
    return Offer(*[_number(_OFFER, field, least, end) for field, (least, end) in zip(fields, _LIMITS)])


def encode_step(step: Step) -> bytes:
    """The message of a step."""
    return json.dumps(
        {"id": step.id, "state": step.state, "at": step.at, "length": step.length, "reason": step.reason[:_MAX_REASON]}
    ).encode()


def decode_step(data: bytes) -> Step:
    """The step in a message. Raises DecodeError."""
    message = _loads(_STEP, data)
    if not isinstance(message, dict):
        raise DecodeError(_STEP, "is not a JSON object")
    state, reason = message.get("state"), message.get("reason")
    if state not in (WANTS, REFUSED, TRIAL) or not isinstance(reason, str):
        raise DecodeError(_STEP, "state or reason are not as they must be")
    return Step(
        _number(_STEP, message.get("id"), 0, 1 << 32),
        state,
        _number(_STEP, message.get("at"), 0, _END),
        _number(_STEP, message.get("length"), 1 if state == WANTS else 0, MAX_PART_BYTES + 1),
        reason[:_MAX_REASON],
    )


def encode_part(part: Part) -> bytes:
    """The message of a part."""
    return struct.pack(_HEAD, part.id, part.at) + part.data


def decode_part(data: bytes) -> Part:
    """The part in a message. Raises DecodeError."""
    length = struct.calcsize(_HEAD)
    if len(data) < length:
        raise TruncatedError(_PART, length, len(data))
    if len(data) > length + MAX_PART_BYTES:
        raise DecodeError(_PART, f"{len(data)} bytes are too many")
    number, at = struct.unpack(_HEAD, data[:length])
    return Part(number, at, data[length:])


def _number(subject: str, number: object, least: int, end: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number < end:
        raise DecodeError(subject, f"{str(number)[:40]} is out of range")
    return number


def _loads(subject: str, data: bytes) -> object:
    if len(data) > _MAX_BYTES:
        raise DecodeError(subject, f"{len(data)} bytes are too many")
    try:
        return json.loads(data)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        raise DecodeError(subject, "is not JSON") from None
