"""What memory the wearable's whole firmware takes: on 32 bits, and for a day within a bounded heap.

Real MicroPython runs the image that a board would be flashed with, in virtual time, on simulated chips with a real
journal, towards a broker and gateway that are played (app_memory/world.py). What is simulated shares the heap: it is
measured, left out of the peak, and given room of its own in the bounded heap.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.parts import devices
from hardware import images
from hardware.sim.device import micropython, prepare

HEAP_KB = 220
_BOARD = "kerb-wearable"
_PARTS = Path("bench/parts/app_memory")
_NODE = Path(sys.prefix) / "node" / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"
_WASM = _NODE / "micropython.mjs"
_LIMIT_S = 7200


def has_wasm() -> bool:
    """Whether MicroPython for WebAssembly is installed: `./kerb test` and `./kerb bench` do that."""
    return _WASM.exists()


def measure(hours: float, *, wasm_hours: float) -> dict[str, Any]:
    """`peak_kb` on 32 bits, over `wasm_hours`; `hours` that the app ran in a heap of `heap_kb`; `heap_drift` in bytes.

    `simulated_kb` is the room that the simulated hardware had beside it, `connections` how often the line came back.
    """
    if not has_wasm():
        raise SystemExit(f"{_WASM} is missing: `./kerb bench` installs it by npm, which has failed; see .venv/npm.log")
    with tempfile.TemporaryDirectory(prefix="kerb-memory-") as name:
        flash = Path(name)
        wasm = _run(_flashed(flash / "wasm"), wasm_hours, node=True)
        simulated = _run(_flashed(flash / "short"), 0.01, heap="1M")["others"]
        day = _run(_flashed(flash / "day"), hours, heap=str(HEAP_KB * 1024 + simulated))
    return {
        "peak_kb": round(wasm["peak"] / 1024, 1),
        "hours": round(day["hours"], 2),
        "heap_drift": day["last"] - day["first"],
        "heap_kb": HEAP_KB,
        "simulated_kb": round(simulated / 1024, 1),
        "packs": day["packs"],
        "connections": day["connections"],
    }


def _flashed(state: Path) -> Path:
    prepare(state, board=_BOARD, device="d", host="nowhere", port=1, recording=0)
    devices.admit(state.with_name(f"{state.name}-gateway"), "d", state)
    for name in ("__init__", "app", "no_tls", "world"):
        target = state / "host" / _PARTS / f"{name}.mpy"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(images.compiled(_PARTS / f"{name}.py"))
    return state


def _run(state: Path, hours: float, *, heap: str = "", node: bool = False) -> dict[str, Any]:
    """What app.py has found. Raises SystemExit with what was printed if it fails, as for want of memory."""
    script = f"from bench.parts.app_memory import app; app.main({str(state)!r}, {hours})"
    unix = [micropython(), "-X", f"heapsize={heap}", "-c", script]
    wasm = [str(Path(sys.executable).parent / "node"), str(images.ROOT / _PARTS / "wasm.mjs"), str(_WASM)]
    done = subprocess.run(
        [*wasm, str(state), str(hours)] if node else unix,
        env={**os.environ, "MICROPYPATH": f"{state / 'a'}:{state / 'host'}:.frozen", "KERB_STATE": str(state)},
        cwd=state,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not found:
        raise SystemExit(f"the app ended before {hours:g} hours had passed:\n{(done.stdout + done.stderr)[-1500:]}")
    result: dict[str, Any] = json.loads(found[-1])
    return result
