"""Firmware on real MicroPython, cut off from its power at every moment. Prints one JSON line for each part.

`journal`: `cuts` (images of the flash as a loss of power leaves it), `unmountable`, `lost` (acknowledged packs that
were neither there nor declared), `wear` (fewest and most erasures of a sector).
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardware.sim.wearable import micropython

_ROOT = Path(__file__).parent.parent
_HEAP = "16M"
_LIMIT_S = 1200


def run_micropython(script: str, *arguments: object) -> dict[str, Any]:
    """What a script, given relative to the root, prints as its last line. Raises SystemExit if it fails."""
    done = subprocess.run(
        [micropython(), "-X", f"heapsize={_HEAP}", script, *map(str, arguments)],
        cwd=_ROOT,
        env={**os.environ, "MICROPYPATH": ".:.frozen"},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _journal() -> dict[str, Any]:
    return run_micropython("bench/parts/journal_cuts.py", 2600, 1)


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"journal": _journal}


def main() -> None:
    """All parts, or those that are named."""
    parser = argparse.ArgumentParser(prog="kerb bench firmware", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}; there are {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        print(json.dumps({"bench": name, **PARTS[name]()}), flush=True)


if __name__ == "__main__":
    main()
