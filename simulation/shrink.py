"""Makes a short plan of one that fails: what is not needed for the same invariant to be violated is left out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from simulation.plan import FAULTS, Plan
from simulation.run import Outcome, run

_MOST_RUNS = 600
_T = TypeVar("_T")


def shrink(outcome: Outcome) -> Outcome:
    """The outcome of a shorter plan that breaks the same invariant, with its trace."""
    best = outcome
    runs = 0
    progress = True
    while progress and runs < _MOST_RUNS:
        progress = False
        for plan in _shorter(best.plan):
            runs += 1
            found = run(plan)
            if found.invariant == outcome.invariant:
                best, progress = found, True
                break
            if runs >= _MOST_RUNS:
                break
    return run(best.plan, traced=True)


def _shorter(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the boldest cuts first."""
    for faults in _without_parts(plan.faults):
        yield replace(plan, faults=faults)
    for orders in _without_parts(plan.orders):
        yield replace(plan, orders=orders)
    for devices in range(plan.devices):
        yield replace(plan, devices=devices, faults=tuple(f for f in plan.faults if _is_there(f.who, devices)))
    if plan.own_ms and plan.devices:
        yield replace(plan, own_ms=0)
    if plan.urgent_each:
        yield replace(plan, urgent_each=0)
    for storm_ms in (plan.storm_ms // 2, plan.storm_ms * 3 // 4, plan.storm_ms - 1000):
        if storm_ms > 0:
            faults = tuple(fault for fault in plan.faults if fault.at_ms < storm_ms)
            orders = tuple(order for order in plan.orders if order.at_ms < storm_ms)
            yield replace(plan, storm_ms=storm_ms, faults=faults, orders=orders)
    if len(plan.faults) > 1:  # each alone; with the others gone the right moment may be a few actions earlier or later
        for fault in plan.faults:
            low, high = FAULTS[fault.kind][3] if fault.kind == "power cut" else (fault.detail, fault.detail)
            for detail in range(low, high + 1):
                yield replace(plan, faults=(fault._replace(detail=detail),))
    for name in ("own_ms", "device_ms"):
        if 0 < getattr(plan, name) < plan.storm_ms // 4:
            yield replace(plan, **{name: 2 * getattr(plan, name)})


def _without_parts(whole: Sequence[_T]) -> Iterator[tuple[_T, ...]]:
    """The sequence without one half, one quarter ... one of it."""
    size = len(whole)
    while size:
        size = (size + 1) // 2 if size > 1 else 1
        for start in range(0, len(whole), size):
            yield (*whole[:start], *whole[start + size :])
        if size == 1:
            return


def _is_there(who: str, devices: int) -> bool:
    return not who.startswith("device-") or int(who[7]) < devices
