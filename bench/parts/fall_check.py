"""Runs on MicroPython: simulated wearers through the step counter and the fall detector.

Arguments: how many seeds of each activity. Prints for each what became of it, and by how much steps were miscounted.
"""

import json
import sys

from firmware.apps import falls
from firmware.apps.steps import StepCounter
from hardware.sim.chips.motion import ACTIVITIES, Draw, Motion

SAMPLES_PER_S = 50
_PERIOD_US = 1000000 // SAMPLES_PER_S
_BEGIN_S, _EPISODE_S, _WALK_S = 5, 45, 60
_CADENCES = {"walk": (1.5, 2.1), "run": (2.4, 2.9)}  # the first that each draws; see motion.py


def is_fall_noticed(activity: str, seed: int) -> bool:
    """Whether a wearer who sits or walks, and then does this, is said to have fallen."""
    before = "still" if activity in ("drop", "clap") or seed % 2 else "walk"
    motion = Motion([(0, before), (_BEGIN_S, activity)], seed=seed)
    detector = falls.FallDetector(samples_per_s=SAMPLES_PER_S)
    for number in range(_EPISODE_S * SAMPLES_PER_S):
        at_us = number * _PERIOD_US
        detector.feed(motion.at(at_us), worn=activity != "drop" or at_us < 1000000 * _BEGIN_S)
        if detector.state == falls.FALLEN:
            return True
    return False


def step_error_percent(activity: str, seed: int) -> float:
    """By how much the steps of a minute differ from those that were taken."""
    hz = Draw(seed).between(*_CADENCES[activity])
    motion = Motion([(0, activity)], seed=seed)
    counter = StepCounter(samples_per_s=SAMPLES_PER_S)
    for number in range(_WALK_S * SAMPLES_PER_S):
        counter.feed(*motion.at(number * _PERIOD_US))
    taken = hz * _WALK_S
    return 100 * abs(counter.steps - taken) / taken


def main(seeds: int) -> None:
    """Print what became of so many of each."""
    found = {}
    for activity in ACTIVITIES:
        found[activity] = sum(is_fall_noticed(activity, seed) for seed in range(seeds))
    worst = {name: max(step_error_percent(name, seed) for seed in range(seeds)) for name in _CADENCES}
    print(json.dumps({"noticed": found, "step_error_percent": worst}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
