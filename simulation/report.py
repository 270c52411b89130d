"""A run for people: its plan, and what happened, as a table of time, who and what."""

from collections.abc import Iterator
from dataclasses import fields

from simulation.run import Outcome

_LAST_LINES = 60


def lines(outcome: Outcome) -> Iterator[str]:
    """The verdict, the plan, all faults, and the end of the trace."""
    verdict = outcome.what if outcome.invariant else "every invariant held"
    yield f"seed {outcome.plan.seed}, {outcome.steps} steps, {outcome.simulated_ms / 1000:g} s: {verdict}"
    plan = [f"{each.name} {getattr(outcome.plan, each.name)}" for each in fields(outcome.plan)]
    yield "plan: " + ", ".join(plan[1:-2])
    trace = outcome.trace or []
    left_out = max(0, len(trace) - _LAST_LINES)
    for number, line in enumerate(trace):
        if number >= left_out or line.who == "*":
            yield f"{line.time_ms / 1000:10.3f}  {line.who:<14}  {line.what}"
        elif number == left_out - 1:
            yield f"            ({left_out} lines before these are left out, but for the faults)"
