"""Verifies a signature of ECDSA on P-256 with SHA-256 (FIPS 186-5, 6.4.2), in steps: a board reckons for a second."""

import hashlib

from firmware.core import p256
from protocols.errors import SignatureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE_BYTES = 2 * p256.BYTES
_SUBJECT = "ECDSA signature"
_INFINITY = (0, 1, 0)


def steps(point: bytes, message: bytes, signature: bytes) -> "Iterator[None]":
    """Verify; each step takes some milliseconds. Raises SignatureError.

    point: the public key, uncompressed, 65 bytes. signature: r and s, 32 bytes each (not DER).
    """
    key = _key(point)
    r, s = (int.from_bytes(signature[at : at + p256.BYTES], "big") for at in (0, p256.BYTES))
    if len(signature) != SIGNATURE_BYTES or not 0 < r < p256.N or not 0 < s < p256.N:
        raise SignatureError(_SUBJECT, "is not two numbers of the curve's order")
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(s, p256.N - 2, p256.N)
    of_base, of_key = digest * inverse % p256.N, r * inverse % p256.N
    table = (_INFINITY, p256.BASE, key, p256.add(p256.BASE, key))
    total = _INFINITY
    for place in range(8 * p256.BYTES - 1, -1, -1):
        total = p256.double(total)
        bits = (of_base >> place & 1) + 2 * (of_key >> place & 1)
        if bits:
            total = p256.add(total, table[bits])
        yield
    x, _, z = total
    if not z or ((x - r * z * z) % p256.P and (r + p256.N >= p256.P or (x - (r + p256.N) * z * z) % p256.P)):
        raise SignatureError(_SUBJECT, "was not made with this key for this message")


def _key(point: bytes) -> "tuple[int, int, int]":
    if len(point) != 1 + 2 * p256.BYTES or point[0] != 4:
        raise SignatureError("ECDSA key", "is not an uncompressed point of P-256")
    x, y = (int.from_bytes(point[at : at + p256.BYTES], "big") for at in (1, 1 + p256.BYTES))
    if x >= p256.P or y >= p256.P or (y * y - x * (x * x - 3) - p256.B) % p256.P:
        raise SignatureError("ECDSA key", "is not a point of P-256")
    return x, y, 1
