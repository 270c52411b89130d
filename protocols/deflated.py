"""Deflate for packs (zlib, RFC 1950): between gateway and hub only, since MicroPython cannot compress."""

import zlib

from .errors import DecodeError

_LEVEL = 6
_PLAIN_BYTES = 1024


def deflate(data: bytes) -> bytes:
    """The data, compressed."""
    return zlib.compress(data, _LEVEL)


def inflate(data: bytes, *, max_bytes: int = 4_000_000) -> bytes:
    """The data, which may have at most `max_bytes`. Raises DecodeError; never makes more than it may."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, max_bytes)
    except zlib.error as error:
        raise DecodeError("deflated data", f"cannot be inflated: {error}") from error
    if inflater.unconsumed_tail:
        raise DecodeError("deflated data", f"inflates to more than {max_bytes} bytes")
    if not inflater.eof:
        raise DecodeError("deflated data", "is cut off")
    if inflater.unused_data:
        raise DecodeError("deflated data", "is followed by other data")
    return inflated


def deflate_large(data: bytes, *, above: int = _PLAIN_BYTES) -> bytes:
    """The JSON of a message, deflated if it is large; `inflate_json` is the inverse."""
    return deflate(data) if len(data) > above else data


def inflate_json(data: bytes, *, max_bytes: int) -> bytes:
    """The JSON object of a message that comes plain if it is small and deflated if it is large. Raises DecodeError."""
    return data if data[:1] == b"{" else inflate(data, max_bytes=max_bytes)
