"""Hours of random faults of every kind under 1,000 readings/s: nothing lost, nothing twice, and nothing that grows.

Fields: `hours`, `faults` (how many of each), those of an account of all readings (see `kerb bench faults`), `wrong`
(times), and per process `rss_mb_per_hour` and `fds_per_hour`: the slopes of resident memory and of open file
descriptors, by least squares over all lives of the process, each without its first half minute and with a level of its
own; null where no life was long enough. Exit code 1 if a reading is missing, there twice, or wrong.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from functools import partial
from typing import Any

from bench.faults import is_right
from bench.parts.campaign import Campaign, say
from bench.parts.faults import clock, kill, network, slow
from bench.parts.faults.network import Fault
from bench.parts.growth import Growth
from bench.parts.lab import EVERYTHING

_QUIET_S = 20.0  # between two faults, on average: what grows shall have the time to show it
_LOOK_S = 5.0
_MOST_SLOW_S = 60.0
_WEIGHTS = {"kill": 8.0, "clock": 1.0, "slow": 2.0}  # of each of theirs; those of the lines have their own


def main() -> int:
    """Run for so long, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="how long (default 8)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="repeats a run's choices")
    options = parser.parse_args()
    say(f"soak: {options.hours:g} hours, seed {options.seed}")
    result = asyncio.run(soak(options.hours, options.seed))
    print(json.dumps(result), flush=True)
    return 0 if is_right(result) else 1


async def soak(hours: float, seed: int, *, quiet_s: float = _QUIET_S) -> dict[str, Any]:
    """What became of all readings, and how the processes grew."""
    done: Counter[str] = Counter()
    until_s = time.monotonic() + hours * 3600
    async with network.on_bad_lines(seed, other_clock=True) as (under, lines):
        growth = Growth(lambda: {name: under.lab.pid(name) for name in EVERYTHING})
        watching = asyncio.create_task(growth.run(_LOOK_S), name="growth")
        kinds = lines | _others(under)
        await under.recovered()
        while time.monotonic() < until_s and not under.failed:
            await asyncio.sleep(under.chance.expovariate(1 / quiet_s))
            (name,) = under.chance.choices(list(kinds), [weight for weight, _ in kinds.values()])
            say(f"{max(0.0, until_s - time.monotonic()) / 60:.0f} min left; {under.load.made()} made; {name}")
            await kinds[name][1]()
            done[name] += 1
            await under.recovered()
        watching.cancel()
        await asyncio.wait((watching,))
    slopes = {f"{of}_per_hour": growth.slopes(of) for of in ("rss_mb", "fds")}
    return {"hours": hours, "faults": dict(done), **under.result, **slopes, "seed": seed}


def _others(under: Campaign) -> dict[str, tuple[float, Fault]]:
    machine = clock.Machine(under)
    under.judges.append(lambda: clock.judge(under, machine.dark))

    async def at_slow_speed(share: float) -> None:
        async with slow.throttled(under, share):
            await asyncio.sleep(under.chance.uniform(5.0, _MOST_SLOW_S))

    return {
        "kill": (_WEIGHTS["kill"], lambda: kill.stroke(under)),
        **{f"clock: {deed.__name__}": (_WEIGHTS["clock"], deed) for deed in machine.deeds},
        **{f"slow: {share:.0%}": (_WEIGHTS["slow"], partial(at_slow_speed, share)) for share in slow.SHARES},
    }


if __name__ == "__main__":
    sys.exit(main())
