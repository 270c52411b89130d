"""Firmware images: the manifest that is signed, and the patch that makes an image out of the one before.

An image is a list of files; its bytes are theirs, one behind the other. The manifest is JSON:

    {"board": "pico-2-w", "app": "sensor_node", "version": 7, "name": "0.2.0", "sha256": "<of the image's bytes>",
     "files": [["firmware/main.mpy", 812], ...]}

`version` grows with each image of a board and app. An HSS/LMS signature (lms.py) stands over the manifest's bytes.

A patch is a deflated stream (raw, window of 2 kB) of instructions, each begun by a number n (LEB128): n even: n/2 bytes
follow, which are new; n odd: n//2 bytes are copied from the old image, from a place given by a second number, the
distance (zigzag) from where the last copy ended. The patch of a whole image is one against an empty one.
"""

import json
from collections import namedtuple

from .errors import DecodeError, TruncatedError
from .topics import is_id
from .update import MAX_IMAGE_BYTES, MAX_MANIFEST_BYTES, MAX_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NamedTuple

    class Manifest(NamedTuple):
        """What an image is; `sha256` is of its bytes, `files` are (path, size in bytes)."""

        board: str
        app: str
        version: int
        name: str
        sha256: bytes
        files: "tuple[tuple[str, int], ...]"

else:
    Manifest = namedtuple("Manifest", ("board", "app", "version", "name", "sha256", "files"))

WINDOW_BITS = 11
_MAX_FILES = 200
_MAX_NAME = 64
_MANIFEST, _PATCH = "manifest", "patch"
_PATH_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_PIECE = 256  # of a copy, in bytes: what a board holds at once


def size(manifest: Manifest) -> int:
    """How many bytes the image has."""
    return sum([count for _, count in manifest.files])


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes that are signed."""
    table = {
        "board": manifest.board,
        "app": manifest.app,
        "version": manifest.version,
        "name": manifest.name,
        "sha256": manifest.sha256.hex(),
        "files": [list(entry) for entry in manifest.files],
    }
    return json.dumps(table).encode()


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes. Raises DecodeError."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise DecodeError(_MANIFEST, f"{len(data)} bytes are too many")
    try:
        table = json.loads(data)
        board, app, version = table["board"], table["app"], table["version"]
        name, digest = table["name"], bytes.fromhex(table["sha256"])
        files = tuple([(path, count) for path, count in table["files"]])
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(_MANIFEST, f"is not one: {error}") from None
    if not (isinstance(board, str) and is_id(board) and isinstance(app, str) and is_id(app)):
        raise DecodeError(_MANIFEST, "board and app must be ids")
    if not _is_count(version, MAX_VERSION) or not isinstance(name, str) or len(name) > _MAX_NAME or len(digest) != 32:
        raise DecodeError(_MANIFEST, "version, name or sha256 is out of range")
    _check_files(files)
    return Manifest(board, app, version, name, digest, files)


def _check_files(files: "tuple[tuple[object, object], ...]") -> None:
    if not 0 < len(files) <= _MAX_FILES:
        raise DecodeError(_MANIFEST, f"{len(files)} files")
    seen: "set[str]" = set()
    total = 0
    for path, count in files:
        if not isinstance(path, str) or not _is_path(path) or path in seen:
            raise DecodeError(_MANIFEST, f"{path} is no path, or there twice")
        if not isinstance(count, int) or not _is_count(count, MAX_IMAGE_BYTES):
            raise DecodeError(_MANIFEST, f"{path}: {count} is no size")
        seen.add(path)
        total += count
    if total > MAX_IMAGE_BYTES:
        raise DecodeError(_MANIFEST, f"{total} bytes are too many")


def _is_count(number: object, limit: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 < number < limit


def _is_path(path: str) -> bool:
    """Relative, without dots that lead elsewhere."""
    parts = path.split("/")
    return len(path) <= _MAX_NAME and all(
        [part.strip(".") and all([character in _PATH_CHARACTERS for character in part]) for part in parts]
    )


def patched(read: "Callable[[int], bytes]", old: "Callable[[int, int], bytes]", length: int) -> "Iterator[bytes]":
    """The new image's bytes, in pieces. Raises DecodeError if the patch is none or makes another length.

    `read(count)` gives the inflated patch's next bytes, fewer at its end; `old(place, count)` bytes of the old image.
    """
    made = place = 0
    while made < length:
        instruction = _number(read)
        count = instruction >> 1
        if not 0 < count <= length - made:
            raise DecodeError(_PATCH, f"makes more than {length} bytes")
        if instruction & 1:
            step = _number(read)
            place += step >> 1 if step & 1 == 0 else -(step + 1 >> 1)
        for piece in _pieces(count):
            if instruction & 1:
                data = old(place, piece) if place >= 0 else b""
                place += piece
            else:
                data = read(piece)
            if len(data) < piece:
                raise TruncatedError(_PATCH, piece, len(data))
            yield data
        made += count


def _pieces(count: int) -> "Iterator[int]":
    while count:
        piece = min(count, _PIECE)
        yield piece
        count -= piece


def _number(read: "Callable[[int], bytes]") -> int:
    number = 0
    for place in range(5):
        byte = read(1)
        if not byte:
            raise TruncatedError(_PATCH, 1, 0)
        number |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return number
    raise DecodeError(_PATCH, "a number does not end")
