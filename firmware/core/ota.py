"""Updates over the air: an image is collected, checked, the other slot filled, verified, and put on trial.

An image comes as its manifest, signature and patch, one behind the other, and is kept on flash, since no board has room
for it in memory. The signature is verified before anything of the patch is kept; the image's hash, read again from
flash, before the slot is marked. Power may fail at any moment: the image goes on from where it was, and the filling of
the slot begins anew.
"""

import errno
import hashlib
import os

import deflate

from firmware.boot import slots
from firmware.core import files, trial
from firmware.errors import UpdateError
from protocols import image, lms, update
from protocols.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from protocols.image import Manifest
    from protocols.lms import Read
    from protocols.update import Offer

_PIECE = 256
_MANIFEST, _KEY = "/" + slots.MANIFEST, "/key.pub"
_OFFER, _IMAGE = "/update/offer", "/update/image"


class Updates:
    """The updates of one device. `root` holds the slots and `key.pub`, the HSS public key that signs its images.

    `begin`, then `write` what is `wanted`; once the head is there `check` it, and at the end `finish`. The app that is
    started next calls `trial.confirm`. `check` and `finish` are iterators over steps of some milliseconds each, for the
    app goes on between them. All of them raise UpdateError with the reason why the update is refused.
    """

    def __init__(self, root: str):
        self._root = root
        self._offer: "Offer | None" = None
        self._manifest: "Manifest | None" = None  # once it is checked
        self.at = 0  # from where on the image is wanted

    def begin(self, offer: "Offer") -> None:
        """Take an offer, from where it was broken off if it is the same."""
        self._offer, self._manifest = offer, None
        self._head = offer.manifest_bytes + offer.signature_bytes
        told = update.encode_offer(offer)
        if files.read(self._root + _OFFER) != told:
            self._forget()
            os.mkdir(self._root + "/update")
            with open(self._root + _IMAGE, "wb"):
                pass  # nothing of it is here yet
            files.write(self._root + _OFFER, told)
        self.at = os.stat(self._root + _IMAGE)[6]

    def wanted(self, most: int) -> int:
        """How many bytes to write next; 0 where the head is to be checked, or the image is whole."""
        if self._offer is None:
            return 0
        end = self._head if self._manifest is None else self._head + self._offer.patch_bytes
        return min(most, max(0, end - self.at))

    def write(self, at: int, data: bytes) -> None:
        """Keep the image's next bytes."""
        if at != self.at or len(data) > self.wanted(len(data)):
            raise UpdateError(f"{len(data)} bytes at {at} do not go on from {self.at}")
        try:
            with open(self._root + _IMAGE, "ab") as file:
                file.write(data)
        except OSError as error:
            self._offer = None  # part of it may be there: the next offer begins where it ends
            raise UpdateError(f"not written: {error}") from error
        self.at += len(data)

    def check(self) -> "Iterator[None]":
        """Verify the signature, and whether the image is one for this device as it is now."""
        offer = self._offer
        if offer is None or self.at < self._head:
            raise UpdateError(f"truncated: {self.at} bytes are there")
        with open(self._root + _IMAGE, "rb") as file:
            manifest = file.read(offer.manifest_bytes)

            def read(place: int, count: int) -> bytes:
                file.seek(offer.manifest_bytes + place)
                return file.read(count)

            try:
                self._manifest = yield from self._checked(manifest, read, offer)
            except UpdateError:
                self._forget()
                raise

    def finish(self) -> "Iterator[None]":
        """Fill the other slot, verify it and put it on trial for the next start."""
        manifest, offer = self._manifest, self._offer
        if manifest is None or offer is None or self.at != self._head + offer.patch_bytes:
            raise UpdateError(f"truncated: {self.at} bytes are there")
        good = slots.load(self._root)["good"]
        other = slots.SLOTS[1 - slots.SLOTS.index(good)]
        target = self._root + "/" + other
        yield from _empty(target)
        try:
            yield from self._fill(manifest, target, self._root + "/" + good)
        except (DecodeError, EOFError, OSError) as error:
            yield from _empty(target)
            self._forget()
            torn = not isinstance(error, OSError) or error.errno == errno.EINVAL  # that of a stream that is no deflate
            raise UpdateError(f"{'damaged' if torn else 'not written'}: {error}") from error
        with open(self._root + _IMAGE, "rb") as file:
            files.write(target + _MANIFEST, file.read(offer.manifest_bytes))
        slots.save(self._root, {"good": good, "trial": other, "tries": slots.TRIES})
        self._manifest = self._offer = None
        self._forget()

    def _forget(self) -> None:
        """Remove what was collected."""
        for _ in _remove(self._root + "/update"):
            pass  # two files

    def _checked(self, manifest: bytes, read: "Read", offer: "Offer") -> "Generator[None, None, Manifest]":
        key, here = files.read(self._root + _KEY), trial.running(self._root)
        if key is None or not here:
            raise UpdateError("this device has no key.pub, or was not flashed with an image")
        try:
            yield from lms.steps(key, manifest, read, offer.signature_bytes)
            offered = image.decode_manifest(manifest)
        except DecodeError as error:
            raise UpdateError(f"bad signature or manifest: {error}") from error
        if (offered.board, offered.app) != (here["board"], here["app"]):
            raise UpdateError(f"for {offered.app} on {offered.board}, not for {here['app']} on {here['board']}")
        if trial.is_on(self._root):
            raise UpdateError("the version that runs is on trial itself")
        running = here["version"]
        if offered.version == running:
            raise UpdateError(f"replayed: version {running} is here already")
        if offered.version < running:
            raise UpdateError(f"downgrade: version {running} is here, {offered.version} is older")
        if offered.version == trial.failed(self._root):
            raise UpdateError(f"version {offered.version} failed its trial here")
        if offer.base not in (0, running):
            raise UpdateError(f"a patch against version {offer.base}, but version {running} is here")
        return offered

    def _fill(self, manifest: "Manifest", target: str, source: str) -> "Iterator[None]":
        based = self._offer is not None and self._offer.base
        old = _Old(source, image.decode_manifest(files.read(source + _MANIFEST) or b"").files if based else ())
        with open(self._root + _IMAGE, "rb") as file:
            file.seek(self._head)
            inflated = deflate.DeflateIO(file, deflate.RAW, image.WINDOW_BITS)
            yield from _write_files(target, manifest, image.patched(inflated.read, old.read, image.size(manifest)))
        old.close()
        digest = hashlib.sha256()
        for path, _ in manifest.files:
            with open(target + "/" + path, "rb") as written:
                while True:
                    piece = written.read(_PIECE)
                    if not piece:
                        break
                    digest.update(piece)
                    yield
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


def _write_files(target: str, manifest: "Manifest", pieces: "Iterator[bytes]") -> "Iterator[None]":
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
                yield


def _make_folders(target: str, path: str) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts)):
        files.make_directory(target + "/" + "/".join(parts[:depth]))


def _empty(slot: str) -> "Iterator[None]":
    """Make the slot an empty folder; first of all it stops to look whole."""
    try:
        os.unlink(slot + _MANIFEST)
    except OSError:
        pass  # it has no whole app
    yield from _remove(slot)
    os.mkdir(slot)


def _remove(path: str) -> "Iterator[None]":
    """Remove a folder and all in it, if it is there."""
    try:
        entries = list(os.ilistdir(path))  # type: ignore[attr-defined]  # MicroPython's
    except OSError:
        return
    for entry in entries:
        if entry[1] & 0x4000:
            yield from _remove(path + "/" + entry[0])
        else:
            os.unlink(path + "/" + entry[0])
            yield
    os.rmdir(path)
