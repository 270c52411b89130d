"""The firmware images that an operator has given the gateway, each for one thing or for all of a model.

An image is the folder that `kerb firmware build` makes, kept in the gateway's data folder under `updates/THING` or
`updates/MODEL`.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edge.errors import UpdateError
from protocols.errors import DecodeError
from protocols.image import Manifest, decode_manifest
from protocols.update import MAX_IMAGE_BYTES, MAX_SIGNATURE_BYTES, Offer

logger = logging.getLogger(__name__)

_FOLDER = "updates"
_MANIFEST, _SIGNATURE, _WHOLE = "manifest.json", "signature", "image.patch"


@dataclass(frozen=True)
class Image:
    """A signed image. `contents` are manifest, signature and patch as they travel, one behind the other, by the version
    that the patch is against (0: none)."""

    manifest: Manifest
    head_bytes: tuple[int, int]
    contents: Mapping[int, bytes]

    def offer(self, running: int) -> Offer:
        """What a device that runs this version is offered."""
        base = running if running in self.contents else 0
        content = self.contents[base]
        number = int.from_bytes(sha256(content).digest()[:4], "big")
        return Offer(number, self.manifest.version, base, *self.head_bytes, len(content) - sum(self.head_bytes))


class Images:
    """What is kept. `for_thing` looks at the files each time, so that an image counts as soon as it is there."""

    def __init__(self, data: Path):
        self._folder = data / _FOLDER
        self._known: dict[str, tuple[int, Image | None]] = {}

    def for_thing(self, thing: str, model: str) -> Image | None:
        """The image for a thing: its own, or else its model's."""
        return self._image(thing) or self._image(model)

    def give(self, target: str, source: Path) -> Manifest:
        """Keep the image in a folder for a thing or a model, in place of any before it. Raises UpdateError."""
        image = _load(source)
        place = self._folder / target
        new = self._folder / f".{target}"  # no id begins with a dot
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            for path in _files(source):
                shutil.copyfile(path, new / path.name)
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
        except OSError as error:
            raise UpdateError(f"{place}: cannot be written: {error}") from error
        return image.manifest

    def withdraw(self, target: str) -> None:
        """Have nothing more for a thing or a model. Raises UpdateError if there was nothing."""
        try:
            shutil.rmtree(self._folder / target)
        except FileNotFoundError:
            raise UpdateError(f"there is no update for {target}") from None
        except OSError as error:
            raise UpdateError(f"{self._folder / target}: cannot be removed: {error}") from error

    def _image(self, target: str) -> Image | None:
        """Read again when the folder is another one. One that cannot be read is none."""
        folder = self._folder / target
        try:
            number = folder.stat().st_mtime_ns
        except OSError:
            self._known.pop(target, None)
            return None
        if self._known.get(target, (0, None))[0] != number:
            try:
                self._known[target] = (number, _load(folder))
            except UpdateError as error:
                logger.error("%s", error)
                self._known[target] = (number, None)
        return self._known[target][1]


def _files(folder: Path) -> list[Path]:
    return [folder / _MANIFEST, folder / _SIGNATURE, folder / _WHOLE, *folder.glob("from-*.patch")]


def _load(folder: Path) -> Image:
    try:
        manifest, signature, *patches = [path.read_bytes() for path in _files(folder)]
        bases = [0, *(int(path.stem.removeprefix("from-")) for path in _files(folder)[3:])]
        decoded = decode_manifest(manifest)
    except (OSError, ValueError) as error:
        raise UpdateError(f"{folder} is no signed image of `kerb firmware build --key`: {error}") from error
    except DecodeError as error:
        raise UpdateError(f"{folder / _MANIFEST}: {error}") from error
    if not 0 < len(signature) <= MAX_SIGNATURE_BYTES or not all(0 < len(each) <= MAX_IMAGE_BYTES for each in patches):
        raise UpdateError(f"{folder}: the signature or a patch is empty, or too long")
    contents = {base: manifest + signature + patch for base, patch in zip(bases, patches, strict=True)}
    return Image(decoded, (len(manifest), len(signature)), contents)
