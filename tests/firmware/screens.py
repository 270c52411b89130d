"""The dispenser's screens as pictures: python -m tests.firmware.screens docs/dispenser.png

Real MicroPython draws them on the model of the display; here they become PNG files for people to look at.
"""

import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hardware import plans
from hardware.fonts import ROOT
from hardware.sim.device import SHIMS, micropython
from protocols import medication
from protocols.schedule import local_minute

PLAN = ROOT / "hardware" / "sim" / "medication.toml"
WIDTH, HEIGHT = 128, 64
_EIGHT_S = 1_795_305_600 - 1_795_305_600 % 86400 + 86400  # 08:00 in Shanghai, within the plan
_EIGHT = local_minute([[0, 480]], _EIGHT_S)
_ACROSS, _BORDER, _SCALE = 4, 6, 2

Dots = list[list[int]]

_DUE: dict[str, Any] = {"dose": [_EIGHT, _EIGHT_S + 3600], "cursor": _EIGHT, "remaining": 21, "level": 1}
CASES: list[tuple[str, dict[str, Any], int | None, int | None]] = [
    ("waiting", {"cursor": _EIGHT, "remaining": 20}, _EIGHT_S + 7200, 20),
    ("until tomorrow", {"cursor": _EIGHT + 780, "remaining": 9}, _EIGHT_S + 14 * 3600, 9),
    ("due", {**_DUE, "phase": "due"}, _EIGHT_S, 21),
    ("moving", {**_DUE, "phase": "moving"}, _EIGHT_S, None),
    ("on the tray", {**_DUE, "phase": "tray"}, _EIGHT_S, 20),
    ("unsure", {**_DUE, "phase": "unsure"}, _EIGHT_S, None),
    ("jammed", {**_DUE, "phase": "jammed"}, _EIGHT_S, 21),
    ("empty, due", {**_DUE, "phase": "due", "remaining": 0}, _EIGHT_S, 0),
    ("empty", {"cursor": _EIGHT, "remaining": 0}, _EIGHT_S + 7200, 0),
    ("missed", {"cursor": _EIGHT, "remaining": 21, "level": 3}, _EIGHT_S + 7200, 21),
    ("left on the tray", {"cursor": _EIGHT, "remaining": 21, "level": 3, "left": _EIGHT}, _EIGHT_S + 7200, 21),
    ("due, tray full", {**_DUE, "phase": "due", "left": _EIGHT - 660}, _EIGHT_S, 21),
    ("no time", {"remaining": 21}, None, 21),
    ("plan ended", {"remaining": 21}, 1_900_000_000, 21),
]
_DOCUMENTED = ("waiting", "due", "unsure", "missed")
REFUSALS = (
    "not due", "too soon", "no time", "no doses", "tray full", "door open", "held", "not recorded", "used cartridge",
    "plan ended", "not in place",
)  # fmt: skip


class Screen(NamedTuple):
    """One page as it was drawn: 64 rows of 128 dots, 1 for light."""

    case: str
    lines: list[str]
    large: bool
    dots: Dots


def drawn(language: str, plan: medication.MedicationPlan | None = None) -> list[Screen]:
    """Every page of every state in this language, of the example's plan unless another one is given."""
    with tempfile.TemporaryDirectory(prefix="kerb-screens-") as name:
        signed, asked = Path(name) / "plan", Path(name) / "asked.json"
        document = medication.encode(plan or plans.read(PLAN))
        signed.write_bytes(bytes(medication.SIGNATURE_BYTES) + document)
        content = {"plan": str(signed), "language": language, "cases": CASES, "refusals": REFUSALS}
        asked.write_text(json.dumps(content))
        done = subprocess.run(
            [micropython(), "-X", "heapsize=1M", str(ROOT / "tests" / "firmware" / "draw_screens.py"), str(asked)],
            env={"MICROPYPATH": f"{ROOT}:{SHIMS}:.frozen"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
    pages = [json.loads(line) for line in done.stdout.splitlines()]
    return [Screen(page["case"], page["lines"], page["large"], _rows(bytes.fromhex(page["dots"]))) for page in pages]


def _rows(ram: bytes) -> Dots:
    return [[ram[y // 8 * WIDTH + x] >> y % 8 & 1 for x in range(WIDTH)] for y in range(HEIGHT)]


def sheet(screens: Sequence[Screen]) -> bytes:
    """All of them beside and below each other, as PNG."""
    down = -(-len(screens) // _ACROSS)
    wide, high = _ACROSS * (WIDTH + _BORDER) + _BORDER, down * (HEIGHT + _BORDER) + _BORDER
    grey = [bytearray(b"\x60" * wide) for _ in range(high)]
    for number, screen in enumerate(screens):
        left = _BORDER + number % _ACROSS * (WIDTH + _BORDER)
        top = _BORDER + number // _ACROSS * (HEIGHT + _BORDER)
        for y, row in enumerate(screen.dots):
            grey[top + y][left : left + WIDTH] = bytes(0xF0 if dot else 0x10 for dot in row)
    return png(grey)


def png(grey: Sequence[bytes | bytearray]) -> bytes:
    """A picture of rows of grey, each dot enlarged (PNG, ISO/IEC 15948)."""
    rows = b"".join(_SCALE * (b"\0" + b"".join(bytes([value]) * _SCALE for value in row)) for row in grey)
    head = struct.pack(">IIBBBBB", len(grey[0]) * _SCALE, len(grey) * _SCALE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def documented(shown: Mapping[str, Sequence[Screen]]) -> bytes:
    """The picture for the documentation: some states, in both languages."""
    return sheet([screen for language in shown for screen in shown[language] if screen.case in _DOCUMENTED])


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(documented({language: drawn(language) for language in ("en", "zh")}))
