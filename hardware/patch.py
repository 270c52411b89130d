"""Makes the patch (protocols/image.py) from one firmware image to another: what is new, and copies of the old."""

import zlib

from protocols.image import WINDOW_BITS

_ANCHOR = 12  # bytes that must agree for a copy to be worth looking for
_MOST_PLACES = 16  # of one anchor in the old image that are tried


def make_patch(old: bytes, new: bytes) -> bytes:
    """The deflated patch; with an empty `old` the whole image."""
    plain = bytearray()
    places = _places_of_anchors(old)
    at = fresh = ended = 0
    while at < len(new):
        place, length = _longest(old, new, at, places.get(new[at : at + _ANCHOR], ()), ended)
        if not length:
            at += 1
            continue
        while fresh < at and place and old[place - 1] == new[at - 1]:
            place, at, length = place - 1, at - 1, length + 1
        plain += _insertion(new[fresh:at])
        step = place - ended
        plain += _number(length << 1 | 1) + _number(step << 1 if step >= 0 else -step * 2 - 1)
        at += length
        fresh, ended = at, place + length
    plain += _insertion(new[fresh:])
    deflating = zlib.compressobj(9, zlib.DEFLATED, -WINDOW_BITS)
    return deflating.compress(bytes(plain)) + deflating.flush()


def _places_of_anchors(old: bytes) -> dict[bytes, list[int]]:
    places: dict[bytes, list[int]] = {}
    for place in range(len(old) - _ANCHOR + 1):
        known = places.setdefault(old[place : place + _ANCHOR], [])
        if len(known) < _MOST_PLACES:
            known.append(place)
    return places


def _longest(old: bytes, new: bytes, at: int, places: "list[int] | tuple[()]", ended: int) -> tuple[int, int]:
    """Where in the old image the longest copy of what is new at a place lies, and its length; the nearest of them."""
    best, best_length = 0, 0
    for place in sorted(places, key=lambda place: abs(place - ended)):
        length = 0
        while at + length < len(new) and place + length < len(old) and new[at + length] == old[place + length]:
            length += 1
        if length > best_length:
            best, best_length = place, length
    return best, best_length


def _insertion(data: bytes) -> bytes:
    return _number(len(data) << 1) + data if data else b""


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
