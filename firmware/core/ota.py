"""Updates over the air: an offer is checked, its patch collected, the other slot filled, verified, and put on trial.

The signature is verified before anything is kept; the image's hash, read again from flash, before the slot is marked.
Power may fail at any moment: the patch goes on from where it was, and the filling of the slot begins anew.
"""

import errno
import hashlib
import os

import deflate

from firmware.boot import slots
from firmware.core import files
from firmware.errors import UpdateError
from protocols import image, lms
from protocols.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from protocols.image import Manifest

_PIECE = 256
_MANIFEST, _OFFER, _PATCH = "/" + slots.MANIFEST, "/offer", "/patch"


class Updates:
    """The updates of one device. `root` holds the slots; `key` is the HSS public key that its boot partition came with.

    `begin`, then `write` from the place that it returns, then `finish`; the app that is started next calls `confirm`.
    """

    def __init__(self, root: str, *, key: bytes, board: str, app: str):
        self._root = root
        self._folder = root + "/update"
        self._key = key
        self._board = board
        self._app = app
        self._manifest: "Manifest | None" = None
        self._size = 0
        self._at = 0

    def begin(self, manifest: bytes, signature: bytes, *, base: int, size: int) -> int:
        """Take an offer: a patch of so many bytes against version `base` (0: against nothing).

        Returns from where on the patch is wanted. Raises UpdateError with the reason why the offer is refused.
        """
        self._manifest = None
        offered = self._checked(manifest, signature, base, size)
        patch = self._folder + _PATCH
        offer = f"{base} {size} ".encode() + manifest
        if files.read(self._folder + _OFFER) != offer:
            _remove(self._folder)
            os.mkdir(self._folder)
            with open(patch, "wb"):
                pass  # nothing of it is here yet
            files.write(self._folder + _OFFER, offer)
        self._at = os.stat(patch)[6]
        self._manifest, self._base, self._size, self._signed = offered, base, size, manifest
        return self._at

    def write(self, at: int, data: bytes) -> int:
        """Keep the patch's next bytes; returns where the ones after them begin. Raises UpdateError."""
        if self._manifest is None:
            raise UpdateError("no update was begun")
        if at != self._at or at + len(data) > self._size:
            raise UpdateError(f"{len(data)} bytes at {at} do not go on from {self._at} of {self._size}")
        try:
            with open(self._folder + _PATCH, "ab") as file:
                file.write(data)
        except OSError as error:
            self._manifest = None  # part of it may be there: an offer begins where it ends
            raise UpdateError(f"not written: {error}") from error
        self._at += len(data)
        return self._at

    def finish(self) -> None:
        """Fill the other slot, verify it and put it on trial for the next start. Raises UpdateError."""
        if self._manifest is None or self._at != self._size:
            raise UpdateError(f"truncated: {self._at} of {self._size} bytes are there")
        good = slots.load(self._root)["good"]
        other = slots.SLOTS[1 - slots.SLOTS.index(good)]
        target = self._root + "/" + other
        _empty(target)
        try:
            self._fill(self._manifest, target, self._root + "/" + good)
        except (DecodeError, EOFError, OSError) as error:
            _empty(target)
            _remove(self._folder)
            torn = not isinstance(error, OSError) or error.errno == errno.EINVAL  # that of a stream that is no deflate
            raise UpdateError(f"{'damaged' if torn else 'not written'}: {error}") from error
        files.write(target + _MANIFEST, self._signed)
        slots.save(self._root, {"good": good, "trial": other, "tries": slots.TRIES})
        self._manifest = None
        _remove(self._folder)

    def confirm(self) -> None:
        """The app that runs has passed its test of itself: it is the good one from now on."""
        record = slots.load(self._root)
        if record.get("trial"):
            slots.save(self._root, {"good": record["trial"]})

    def _checked(self, manifest: bytes, signature: bytes, base: int, size: int) -> "Manifest":
        try:
            lms.verify(self._key, manifest, signature)
            offered = image.decode_manifest(manifest)
        except DecodeError as error:
            raise UpdateError(f"bad signature or manifest: {error}") from error
        if (offered.board, offered.app) != (self._board, self._app):
            raise UpdateError(f"for {offered.app} on {offered.board}, not for {self._app} on {self._board}")
        record = slots.load(self._root)
        if record.get("trial"):
            raise UpdateError("the version that runs is on trial itself")
        running = slots.version(self._root, record["good"])
        if offered.version == running:
            raise UpdateError(f"replayed: version {running} is here already")
        if offered.version < running:
            raise UpdateError(f"downgrade: version {running} is here, {offered.version} is older")
        if offered.version == record.get("failed"):
            raise UpdateError(f"version {offered.version} failed its trial here")
        if base not in (0, running):
            raise UpdateError(f"a patch against version {base}, but version {running} is here")
        if not 0 < size <= image.MAX_IMAGE_BYTES:
            raise UpdateError(f"a patch of {size} bytes")
        return offered

    def _fill(self, manifest: "Manifest", target: str, source: str) -> None:
        old = _Old(source, image.decode_manifest(files.read(source + _MANIFEST) or b"").files if self._base else ())
        with open(self._folder + _PATCH, "rb") as file:
            inflated = deflate.DeflateIO(file, deflate.RAW, image.WINDOW_BITS)
            _write_files(target, manifest, image.patched(inflated.read, old.read, image.size(manifest)))
        old.close()
        digest = hashlib.sha256()
        for path, _ in manifest.files:
            with open(target + "/" + path, "rb") as written:
                while True:
                    piece = written.read(_PIECE)
                    if not piece:
                        break
                    digest.update(piece)
        if digest.digest() != manifest.sha256:
            raise DecodeError("image", "is not the one that was signed")


class _Old:
    """The bytes of the app that runs, wherever in its files they are."""

    def __init__(self, folder: str, entries: "tuple[tuple[str, int], ...]"):
        self._folder = folder
        self._entries = entries
        self._open: "Any" = None
        self._path = ""

    def read(self, place: int, count: int) -> bytes:
        data = b""
        for path, size in self._entries:
            if place < size and count > len(data):
                data += self._file(path, place).read(min(count - len(data), size - place))
                place = size
            place -= size
        return data

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _file(self, path: str, place: int) -> "Any":
        if path != self._path:
            self.close()
            self._open = open(self._folder + "/" + path, "rb")  # noqa: SIM115 - it stays open, see close
            self._path = path
        self._open.seek(place)
        return self._open


def _write_files(target: str, manifest: "Manifest", pieces: "Iterator[bytes]") -> None:
    rest = b""
    for path, size in manifest.files:
        _make_folders(target, path)
        with open(target + "/" + path, "wb") as file:
            missing = size
            while missing:
                data = rest or next(pieces)
                file.write(data[:missing])
                rest = data[missing:]
                missing -= len(data) - len(rest)


def _make_folders(target: str, path: str) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts)):
        files.make_directory(target + "/" + "/".join(parts[:depth]))


def _empty(slot: str) -> None:
    """Make the slot an empty folder; first of all it stops to look whole."""
    try:
        os.unlink(slot + _MANIFEST)
    except OSError:
        pass  # it has no whole app
    _remove(slot)
    os.mkdir(slot)


def _remove(path: str) -> None:
    """Remove a folder and all in it, if it is there."""
    try:
        entries = list(os.ilistdir(path))  # type: ignore[attr-defined]  # MicroPython's
    except OSError:
        return
    for entry in entries:
        if entry[1] & 0x4000:
            _remove(path + "/" + entry[0])
        else:
            os.unlink(path + "/" + entry[0])
    os.rmdir(path)
