"""Firmware on real MicroPython, cut off from its power at every moment. Prints one JSON line for each part.

`journal`: `cuts` (images of the flash as a loss of power leaves it), `unmountable`, `lost` (acknowledged packs that
were neither there nor declared), `wear` (fewest and most erasures of a sector).
`ota`: `cuts`, `unbootable` (no whole app starts), `stuck` (updates that could not go on), `refused` (bad offers),
`accepted` (bad offers that should have been refused), `patch_percent` (of the wearable's whole image, for a change of
some nine lines), `peak_bytes` (heap to apply a patch; pointers have 64 bits here).
`dispenser`: `states` of two doses' day, all visited, and `cuts` between any two steps of each event in each of them;
`events` at random; `double` doses, `wrong time`, `missed` without a report, `count` of doses wrong, `untrue` reports,
`unsaved` states; `file_cuts` of the file that holds the state, and how often it was `torn`.
`memory`: `peak_kb` that the wearable's whole firmware holds after collections, at most, on 32 bits (WebAssembly; the
simulated chips and the played broker left out); `hours` of virtual time that it ran in a heap of `heap_kb` with 64-bit
pointers, beside `simulated_kb` for what is simulated; `heap_drift` in bytes from the first hour to the last.
`replay`: 72 hours of one reading each 10 s, journalled offline: `packs`, `replay_s` until a real gateway has committed
them, and what was `twice`, `missing` or `out_of_order` there.
`pulse`: heartpy's recordings, and the same with motion, dropouts and saturation: seconds with a `good` or `uncertain`
rate, how far the good ones are from heartpy's, all of them and where heartpy itself rejected no beat (`heartpy_sure`),
those that are `wrong` by more than 5; rates given of noise alone, and while nobody wears the sensor; bytes of heap.
`spo2`: simulated blood of 70 to 100 %, a strong and a weak pulse, and noise: how far the values called good are off.
`falls`: simulated wearers: how many of `seeds` of each activity are said to be falls; by how much steps are miscounted;
`wrists`: false alarms and steps on recordings of people at exercise, if installed (bench/parts/fall_figures.py).
`provisioning`: from the label to the device's "done", over its console and (`ble_`) from the search on over the virtual
radio: `runs`, `p50_ms`, `p99_ms`.
`reconnect`: `cycles` of faults on devices' lines (resets, half-open ones, lost PUBACKs, silence, refusals, restarts of
the broker), and the ms from when a line is well to a reading that was taken since then; readings `missing` or `twice`;
devices `thought_dead` at the end; the latest sample (`sample_late_ms`), the longest hand-over of one (`append_ms`), and
how much heap and `sockets` have grown: MicroPython leaves the socket of a handshake that failed to the collector, which
closes it on boards and not in the unix port.
`latency`: from a sample to the gateway's link with mTLS, and the longest that the device's loop was `blocked_ms`; the
same while it makes connections (`handshake_blocked_ms`).
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.parts import fall_figures, memory, ota_change, ota_offers, provisioning, pulse_check, reconnect, replay
from bench.parts.micropython import run_micropython


def _journal() -> dict[str, Any]:
    return run_micropython("bench/parts/journal_cuts.py", 2600, 1)


def _ota() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kerb-ota-") as name:
        folder = Path(name)
        ota_offers.make(folder, files=12, file_bytes=1800)
        found = run_micropython("bench/parts/ota_cuts.py", folder, 40)
        found["patch_percent"] = ota_change.patch_percent(folder / "tree")
    with tempfile.TemporaryDirectory(prefix="kerb-ota-") as name:
        ota_offers.make(Path(name), files=30)
        return found | {"peak_bytes": run_micropython("bench/parts/ota_memory.py", name)["peak_bytes"]}


def _dispenser() -> dict[str, Any]:
    found = run_micropython("bench/parts/dose_check.py", 7, 1_000_000, 1)
    file = run_micropython("bench/parts/files_cuts.py", 300)
    return found | {"file_cuts": file["cuts"], "torn": file["torn"]}


def _memory() -> dict[str, Any]:
    return memory.measure(24, wasm_hours=2)


def _replay() -> dict[str, Any]:
    return replay.measure(72)


def _provisioning() -> dict[str, Any]:
    return provisioning.measure(50)


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "journal": _journal,
    "ota": _ota,
    "dispenser": _dispenser,
    "memory": _memory,
    "replay": _replay,
    "reconnect": lambda: reconnect.measure(500),
    "latency": lambda: reconnect.latency(60),
    "pulse": pulse_check.measure_pulse,
    "spo2": pulse_check.measure_spo2,
    "falls": lambda: fall_figures.measure(25),
    "provisioning": _provisioning,
}


def main() -> None:
    """All parts, or those that are named."""
    parser = argparse.ArgumentParser(
        prog="kerb bench firmware", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}; there are {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        print(json.dumps({"bench": name, **PARTS[name]()}), flush=True)


if __name__ == "__main__":
    main()
