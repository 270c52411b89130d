"""The simulator: its invariants hold, it replays exactly, it finds bugs that are planted, and makes them short."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from simulation import report
from simulation.plan import DAY_MS, FAULTS, draw
from simulation.run import Outcome, Simulation, run
from simulation.shrink import shrink
from tests.simulation.planted import PLANTED

ROOT = Path(__file__).parent.parent.parent
SEEDS, AT_ONCE = 200, 25
BOUND = 400  # seeds within which each planted bug is found


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The bug is there meanwhile."""
    bug, places = PLANTED[name]
    with ExitStack() as stack:
        for place in places:
            module, attribute = place.rsplit(".", 1)
            stack.enter_context(patch.object(importlib.import_module(module), attribute, bug))
        yield


def first_failing() -> Outcome:
    for seed in range(BOUND):
        outcome = run(draw(seed))
        if outcome.invariant:
            return outcome
    pytest.fail(f"not found in {BOUND} seeds")


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_invariant_holds_at_every_step(first: int) -> None:
    outcomes = [run(draw(seed)) for seed in range(first, first + AT_ONCE)]
    assert [outcome.what for outcome in outcomes if outcome.invariant] == []


def test_every_kind_of_fault_is_drawn() -> None:
    assert {fault.kind for seed in range(SEEDS) for fault in draw(seed).faults} == set(FAULTS)


def test_a_day_goes_by() -> None:
    outcome = run(draw(0, days=True))
    assert outcome.what == ""
    assert outcome.simulated_ms >= DAY_MS


def test_a_seed_is_the_same_history_in_every_process() -> None:
    """Neither the order of sets, nor the time, nor anything else of a process may leak in."""
    program = (
        "from simulation.plan import draw; from simulation.run import run\n"
        "print(*(run(draw(seed), traced=True).digest() for seed in range(12)))"
    )
    histories = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    (digests,) = histories
    assert len(set(digests.split())) == 12
    assert run(draw(0), traced=True).digest() == digests.split()[0]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_in_custody_is_counted_again_at_every_step(seed: int) -> None:
    """The ledger keeps count as things are taken and let go; here is looked on disk and flash for each reading."""
    simulation = Simulation(draw(seed), traced=False)

    def look() -> None:
        found: set[int] = set()
        for gateway in simulation.gateways:
            query = "SELECT lane, epoch, first, seq FROM pack"
            for lane, epoch, first, last in gateway.storage.outbox.execute(query):
                for seq in range(first, last + 1):
                    found |= simulation.ledger.contents[lane, epoch, seq]
        for device in simulation.devices:
            if not device.alive:
                return
            for epoch, first, last in device.journal.epochs():
                for seq in range(first, last + 1):
                    found |= simulation.ledger.parcel(device.name, epoch, seq)
        assert simulation.ledger.outstanding <= found

    simulation.world.after_step.append(look)
    simulation.run()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        assert first_failing().invariant


def test_a_failing_plan_is_made_short_and_replays() -> None:
    with planted("the cursor is moved before the packs' transaction"):
        found = first_failing()
        short = shrink(found)
        assert short.invariant == found.invariant == "custody"
        assert len(short.plan.faults) <= 2
        assert short.steps <= found.steps
        assert run(short.plan, traced=True).digest() == short.digest()
    told = list(report.lines(short))
    assert short.what in told[0]
    assert any("power cut: gateway" in line for line in told)
    assert run(short.plan).what == ""  # without the bug the same plan is no trouble


def test_the_bench_prints_one_line_of_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.simulate", "--seeds", "3", "--first", "7", "--jobs", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    assert (result["seeds"], result["violations"], result["first_failing"]) == (3, 0, None)
    assert result["steps"] > 100
    assert sum(result["faults"].values()) == sum(len(draw(seed).faults) for seed in (7, 8, 9))
