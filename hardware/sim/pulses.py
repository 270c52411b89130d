"""The recordings of real pulses that the simulated wearable measures; they come with the package heartpy."""

import csv
import struct
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from hardware.sim.chips.recording import FULL_SCALE, HEADER, MAGIC

RECORDINGS = 3
_NAMES = ("data.csv", "data2.csv", "data3.csv")
_UNTIMED_SAMPLES_PER_S = 100.0  # of the first one, as its documentation says


class RecordingMissingError(Exception):
    """The recordings are not installed."""


def source(number: int) -> Path:
    """The CSV file of a recording (0 ... 2). Raises RecordingMissingError."""
    spec = find_spec("heartpy")
    if spec is None or spec.origin is None:
        raise RecordingMissingError("the pulse recordings are missing; install the package heartpy")
    return Path(spec.origin).parent / "data" / _NAMES[number]


def load(number: int) -> tuple[list[int], float]:
    """A recording's samples and how many there are in a second.

    The recordings' clocks tick coarsely but their samples came evenly, so only the first and last time are used.
    """
    with source(number).open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows[0]) == 1 and rows[0][0].replace(".", "").isdigit():
        return [int(float(row[0])) for row in rows], _UNTIMED_SAMPLES_PER_S
    kind = rows.pop(0)[0]
    samples = [int(float(row[1])) for row in rows]
    first, last = (_seconds(row[0], kind) for row in (rows[0], rows[-1]))
    return samples, (len(samples) - 1) / (last - first)


def write(number: int, path: Path) -> None:
    """Write a recording as the chip model reads it."""
    write_samples(*load(number), path)


def write_samples(samples: Sequence[int], samples_per_s: float, path: Path) -> None:
    """Write levels of blood (0 ... 1023, others are clipped) as the chip model reads them."""
    clipped = [min(max(sample, 0), FULL_SCALE - 1) for sample in samples]
    header = struct.pack(HEADER, MAGIC, round(1e9 / samples_per_s), len(clipped))
    path.write_bytes(header + struct.pack(f"<{len(clipped)}H", *clipped))


def _seconds(text: str, kind: str) -> float:
    return float(text) / 1000 if kind == "timer" else datetime.fromisoformat(text).timestamp()
