"""Runs on MicroPython: updates of a device on littlefs, cut at every change of the flash in every way.

Arguments: the folder that ota_offers.py has filled; then after every how many cuts the device goes on with its update
to the end. Each image that a loss of power can leave is started: the app that is chosen must be whole, byte for byte,
and the one before or the new one. At last come the offers that must be refused. Prints {"cuts": ..., "unbootable": ...,
"stuck": updates that did not go on, "refused": ..., "accepted": offers that should have been refused}.
"""

import hashlib
import json
import os
import sys

import vfs

from firmware.boot import slots
from firmware.core import trial
from firmware.core.ota import Updates
from firmware.errors import UpdateError
from hardware.sim.chips.norflash import NorFlash, torn
from protocols import image
from protocols.update import Offer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECTORS = 96
_CHUNK = 512


class Device:
    """A flash mounted somewhere, and the updates of what is on it."""

    def __init__(self, flash: NorFlash, root: str, offers: "dict[str, Any]"):
        vfs.mount(vfs.VfsLfs2(flash), root)
        self.root = root
        self._key = bytes.fromhex(offers["key"])
        self.updates = Updates(root)

    def unmount(self) -> None:
        """The flash is let go of."""
        vfs.umount(self.root)

    def install(self, app: "dict[str, Any]") -> None:
        """As at the factory."""
        os.mkdir(self.root + "/a")
        for path, data in app["files"].items():
            parts = path.split("/")
            for depth in range(1, len(parts)):
                _make_folder(self.root + "/a/" + "/".join(parts[:depth]))
            _write(self.root + "/a/" + path, bytes.fromhex(data))
        _write(self.root + "/a/" + slots.MANIFEST, app["manifest"].encode())
        _write(self.root + "/key.pub", self._key)
        slots.save(self.root, {"good": "a"})

    def take(self, offer: "dict[str, Any]", folder: str) -> None:
        """An offer, from where the device wants it, to its trial."""
        manifest, signature = offer["manifest"].encode(), bytes.fromhex(offer["signature"])
        head = manifest + signature
        lengths = (len(manifest), len(signature), offer["size"])
        self.updates.begin(Offer(offer["id"], offer["version"], offer["base"], *lengths))
        while self.updates.wanted(_CHUNK):
            at = self.updates.at
            self.updates.write(at, head[at : at + self.updates.wanted(_CHUNK)])
        begin = len(head)
        del manifest, signature, head  # a board needs the room
        for _ in self.updates.check():
            pass
        with open(folder + "/" + offer["patch"], "rb") as file:
            file.seek(self.updates.at - begin)
            end = offer["size"] - offer.get("missing", 0) + begin
            while self.updates.at < end:
                length = self.updates.wanted(min(_CHUNK, end - self.updates.at))
                self.updates.write(self.updates.at, file.read(length))
        for _ in self.updates.finish():
            pass

    def confirm(self) -> None:
        """What runs has passed its test."""
        trial.confirm(self.root)

    def started(self) -> int:
        """The version that starts now, or 0 if it is not whole."""
        return whole_version(self.root + "/" + slots.choose(self.root))


def whole_version(folder: str) -> int:
    """The version of the app in this folder if its bytes are those that were signed, else 0."""
    try:
        with open(folder + "/" + slots.MANIFEST, "rb") as file:
            manifest = image.decode_manifest(file.read())
        digest = hashlib.sha256()
        for path, size in manifest.files:
            with open(folder + "/" + path, "rb") as file:
                data = file.read()
            if len(data) != size:
                return 0
            digest.update(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, this app does not start
        print("not whole:", type(error).__name__, error, file=sys.stderr)
        return 0
    return manifest.version if digest.digest() == manifest.sha256 else 0


class Campaign:
    """Takes a device through its updates, cuts everywhere, and counts."""

    def __init__(self, folder: str, go_on_every: int):
        self._folder = folder
        self._every = go_on_every
        with open(folder + "/offers.json") as file:
            self._offers = json.load(file)
        flash = NorFlash(_SECTORS)
        vfs.VfsLfs2.mkfs(flash)
        self._device = Device(flash, "/device", self._offers)
        self._device.install(self._offers["first"])
        self._flash = flash
        self._stage: "dict[str, Any]" = {}
        self.cuts = self.unbootable = self.stuck = 0

    def run(self) -> "dict[str, Any]":
        """All stages, then the refusals; the counts."""
        for stage in self._offers["stages"]:
            self._stage = stage
            self._flash.watcher = self._cut
            self._device.take(stage, self._folder)
            tries = 1 if stage["confirmed"] else slots.TRIES
            assert [self._device.started() for _ in range(tries)] == [stage["version"]] * tries
            if stage["confirmed"]:
                self._device.confirm()
            self._flash.watcher = None
            assert self._device.started() == (stage["version"] if stage["confirmed"] else stage["running"])
        refused = self._refusals()
        return {
            "cuts": self.cuts,
            "unbootable": self.unbootable,
            "stuck": self.stuck,
            "refused": refused,
            "accepted": len(self._offers["refused"]) - refused,
        }

    def _cut(self, flash: NorFlash, at: int, after: bytes) -> None:
        for _, left in torn(flash, at, after):
            self.cuts += 1
            try:
                device = Device(left, "/again", self._offers)
            except OSError as error:
                print("unmountable:", error, file=sys.stderr)
                self.unbootable += 1
                continue
            self._start(device)
            device.unmount()

    def _start(self, device: Device) -> None:
        version = device.started()
        if version not in (self._stage["running"], self._stage["version"]):
            self.unbootable += 1
        elif self.cuts % self._every == 0 and self._may_go_on(version):
            self._go_on(device)

    def _may_go_on(self, version: int) -> bool:
        """The old version runs, and the new one has not failed its trial."""
        return bool(version == self._stage["running"]) and "failed" not in slots.load("/again")

    def _go_on(self, device: Device) -> None:
        """Power is back: the offer comes again, and this time it succeeds."""
        try:
            device.take(self._stage, self._folder)
            version = device.started()
            device.confirm()
            if (version, device.started()) == (self._stage["version"], self._stage["version"]):
                return
        except UpdateError as error:
            print("stuck:", error, file=sys.stderr)
        self.stuck += 1

    def _refusals(self) -> int:
        """Each bad offer is refused with its reason, and the app stays what it was."""
        refused = 0
        for reason, offer in self._offers["refused"].items():
            try:
                self._device.take(offer, self._folder)
                print("accepted, though", reason, file=sys.stderr)
            except UpdateError as error:
                if reason in error.reason and self._device.started() == self._offers["stages"][-1]["version"]:
                    refused += 1
                else:
                    print("refused for another reason than", reason + ":", error, file=sys.stderr)
        return refused


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)
    except OSError:
        pass  # it is there


if __name__ == "__main__":
    print(json.dumps(Campaign(sys.argv[1], int(sys.argv[2])).run()))
