"""The pulse and oxygen meters on real MicroPython, held against heartpy and against the oxygen that was simulated."""

import itertools
import json
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from bench.parts.micropython import micropython_lines
from hardware.sim import pulses
from protocols.reading import GOOD

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # heartpy asks setuptools where its files are
    import heartpy
    import numpy as np

HEAP = "190K"
_SEGMENT_S, _STEP_S = 20, 5  # heartpy is asked about so much at a time
_FEWEST = 4  # intervals that make a rate, for heartpy too
_NEAR_MS = 150
_CLOSE_BPM, _WRONG_BPM = 2.0, 5.0
_SETTLED_S = 12  # of oxygen: five stretches of two seconds, and the filter

Second = tuple[int | None, int, int, int, int, int | None, int]


def replay(measurements: Sequence[dict[str, Any]], *, heap: str = HEAP) -> list[tuple[list[Second], dict[str, int]]]:
    """What the meters say each second of each measurement, and the counts at its end (see pulse_replay.py)."""
    found: list[tuple[list[Second], dict[str, int]]] = []
    seconds: list[Second] = []
    for line in micropython_lines("bench/parts/pulse_replay.py", *map(json.dumps, measurements), heap=heap):
        if isinstance(line, list):
            seconds.append(tuple(line))
        else:
            found.append((seconds, line))
            seconds = []
    return found


class Reference:
    """heartpy's beats in a recording, found segment by segment."""

    def __init__(self, samples: Sequence[int], samples_per_s: float):
        length = int(_SEGMENT_S * samples_per_s)
        starts = range(0, max(1, len(samples) - length + 1), int(_STEP_S * samples_per_s))
        self._segments = [found for start in starts if (found := _beats(samples, start, length, samples_per_s))]

    def rate(self, begin_ms: int, end_ms: int) -> tuple[float, int] | None:
        """The rate by the beats in this span, and how many of them heartpy rejected; None if it has no rate there.

        Of the segments that contain the span, the one in which heartpy rejected the fewest.
        """
        best: tuple[int, float] | None = None
        for first_ms, last_ms, times, accepted in self._segments:
            if first_ms > begin_ms - 2 * _NEAR_MS or last_ms < end_ms + 2 * _NEAR_MS:
                continue
            inside = np.flatnonzero((times >= begin_ms - _NEAR_MS) & (times <= end_ms + _NEAR_MS))
            intervals = [times[i + 1] - times[i] for i in inside[:-1] if accepted[i] and accepted[i + 1]]
            if len(intervals) >= _FEWEST:
                rejected = int(sum(1 for i in inside if not accepted[i]))
                candidate = (rejected, 60000 / float(np.mean(intervals)))
                best = candidate if best is None else min(best, candidate)
        return None if best is None else (best[1], best[0])


def _beats(samples: Sequence[int], start: int, length: int, samples_per_s: float) -> Any:
    segment = np.array(samples[start : start + length], float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, _ = heartpy.process(segment, samples_per_s)
    except heartpy.exceptions.BadSignalWarning:
        return None
    times = (start + np.array(found["peaklist"])) * 1000 / samples_per_s
    first_ms, last_ms = start * 1000 / samples_per_s, (start + len(segment)) * 1000 / samples_per_s
    return first_ms, last_ms, times, np.array(found["binary_peaklist"])


def _motion(level: int, second: float, noise: random.Random) -> int:
    """Of each half minute ten seconds of an arm that moves."""
    if second % 30 < 20:
        return level
    wave = 200 * np.sin(2 * np.pi * 1.7 * second) + 120 * np.sin(2 * np.pi * 2.9 * second)
    return int(level + wave + noise.gauss(0, 60))


def _dropouts(level: int, second: float, noise: random.Random) -> int:
    return 0 if second % 10 > 8.5 else level


def _saturation(level: int, second: float, noise: random.Random) -> int:
    return 1023 if second % 15 > 12 else level


def _noise_alone(level: int, second: float, noise: random.Random) -> int:
    return int(512 + noise.gauss(0, 80))


_DISTURBANCES: dict[str, Callable[[int, float, random.Random], int]] = {
    "motion": _motion,
    "dropouts": _dropouts,
    "saturation": _saturation,
}


def _errors(seconds: Sequence[Second], reference: Reference) -> list[tuple[float, bool, bool]]:
    """(difference from heartpy in bpm, whether we call it good, whether heartpy rejected nothing there), by second."""
    found = []
    for tenths, quality, _, begin_ms, end_ms, *_ in seconds:
        expected = None if tenths is None else reference.rate(begin_ms, end_ms)
        if tenths is not None and expected is not None:
            found.append((tenths / 10 - expected[0], quality == GOOD, expected[1] == 0))
    return found


def _figures(errors: Sequence[float]) -> dict[str, float | int]:
    sizes = [abs(error) for error in errors]
    if len(sizes) < 2:
        return {"compared": len(sizes)}
    return {
        "compared": len(sizes),
        "mean_abs_bpm": round(mean(sizes), 2),
        "p95_bpm": round(quantiles(sizes, n=20)[-1], 2),
        "within_2_percent": round(100 * sum(size <= _CLOSE_BPM for size in sizes) / len(sizes), 1),
    }


def measure_pulse(recordings: Sequence[int] = range(pulses.RECORDINGS)) -> dict[str, Any]:
    """The rates of the recordings, undisturbed and disturbed, beside heartpy's of the undisturbed ones."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kerb-pulse-") as folder:
        for number in recordings:
            samples, samples_per_s = pulses.load(number)
            reference = Reference(samples, samples_per_s)
            path = Path(folder) / "plain"
            pulses.write(number, path)
            [(seconds, counts)] = replay([{"path": str(path)}])
            errors = _errors(seconds, reference)
            entry: dict[str, Any] = {
                "seconds": len(seconds),
                "good": sum(second[1] == GOOD for second in seconds),
                "uncertain": sum(second[0] is not None and second[1] != GOOD for second in seconds),
                "all_good": _figures([error for error, good, _ in errors if good]),
                "heartpy_sure": _figures([error for error, good, sure in errors if good and sure]),
                "mean_bpm": round(mean(second[0] for second in seconds if second[0] is not None) / 10, 2),
                "heap": counts["heap"],
            }
            for name, disturb in _DISTURBANCES.items():
                entry[name] = _disturbed(Path(folder) / name, samples, samples_per_s, reference, disturb)
            found[f"recording_{number}"] = entry
        found["noise_alone_given"], found["nobody_given"] = _nothing_there(Path(folder))
    return found


def _disturbed(
    path: Path,
    samples: Sequence[int],
    samples_per_s: float,
    reference: Reference,
    disturb: Callable[[int, float, random.Random], int],
) -> dict[str, Any]:
    noise = random.Random(5)
    pulses.write_samples(
        [disturb(level, i / samples_per_s, noise) for i, level in enumerate(samples)], samples_per_s, path
    )
    [(seconds, _)] = replay([{"path": str(path)}])
    errors = [error for error, good, sure in _errors(seconds, reference) if good and sure]
    return {
        "good_percent": round(100 * sum(second[1] == GOOD for second in seconds) / len(seconds), 1),
        **_figures(errors),
        "wrong": sum(abs(error) > _WRONG_BPM for error in errors),
    }


def _nothing_there(folder: Path) -> tuple[int, int]:
    """How often a number is given of noise, and of a sensor that nobody wears; both in a minute."""
    samples, samples_per_s = pulses.load(2)
    noise = random.Random(6)
    minute = samples[: int(60 * samples_per_s)]
    pulses.write_samples([_noise_alone(0, 0, noise) for _ in minute], samples_per_s, folder / "noise")
    pulses.write_samples(minute, samples_per_s, folder / "minute")
    found = replay([{"path": str(folder / "noise")}, {"path": str(folder / "minute"), "worn": False, "noise": 30}])
    noisy, nobody = (sum(second[0] is not None for second in seconds) for seconds, _ in found)
    return noisy, nobody


def measure_spo2(
    percents: Sequence[int] = range(70, 101, 2), noises: Sequence[int] = (0, 50, 200), seconds: int = 24
) -> dict[str, Any]:
    """SpO2 of simulated blood, by the noise in the light, with a strong and a weak pulse."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kerb-spo2-") as folder:
        path = Path(folder) / "pulse"
        pulses.write(0, path)
        for swing_ppm, noise in itertools.product((40000, 4000), noises):
            measurements = [
                {"path": str(path), "spo2": percent, "noise": noise, "swing_ppm": swing_ppm, "seconds": seconds}
                for percent in percents
            ]
            runs = zip(percents, replay(measurements), strict=True)
            said = list(_saturations((percent, run[0]) for percent, run in runs))
            errors = [error for error, good in said if good]
            found[f"swing_{swing_ppm // 1000}_noise_{noise}"] = {
                "due": len(percents) * (seconds - _SETTLED_S),
                "good": len(errors),
                "uncertain": len(said) - len(errors),
                "rms_percent": round(mean(error**2 for error in errors) ** 0.5, 2) if errors else None,
                "worst_percent": round(max(map(abs, errors)), 1) if errors else None,
            }
    return found


def _saturations(runs: "Iterator[tuple[int, list[Second]]]") -> Iterator[tuple[float, bool]]:
    """(error in percent, whether it was called good) of each value that was given."""
    for percent, seconds in runs:
        for *_, tenths, quality in seconds[_SETTLED_S:]:
            if tenths is not None:
                yield tenths / 10 - percent, quality == GOOD
