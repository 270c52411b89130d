"""Runs on MicroPython: a file on littlefs that is replaced again and again, cut at every change of the flash.

Argument: how often. At each cut the file must hold what it held before or what it was to hold. Prints {"cuts": ...,
"torn": files that held anything else}.
"""

import json
import sys

import vfs

from firmware.core import files
from hardware.sim.chips.norflash import NorFlash, torn

_SECTORS = 12


class Campaign:
    """Replaces, cuts, and counts."""

    def __init__(self) -> None:
        flash = NorFlash(_SECTORS)
        vfs.VfsLfs2.mkfs(flash)
        vfs.mount(vfs.VfsLfs2(flash), "/device")
        files.write("/device/state", b"0")
        self._allowed = (b"0", b"0")
        self.cuts = self.torn = 0
        flash.watcher = self._cut

    def run(self, times: int) -> None:
        """Replace it so many times, by contents short and long."""
        for number in range(1, times + 1):
            content = str(number).encode() * (1 + number * 37 % 700)
            self._allowed = (self._allowed[1], content)
            files.write("/device/state", content)

    def _cut(self, flash: NorFlash, at: int, after: bytes) -> None:
        for _, left in torn(flash, at, after):
            self.cuts += 1
            vfs.mount(vfs.VfsLfs2(left), "/again")
            if files.read("/again/state") not in self._allowed:
                self.torn += 1
            vfs.umount("/again")


if __name__ == "__main__":
    campaign = Campaign()
    campaign.run(int(sys.argv[1]))
    print(json.dumps({"cuts": campaign.cuts, "torn": campaign.torn}))
