"""The cursor message: what a receiver has stored of one sender's lane. JSON, retained.

{"session": "9f3c", "epochs": {"1234567890123": 42}}: the receiver's session (new at each start) and, per open epoch,
the highest seq that it has committed.
"""

import json

from .custody import MAX_EPOCH
from .errors import DecodeError

_MAX_BYTES = 65536


def encode(session: str, stored: dict[int, int]) -> bytes:
    """The message's bytes."""
    return json.dumps({"session": session, "epochs": {str(epoch): seq for epoch, seq in stored.items()}}).encode()


def decode(data: bytes) -> tuple[str, dict[int, int]]:
    """The session and the highest stored seq per epoch. Raises DecodeError."""
    if len(data) > _MAX_BYTES:
        raise DecodeError("cursor", f"{len(data)} bytes are too many")
    try:
        message = json.loads(data)
        session = message["session"]
        stored = {int(epoch): seq for epoch, seq in message["epochs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:  # RuntimeError: nested too deeply
        raise DecodeError("cursor", f"not a cursor message: {error}") from None
    if not isinstance(session, str):
        raise DecodeError("cursor", "the session is not text")
    for epoch, seq in stored.items():
        if not isinstance(seq, int) or seq < 0 or not 0 <= epoch < MAX_EPOCH:
            raise DecodeError("cursor", f"epoch {epoch}: {seq} is no seq")
    return session, stored
