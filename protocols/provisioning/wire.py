"""The messages of provisioning: a byte that says which kind, then fields of fixed size, and at most one of any size."""

import struct

from ..errors import DecodeError, EncodeError, RefusedError
from ..topics import is_id

SUBJECT = "provisioning message"
VERSION = 1
NONCE_BYTES = 16
PROOF_BYTES = 32
TAG_BYTES = 16
MOST_BODY = 6144  # of a sealed message: a config with its certificates; a device holds it several times over
MOST_MESSAGE = 1 + MOST_BODY + TAG_BYTES
_MOST_ID = 64

HELLO, CHALLENGE, PROOF, ANSWER, SEALED, REFUSED = 1, 2, 3, 4, 5, 6
_SIZES = {  # fewest and most bytes behind the kind
    HELLO: (1 + NONCE_BYTES, 1 + NONCE_BYTES),
    CHALLENGE: (NONCE_BYTES + 1, NONCE_BYTES + _MOST_ID),
    PROOF: (PROOF_BYTES, PROOF_BYTES),
    ANSWER: (PROOF_BYTES, PROOF_BYTES),
    SEALED: (TAG_BYTES, MOST_BODY + TAG_BYTES),
    REFUSED: (3, 3),
}

# Why a session ends. Anybody on the line can say so, and it reveals nothing.
WAIT, WRONG_PROOF, OTHER_VERSION, OUT_OF_TURN, DAMAGED = "wait", "proof", "version", "turn", "damaged"
REASONS = (WAIT, WRONG_PROOF, OTHER_VERSION, OUT_OF_TURN, DAMAGED)


def split(message: bytes) -> "tuple[int, bytes]":
    """A message's kind, and what is behind it. Raises DecodeError."""
    kind = message[0] if message else 0
    if kind not in _SIZES:
        raise DecodeError(SUBJECT, f"is of the unknown kind {kind}" if message else "is empty")
    fewest, most = _SIZES[kind]
    if not fewest <= len(message) - 1 <= most:
        raise DecodeError(SUBJECT, f"of kind {kind} has {len(message) - 1} bytes, not {fewest} to {most}")
    return kind, message[1:]


def expect(wanted: int, message: bytes) -> bytes:
    """What is behind the kind, which must be this one. Raises RefusedError if the other side refuses; DecodeError."""
    kind, rest = split(message)
    if kind == REFUSED:
        raise decode_refused(rest)
    if kind != wanted:
        raise DecodeError(SUBJECT, f"is of kind {kind} in place of {wanted}")
    return rest


def join(kind: int, *fields: bytes) -> bytes:
    """A message of this kind. Raises EncodeError if the fields are too long."""
    message = bytes([kind]) + b"".join(fields)
    fewest, most = _SIZES[kind]
    if not fewest <= len(message) - 1 <= most:
        raise EncodeError(SUBJECT, f"of kind {kind} would have {len(message) - 1} bytes, not {fewest} to {most}")
    return message


def decode_challenge(rest: bytes) -> "tuple[bytes, str]":
    """The nonce and the device's id. Raises DecodeError."""
    try:
        device = rest[NONCE_BYTES:].decode()
    except UnicodeError as error:
        raise DecodeError(SUBJECT, "has a device id that is no text") from error
    if not is_id(device):
        raise DecodeError(SUBJECT, "has a device id with other characters than A-Z a-z 0-9 _ -")
    return rest[:NONCE_BYTES], device


def encode_refused(reason: str, wait_s: int = 0) -> bytes:
    """Tell why the session has ended, and how long to wait."""
    return join(REFUSED, struct.pack(">BH", REASONS.index(reason), min(wait_s, 0xFFFF)))


def decode_refused(rest: bytes) -> RefusedError:
    """What the other side, or somebody in its name, says. Raises DecodeError."""
    code, wait_s = struct.unpack(">BH", rest)
    if code >= len(REASONS):
        raise DecodeError(SUBJECT, f"refuses for the unknown reason {code}")
    return RefusedError(REASONS[code], wait_s)
