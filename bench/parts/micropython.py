"""Runs the parts of a benchmark that are for MicroPython."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hardware.sim.device import SHIMS, micropython

_ROOT = Path(__file__).parent.parent.parent
_HEAP = "128M"
_LIMIT_S = 1800


def run_micropython(script: str, *arguments: object) -> dict[str, Any]:
    """What a script, given relative to the root, prints as its last line. Raises SystemExit if it fails."""
    found: dict[str, Any] = micropython_lines(script, *arguments)[-1]
    return found


def micropython_lines(script: str, *arguments: object, heap: str = _HEAP) -> list[Any]:
    """All that a script prints, line by line from JSON. Raises SystemExit if it fails."""
    done = subprocess.run(
        [micropython(), "-X", f"heapsize={heap}", script, *map(str, arguments)],
        cwd=_ROOT,
        env={**os.environ, "MICROPYPATH": f".:{SHIMS}:.frozen"},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
