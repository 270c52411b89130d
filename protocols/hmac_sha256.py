"""HMAC-SHA-256 (RFC 2104) and HKDF with it (RFC 5869), where there is SHA-256 and no more."""

import hashlib

SIZE = 32
_BLOCK = 64
_INNER, _OUTER = 0x36, 0x5C


def hmac(key: bytes, *parts: bytes) -> bytes:
    """The code of the parts, as if they were one text."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key += bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes([byte ^ _INNER for byte in key]))
    for part in parts:
        inner.update(part)
    return hashlib.sha256(bytes([byte ^ _OUTER for byte in key]) + inner.digest()).digest()


def extract(salt: bytes, secret: bytes) -> bytes:
    """A key that is as good as the secret is (section 2.2)."""
    return hmac(salt, secret)


def expand(key: bytes, info: bytes, size: int) -> bytes:
    """So many bytes of keys for this purpose, at most 255 hashes of them (section 2.3)."""
    block, whole = b"", b""
    while len(whole) < size:
        block = hmac(key, block, info, bytes([len(whole) // SIZE + 1]))
        whole += block
    return whole[:size]


def same(one: bytes, other: bytes) -> bool:
    """Whether two codes are equal, without telling by the time it takes where they differ."""
    if len(one) != len(other):
        return False
    difference = 0
    for place in range(len(one)):
        difference |= one[place] ^ other[place]
    return difference == 0
