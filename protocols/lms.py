"""Verification of HSS/LMS signatures with SHA-256 (RFC 8554): hash-based, so small, and quick enough for a board.

Parameter sets LMS_SHA256_M32_H5 to H25 with LMOTS_SHA256_N32_W1 to W8; a key of one level is HSS with L = 1.
"""

import hashlib
import struct
from collections import namedtuple

from .errors import SignatureError, TruncatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import NamedTuple

    class _Key(NamedTuple):
        """An LMS public key (section 5.3)."""

        lms_type: int
        ots_type: int
        identifier: bytes
        root: bytes

    class _Signature(NamedTuple):
        """An LMS signature (section 5.4): leaf number, randomizer, places of the chains' ends and of the path."""

        leaf: int
        randomizer: bytes
        chains: int
        path: int

    Read = Callable[[int, int], bytes]  # (place, count) -> bytes of the signature, fewer at its end

else:
    _Key = namedtuple("_Key", ("lms_type", "ots_type", "identifier", "root"))
    _Signature = namedtuple("_Signature", ("leaf", "randomizer", "chains", "path"))

_SUBJECT = "LMS signature"
_HASH_BYTES = 32
_ID_BYTES = 16
_MOST_LEVELS = 8
_HEIGHTS = {5: 5, 6: 10, 7: 15, 8: 20, 9: 25}  # by LMS type code
_OTS = {1: (265, 1, 7), 2: (133, 2, 6), 3: (67, 4, 4), 4: (34, 8, 0)}  # p, w and ls by LM-OTS type code
_PBLC, _MESG, _LEAF, _INTR = b"\x80\x80", b"\x81\x81", b"\x82\x82", b"\x83\x83"
_CHAIN = ">16sIHB32s"
_CHAIN_STEP, _CHAIN_VALUE = 22, 23  # where the step and the value lie in such a block


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Raises SignatureError unless the holder of this HSS public key has signed the message; DecodeError too."""
    for _ in steps(key, message, _of(signature), len(signature)):
        pass


def steps(key: bytes, message: bytes, read: "Read", length: int) -> "Iterator[None]":
    """`verify` for a board: in steps of a few milliseconds, of a signature of so many bytes that is read as needed."""
    reader = _Reader(_of(key), len(key))
    levels = reader.number()
    public = _read_key(reader)
    reader.end()
    if not 0 < levels <= _MOST_LEVELS:
        raise SignatureError(_SUBJECT, f"a key of {levels} levels")
    reader = _Reader(read, length)
    if reader.number() != levels - 1:
        raise SignatureError(_SUBJECT, "has another number of levels than the key")
    chain = []
    for _ in range(levels - 1):
        signed = _read_signature(reader, public)
        start = reader.at
        below = _read_key(reader)
        chain.append((public, read(start, reader.at - start), signed))
        public = below
    chain.append((public, message, _read_signature(reader, public)))
    reader.end()
    for signer, text, signed in chain:
        root = yield from _root(signer, text, signed, read)
        if root != signer.root:
            raise SignatureError(_SUBJECT, "was not made with this key for this message")


def _of(data: bytes) -> "Read":
    return lambda place, count: data[place : place + count]


class _Reader:
    """Takes one field after the other from bytes that came from outside."""

    def __init__(self, read: "Read", length: int):
        self._read = read
        self._length = length
        self.at = 0

    def take(self, count: int) -> bytes:
        return self._read(self.skip(count), count)

    def skip(self, count: int) -> int:
        """Where these bytes are."""
        at = self.at
        if at + count > self._length:
            raise TruncatedError(_SUBJECT, at + count, self._length)
        self.at += count
        return at

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def end(self) -> None:
        if self.at != self._length:
            raise SignatureError(_SUBJECT, f"{self._length - self.at} bytes follow the end")


def _read_key(reader: _Reader) -> _Key:
    lms_type, ots_type = reader.number(), reader.number()
    if lms_type not in _HEIGHTS or ots_type not in _OTS:
        raise SignatureError(_SUBJECT, f"a key of unknown types {lms_type} and {ots_type}")
    return _Key(lms_type, ots_type, reader.take(_ID_BYTES), reader.take(_HASH_BYTES))


def _read_signature(reader: _Reader, key: _Key) -> _Signature:
    leaf, ots_type = reader.number(), reader.number()
    if ots_type != key.ots_type or leaf >= 1 << _HEIGHTS[key.lms_type]:
        raise SignatureError(_SUBJECT, f"leaf {leaf} of type {ots_type} is none of the key's")
    randomizer = reader.take(_HASH_BYTES)
    chains = reader.skip(_OTS[key.ots_type][0] * _HASH_BYTES)
    lms_type = reader.number()
    if lms_type != key.lms_type:
        raise SignatureError(_SUBJECT, f"of type {lms_type}, not the key's")
    return _Signature(leaf, randomizer, chains, reader.skip(_HEIGHTS[key.lms_type] * _HASH_BYTES))


def _root(key: _Key, message: bytes, signed: _Signature, read: "Read") -> "Generator[None, None, bytes]":
    """The root of the tree that this signature would belong to (algorithm 6a)."""
    node = signed.leaf + (1 << _HEIGHTS[key.lms_type])
    leaf = yield from _one_time_key(key, message, signed, read)
    value = _hash(key.identifier, struct.pack(">I", node), _LEAF, leaf)
    for place in range(_HEIGHTS[key.lms_type]):
        beside = read(signed.path + place * _HASH_BYTES, _HASH_BYTES)
        left, right = (beside, value) if node & 1 else (value, beside)
        node >>= 1
        value = _hash(key.identifier, struct.pack(">I", node), _INTR, left, right)
    return value


def _one_time_key(key: _Key, message: bytes, signed: _Signature, read: "Read") -> "Generator[None, None, bytes]":
    """The LM-OTS public key that this signature would belong to (algorithm 4b)."""
    count, width, shift = _OTS[key.ots_type]
    leaf = struct.pack(">I", signed.leaf)
    digest = _hash(key.identifier, leaf, _MESG, signed.randomizer, message)
    longest = (1 << width) - 1
    checksum = sum([longest - _coefficient(digest, place, width) for place in range(8 * _HASH_BYTES // width)])
    digest += struct.pack(">H", checksum << shift)
    whole = hashlib.sha256(key.identifier + leaf + _PBLC)
    for place in range(count):
        end = read(signed.chains + place * _HASH_BYTES, _HASH_BYTES)
        block = bytearray(struct.pack(_CHAIN, key.identifier, signed.leaf, place, 0, end))
        for step in range(_coefficient(digest, place, width), longest):
            block[_CHAIN_STEP] = step
            block[_CHAIN_VALUE:] = hashlib.sha256(block).digest()
        whole.update(block[_CHAIN_VALUE:])
        yield
    return whole.digest()


def _coefficient(data: bytes, place: int, width: int) -> int:
    """The place-th number of `width` bits (section 3.1.3)."""
    each = 8 // width
    return data[place // each] >> width * (each - 1 - place % each) & (1 << width) - 1


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
