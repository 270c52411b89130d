"""The fault laboratory: real processes under 1,000 readings/s, faults of one kind, an account of every reading.

The ledger is kept outside of all that may fail: each reading has a number, and in the end each one is stored once,
suppressed, still buffered, or declared lost. One JSON line a kind: `kind`, `count` (of faults), `made`, `stored`,
`suppressed`, `buffered`, `declared_lost`, `missing`, `duplicates`, `seed`, and what the kind has to add. Progress and
the account of each device go to stderr. Exit code 1 if a reading is missing, there twice, or otherwise wrong.
"""

import argparse
import importlib
import json
import random
import sys
import time
from typing import Any

from bench.parts.campaign import say

# kind -> its module in bench.parts.faults, what `--count` counts, and how many are a full campaign
KINDS = {
    "kill": ("kill", "kills", 1000),
    "network": ("network", "faults of the line", 300),
    "disk": ("disk", "disks that fill up or fail", 100),
    "power": ("power", "disks after a power cut", 10_000),
    "clock": ("clock", "things done to the gateway's wall clock", 100),
    "slow": ("slow", "seconds of a hub at a tenth and a hundredth of its speed", 1800),
}


def main() -> int:
    """Run the kinds that are asked for, one after another."""
    parser = argparse.ArgumentParser(prog="kerb bench faults", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="may be repeated; default: all")
    counts = ", ".join(f"{count} {noun}" for _, noun, count in KINDS.values())
    parser.add_argument("--count", type=int, help=f"how many faults; default, a full campaign: {counts}")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="repeats a run's choices")
    options = parser.parse_args()
    right = True
    for kind in options.kind or KINDS:
        result = measure(kind, options.count or KINDS[kind][2], options.seed)
        print(json.dumps(result), flush=True)
        right &= is_right(result)
    return 0 if right else 1


def measure(kind: str, count: int, seed: int) -> dict[str, Any]:
    """One campaign, as its JSON line tells."""
    module, noun, _ = KINDS[kind]
    say(f"{kind}: {count} {noun}, seed {seed}")
    started = time.monotonic()
    result = importlib.import_module(f"bench.parts.faults.{module}").run(count, seed)
    seconds = round(time.monotonic() - started, 1)
    return {"kind": kind, "count": count, **result, "seconds": seconds, "seed": seed}


def is_right(result: dict[str, Any]) -> bool:
    """Whether a campaign has found nothing wrong; `wrong` is what its kind has beside missing and twofold readings."""
    return not (result["missing"] or result["duplicates"] or result.get("wrong"))


if __name__ == "__main__":
    sys.exit(main())
