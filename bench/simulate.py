"""Device, gateway and hub under every fault, simulated from seeds: does each invariant hold at every step?

The invariants and what each is worth under which fault are in simulation/ledger.py. Fields: `seeds`, `violations`,
`first_failing` (a seed, or null), `steps`, `simulated_days`, `faults` (by kind), `seconds`. A failing seed is shrunk,
and told as a table on stderr; `--seed S` runs just that one, and tells it in any case.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulation import report
from simulation.plan import DAY_MS, draw
from simulation.run import run
from simulation.shrink import shrink

_SLICE = 50  # seeds that a process takes at once


@dataclass
class Sum:
    """What became of many seeds."""

    seeds: int = 0
    failing: list[int] = field(default_factory=list)
    steps: int = 0
    simulated_ms: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Sum") -> None:
        """Count the other one's in."""
        self.seeds += other.seeds
        self.failing += other.failing
        self.steps += other.steps
        self.simulated_ms += other.simulated_ms
        self.faults.update(other.faults)


def campaign(first: int, count: int, *, days: bool = False, jobs: int = 1) -> Iterator[Sum]:
    """Run seeds first, first + 1 ...; a sum of each slice of them as it is done."""
    size = 1 if days else _SLICE
    slices = [range(start, min(start + size, first + count)) for start in range(first, first + count, size)]
    if jobs == 1:
        yield from (_run_all(seeds, days) for seeds in slices)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run_all, slices, [days] * len(slices))


def _run_all(seeds: range, days: bool) -> Sum:
    total = Sum()
    for seed in seeds:
        outcome = run(draw(seed, days=days))
        failing = [seed] if outcome.invariant else []
        total.add(Sum(1, failing, outcome.steps, outcome.simulated_ms, outcome.faults))
    return total


def _tell(seed: int, *, days: bool) -> None:
    outcome = run(draw(seed, days=days), traced=True)
    shown = [outcome]
    if outcome.invariant:
        shown.append(shrink(outcome))
        print("as drawn, and shrunk:", file=sys.stderr)
    for each in shown:
        print("\n".join(report.lines(each)), file=sys.stderr)


def main() -> int:
    """Run, and print one line of JSON; 1 if an invariant was violated."""
    parser = argparse.ArgumentParser(prog="kerb bench simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="just this one, with its trace")
    parser.add_argument("--days", action="store_true", help="each seed is a whole day, with sparse readings")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args()
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    first, count = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    began = time.monotonic()
    total = Sum()
    columns = (
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[bad]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=count, bad="")
        for done in campaign(first, count, days=options.days, jobs=min(options.jobs, count)):
            total.add(done)
            progress.update(task, completed=total.seeds, bad=f"{len(total.failing)} failed" if total.failing else "")
    seconds = time.monotonic() - began
    if options.seed is not None or total.failing:
        _tell(min(total.failing, default=first), days=options.days)
    print(
        json.dumps(
            {
                "seeds": total.seeds,
                "violations": len(total.failing),
                "first_failing": min(total.failing, default=None),
                "steps": total.steps,
                "simulated_days": round(total.simulated_ms / DAY_MS, 3),
                "faults": dict(sorted(total.faults.items())),
                "seconds": round(seconds, 1),
            }
        )
    )
    return int(bool(total.failing))


if __name__ == "__main__":
    sys.exit(main())
