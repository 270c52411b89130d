"""Makes what the campaign of ota_cuts.py needs: a device's first app, and signed offers of later ones, good and bad."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from hardware import signing
from hardware.patch import make_patch
from protocols import image

BOARD, APP = "bench-board", "bench_app"


def make(folder: Path, *, files: int = 8, file_bytes: int = 900, seed: int = 1) -> None:
    """Write `offers.json` and the patches that it names into the folder."""
    made = _Maker(folder, random.Random(seed))
    first = made.app(files, file_bytes)
    second, third, fourth = made.changed(first), made.changed(first), made.changed(first)
    stages = [
        made.offer(1, {}, 2, second, base=0),  # whole
        made.offer(2, second, 3, third, base=2, confirmed=False),  # a patch, which will fail its trial
        made.offer(2, second, 4, fourth, base=2),  # a patch
    ]
    manifest = image.encode_manifest(_manifest(1, first))
    table = {
        "key": signing.public_key(made.key).hex(),
        "first": {"manifest": manifest.decode(), "files": {path: data.hex() for path, data in first.items()}},
        "stages": stages,
        "refused": made.refused(second),
    }
    (folder / "offers.json").write_text(json.dumps(table))


def _manifest(version: int, app: dict[str, bytes], *, board: str = BOARD) -> image.Manifest:
    digest = hashlib.sha256(b"".join(app.values())).digest()
    sizes = tuple((path, len(data)) for path, data in app.items())
    return image.Manifest(board, APP, version, f"0.{version}", digest, sizes)


class _Maker:
    def __init__(self, folder: Path, source: random.Random):
        self._folder = folder
        self._source = source
        self.key = folder / "signing.key"
        signing.make_key(self.key)

    def app(self, files: int, file_bytes: int) -> dict[str, bytes]:
        return {f"firmware/core/part{number}.mpy": self._source.randbytes(file_bytes) for number in range(files)}

    def changed(self, app: dict[str, bytes]) -> dict[str, bytes]:
        """The same with a few bytes more in one file, and another file."""
        changed = dict(app)
        path = self._source.choice(list(app))
        changed[path] = app[path][:300] + self._source.randbytes(60) + app[path][310:]
        changed["firmware/new.mpy"] = self._source.randbytes(200)
        return changed

    def offer(
        self, running: int, old: dict[str, bytes], version: int, new: dict[str, bytes], *, base: int, **more: object
    ) -> dict[str, Any]:
        """A signed one; `running` is the version it is meant for."""
        patch = make_patch(b"".join(old.values()) if base else b"", b"".join(new.values()))
        return self._signed(_manifest(version, new), patch, base=base, running=running, **{"confirmed": True, **more})

    def refused(self, second: dict[str, bytes]) -> dict[str, dict[str, Any]]:
        """Offers that a device on version 4 must refuse, each with a word of its reason."""
        good = self.offer(4, {}, 5, second, base=0)
        patch = (self._folder / good["patch"]).read_bytes()
        other = self._signed(_manifest(5, second, board="other-board"), patch, base=0)
        text = self._signed(_manifest(5, second), patch, base=0)["manifest"]
        forged = dict(good, id=good["id"] ^ 1, manifest=text.replace('"version": 5', '"version": 6'))
        damaged = bytearray(patch)
        damaged[len(patch) // 2] ^= 4
        lying = _manifest(7, second)._replace(sha256=bytes(32))
        return {
            "signature": forged,
            "not for": other,
            "downgrade": self.offer(4, {}, 3, second, base=0),
            "replayed": self.offer(4, {}, 4, second, base=0),
            "truncated": dict(good, missing=1),
            "damaged": self._signed(_manifest(6, second), bytes(damaged), base=0),
            "is not the one that was signed": self._signed(lying, patch, base=0),
            "damaged:": self._signed(_manifest(8, second), patch[:-40], base=0),
            "against version 2": self.offer(4, second, 5, second, base=2),
        }

    def _signed(self, manifest: image.Manifest, patch: bytes, *, base: int, **more: object) -> dict[str, Any]:
        text = image.encode_manifest(manifest)
        name = f"{hashlib.sha256(patch).hexdigest()[:12]}.patch"
        (self._folder / name).write_bytes(patch)
        signature = signing.sign(self.key, text).hex()
        number = int(hashlib.sha256(text + patch).hexdigest()[:8], 16)
        offer = {
            "id": number,
            "manifest": text.decode(),
            "signature": signature,
            "base": base,
            "size": len(patch),
            "patch": name,
        }
        return {**offer, "version": manifest.version, **more}
