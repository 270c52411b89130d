"""How large the patch for a small change of the wearable's firmware is, against its whole image."""

import shutil
from pathlib import Path

from hardware import images
from hardware.patch import make_patch

_APP, _PORT = "wearable", "firmware.hal.sim"
_LINES = (  # file, what is there, what comes in its place
    ("firmware/core/handover.py", "_RESEND_MS = 3000", "_RESEND_MS = 4000"),
    ("firmware/core/handover.py", "_FEW = 5", "_FEW = 7"),
    ("firmware/core/uplink.py", "_LOOK_S = 1\n", "_LOOK_S = 2\n"),
    ("firmware/core/uplink.py", "min(2 * self._gap_ms", "min(3 * self._gap_ms"),
    (
        "firmware/core/uplink.py",
        "    async def run(self) -> None:\n",
        "    def is_late(self, since_ms: int) -> bool:\n"
        "        if self.refused and self._gap_ms > since_ms:\n"
        "            print('uplink: late by', self._gap_ms - since_ms)\n"
        "            return True\n"
        "        return self._wake.is_set()\n\n"
        "    async def run(self) -> None:\n",
    ),
)


def patch_percent(tree: Path) -> float:
    """The patch in percent of the whole image, both as they travel. Makes a changed copy of the sources in `tree`."""
    old = b"".join(images.files(_APP, _PORT).values())
    for folder in ("firmware", "protocols"):
        shutil.copytree(images.ROOT / folder, tree / folder)
    for name, before, after in _LINES:
        path = tree / name
        source = path.read_text(encoding="utf-8")
        if source.count(before) != 1:
            raise SystemExit(f"{name} has changed: {before!r} is not there once")
        path.write_text(source.replace(before, after), encoding="utf-8")
    new = b"".join(images.files(_APP, _PORT, tree).values())
    return round(100 * len(make_patch(old, new)) / len(make_patch(b"", new)), 1)
