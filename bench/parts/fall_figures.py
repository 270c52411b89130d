"""Falls and steps: simulated wearers, and, where they are installed, recordings of real wrists at exercise.

The recordings are those of the package seglearn (BSD; `pip install --no-deps seglearn`): 20 people who do exercises of
the shoulder with a watch at the wrist, 50 samples a second. Nobody falls or walks: what is found there is false.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.parts.micropython import run_micropython
from firmware.apps import falls
from firmware.apps.steps import StepCounter

_FALLS = ("fall forward", "fall backward", "fall sideways")
_NO_FALLS = ("still", "walk", "run", "sit down hard", "stumble", "clap", "drop", "fall and rise")
_SAMPLES_PER_S = 50


def measure(seeds: int) -> dict[str, Any]:
    """Sensitivity and specificity on so many of each simulated activity, and what is found on real wrists."""
    found = run_micropython("bench/parts/fall_check.py", seeds)
    noticed: dict[str, int] = found["noticed"]
    caught, false = sum(noticed[name] for name in _FALLS), sum(noticed[name] for name in _NO_FALLS)
    return {
        "seeds": seeds,
        "sensitivity_percent": round(100 * caught / (seeds * len(_FALLS)), 1),
        "specificity_percent": round(100 - 100 * false / (seeds * len(_NO_FALLS)), 1),
        "noticed": noticed,
        "worst_step_error_percent": {name: round(value, 1) for name, value in found["step_error_percent"].items()},
        "wrists": _wrists(),
    }


def _wrists() -> dict[str, Any] | None:
    spec = find_spec("seglearn")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / "watch_dataset.npy"
    samples = noticed = steps = 0
    for recording in np.load(path, allow_pickle=True).item()["X"]:
        detector = falls.FallDetector(samples_per_s=_SAMPLES_PER_S)
        counter = StepCounter(samples_per_s=_SAMPLES_PER_S)
        for sample in (recording[:, :3] * 1000).astype(int).tolist():
            counter.feed(*sample)
            if detector.feed(sample) and detector.state == falls.SUSPECTED:
                noticed += 1
                detector.cancel()
        samples += len(recording)
        steps += counter.steps
    return {"minutes": round(samples / _SAMPLES_PER_S / 60, 1), "false_alarms": noticed, "false_steps": steps}
