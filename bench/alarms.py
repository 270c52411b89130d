"""Alarms: generated sequences against the reference model, and what a reading costs.

Fields: `sequences` (run), `wrong` (0, or 1: the first one that differs ends the run, shrunk, on stderr), `seed`;
`alarms` raised in them, `restarts`, readings `repeated` and `late`, `seconds`; `us_a_reading` by kind of rule, through
a watch of 1,000 things.
"""

import argparse
import json
import random
import time
import traceback
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from protocols.alarm import Watch, read_rule
from protocols.reading import reading
from tests.protocols.test_alarm_model import HEAD, Against

_PORTION = 500
_ABOVE = {"metric": "temperature", "unit": "Cel", "above": 38.5, "hysteresis": 0.3}
_RULES: dict[str, dict[str, Any]] = {
    "limit": _ABOVE | {"delay_on_s": 60},
    "silence": {"metric": "temperature", "silent_s": 300},
    "change": {"metric": "temperature", "unit": "Cel", "changes": 2, "within_s": 600},
    "two_of_three": {"at_least": 2, "within_s": 60, "of": [_ABOVE, _ABOVE | {"above": 39}, _ABOVE | {"above": 40}]},
}


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(prog="kerb bench alarms", description=__doc__)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    options = parser.parse_args()
    started = time.monotonic()
    Against.counted.clear()
    wrong = _against_the_model(options.sequences, options.seed)
    print(
        json.dumps(
            {
                "sequences": Against.counted["sequences"],
                "wrong": wrong,
                "seed": options.seed,
                **{name: Against.counted[name] for name in ("alarms", "restarts", "repeated", "late")},
                "seconds": round(time.monotonic() - started, 1),
                "us_a_reading": {name: _cost_us(when) for name, when in _RULES.items()},
            }
        )
    )
    raise SystemExit(wrong)


def _against_the_model(sequences: int, number: int) -> int:
    """In portions: all that hypothesis generates of one it keeps in memory, so as not to try it twice."""
    while (left := sequences - Against.counted["sequences"]) > 0:
        if _portion(min(left, _PORTION), number):
            return 1
        number += 1
    return 0


def _portion(sequences: int, number: int) -> int:
    limits = settings(
        max_examples=sequences,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    try:
        run_state_machine_as_test(seed(number)(Against), settings=limits)
    except AssertionError:
        traceback.print_exc()
        return 1
    return 0


def _cost_us(when: dict[str, Any], readings: int = 100_000) -> float:
    """Microseconds for each of many readings of 1,000 things, ten of which come in at once."""
    watch = Watch()
    rule = read_rule(HEAD | {"when": when})
    for thing in range(1000):
        watch.add(rule, f"t{thing}", 0)
    made = [reading("temperature", 36.5 + n % 7 / 10, "Cel", time_ms=1 + n) for n in range(readings)]
    started = time.perf_counter()
    for n, each in enumerate(made):
        watch.take(f"t{n % 1000}", each, n)
        if n % 10 == 9:
            watch.settle(n)
    return round((time.perf_counter() - started) / readings * 1e6, 1)


if __name__ == "__main__":
    main()
