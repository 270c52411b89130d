"""Runs on MicroPython: how much heap it takes to apply a patch. Argument: the folder that ota_offers.py has filled.

Prints {"peak_bytes": the most that is held beside what was there before, "base_bytes": that}.
"""

import gc
import json
import sys

import vfs

from bench.parts.ota_cuts import Device
from hardware.sim.chips.norflash import NorFlash
from protocols import image

_SECTORS = 128


def main(folder: str) -> None:
    """Install, then update twice, the second time by a patch."""
    with open(folder + "/offers.json") as file:
        offers = json.load(file)
    flash = NorFlash(_SECTORS)
    vfs.VfsLfs2.mkfs(flash)
    device = Device(flash, "/device", offers)
    device.install(offers["first"])
    whole, _, patch = offers["stages"]
    device.take(whole, folder)
    device.started()
    device.confirm()
    peak = 0
    apply = image.patched

    def patched(*arguments):  # type: ignore[no-untyped-def]
        nonlocal peak
        for piece in apply(*arguments):
            gc.collect()
            peak = max(peak, gc.mem_alloc())  # type: ignore[attr-defined]  # MicroPython's
            yield piece

    image.patched = patched
    gc.collect()
    base = gc.mem_alloc()  # type: ignore[attr-defined]
    device.take(patch, folder)
    print(json.dumps({"peak_bytes": peak - base, "base_bytes": base}))


if __name__ == "__main__":
    main(sys.argv[1])
