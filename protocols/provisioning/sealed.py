"""The keys of a session, and the channel that they make: encrypt, then authenticate.

AES comes from outside, as `encrypt(key, blocks)`: each block of 16 bytes by itself (ECB), which every port has. Counter
mode (NIST SP 800-38A, 6.5) is made of it here: not all ports have that.
"""

import hashlib
import struct
from collections import namedtuple

from ..errors import RefusedError
from ..hmac_sha256 import expand, extract, hmac, same
from .wire import DAMAGED, SEALED, TAG_BYTES, VERSION, expect, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple

    Encrypt = Callable[[bytes, bytes], bytes]

    class Direction(NamedTuple):
        """What one side sends by."""

        proof: bytes
        cipher: bytes
        code: bytes

else:
    Direction = namedtuple("Direction", ("proof", "cipher", "code"))

SECRET_BYTES = 16
_CIPHER, _CODE, _PROOF = 16, 32, 32
_EACH = _PROOF + _CIPHER + _CODE
_BLOCK = 16
_AT_ONCE = 512  # bytes; a device has little memory
_LABEL = b"kerb provisioning"


class Keys:
    """The keys of one session, of the secret and of what both sides said in the open; `transcript` is its hash."""

    def __init__(self, secret: bytes, nonces: bytes, hello: bytes, challenge: bytes):
        # The first message is of fixed size, so the two cannot be taken for two others.
        self.transcript = hashlib.sha256(hello + challenge).digest()
        key = extract(nonces, secret)
        made = expand(key, _LABEL + bytes([VERSION]) + self.transcript, 2 * _EACH)
        self.technician = _direction(made[:_EACH])
        self.device = _direction(made[_EACH:])

    def proof(self, direction: Direction) -> bytes:
        """What shows that this side knows the secret, in this session only."""
        return hmac(direction.proof, self.transcript)


class Channel:
    """What one side sends and takes once both have proven themselves."""

    def __init__(self, sends: Direction, takes: Direction, encrypt: "Encrypt"):
        self._sends = sends
        self._takes = takes
        self._encrypt = encrypt
        self._sent = 0
        self._taken = 0

    def seal(self, body: bytes) -> bytes:
        """A message that the other side alone can read. Raises EncodeError if it is too long."""
        text = _counter_mode(self._encrypt, self._sends.cipher, self._sent, body)
        message = join(SEALED, text, _tag(self._sends, self._sent, text))
        self._sent += 1
        return message

    def open(self, message: bytes) -> bytes:
        """What the other side has sealed. Raises RefusedError if it was not its next message; DecodeError."""
        rest = expect(SEALED, message)
        text, tag = rest[:-TAG_BYTES], rest[-TAG_BYTES:]
        if not same(tag, _tag(self._takes, self._taken, text)):
            raise RefusedError(DAMAGED)
        body = _counter_mode(self._encrypt, self._takes.cipher, self._taken, text)
        self._taken += 1
        return body


def _direction(made: bytes) -> Direction:
    return Direction(made[:_PROOF], made[_PROOF : _PROOF + _CIPHER], made[_PROOF + _CIPHER :])


def _tag(direction: Direction, number: int, text: bytes) -> bytes:
    return hmac(direction.code, struct.pack(">Q", number), text)[:TAG_BYTES]


def _counter_mode(encrypt: "Encrypt", key: bytes, number: int, data: bytes) -> bytes:
    """Encrypt or decrypt the message of this number; a counter block is the message's number and the block's."""
    pieces = []
    for start in range(0, len(data), _AT_ONCE):
        piece = data[start : start + _AT_ONCE]
        blocks = [struct.pack(">QQ", number, (start + at) // _BLOCK) for at in range(0, len(piece), _BLOCK)]
        stream = encrypt(key, b"".join(blocks))[: len(piece)]
        mixed = int.from_bytes(piece, "big") ^ int.from_bytes(stream, "big")
        pieces.append(mixed.to_bytes(len(piece), "big"))
    return b"".join(pieces)
