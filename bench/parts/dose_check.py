"""Runs on both interpreters: checks the dispenser's state machine in its world (dose_world.py).

Arguments: how many moments (at most 7) of a day with two doses, how many random events, and a seed. First every state
that the day can lead to is visited, with a power cut between any two steps; then come the random events, with journeys,
refills, jams, a failing journal and a lost clock. Prints {"states": ..., "cuts": ..., "events": ...}, and how many
complaints there were of each kind.
"""

import json
import random
import sys

from bench.parts.dose_world import SEEN, START_S, STUCK, UNSEEN, World
from firmware.apps import doses
from protocols import schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = ("double", "wrong time", "missed", "count", "untrue", "unsaved")
_SMALL = schedule.Plan(1, (schedule.Entry(480, 0x7F), schedule.Entry(600, 0x7F)), 3600, 3600, 1 << 40)
_MOMENTS = (28790, 28800, 30700, 32400, 36000, 37900, 39600)  # before, at, in and after the windows of that day, in s
_ENOUGH = 100
_MOST_STEPS = 14  # of one event, after each of which power may fail


class Counts:
    """What a campaign counts. With `enough` complaints it may end."""

    def __init__(self) -> None:
        self.found = {kind: 0 for kind in _KINDS}
        self.found.update({"states": 0, "cuts": 0, "events": 0})

    def take(self, world: World) -> None:
        """Count the world's complaints, and forget them."""
        for kind, about in world.complaints:
            if not self.found[kind]:
                print(kind, about)
            self.found[kind] += 1
        world.complaints = []

    def enough(self) -> bool:
        """Whether it is clear that the machine is wrong."""
        return sum([self.found[kind] for kind in _KINDS]) > _ENOUGH


# --- every state of a day ---

_EVENTS = (
    ("button",),
    ("button", SEEN, True),
    ("button", UNSEEN, True),
    ("button", UNSEEN, False),
    ("button", STUCK, True),
    ("button", STUCK, False),
    ("take",),
    ("answer",),
    ("turn_door",),
    ("cut",),
    ("moment",),
)


def visit_all(counts: Counts, moments: int) -> None:
    """Every state that can be reached by so many moments of that day: each event, whole, and cut at each step."""
    start = World(_SMALL, compartments=2)
    waiting = [(_freeze(start), 0)]
    known = {waiting[0]}
    while waiting and not counts.enough():
        frozen, moment = waiting.pop()
        for event in _EVENTS:
            for cut_at in range(-1, _MOST_STEPS):
                world = _thaw(frozen)
                used = _apply(world, event, moment, None if cut_at < 0 else cut_at)
                counts.take(world)
                counts.found["cuts"] += world.cuts
                after = (_freeze(world), moment + (event[0] == "moment"))
                if after not in known and after[1] <= moments:
                    known.add(after)
                    waiting.append(after)
                if cut_at >= 0 and not used:
                    break  # the event has fewer steps than that
        _end_of_day(_thaw(frozen), counts)
    counts.found["states"] += len(known)


def _apply(world: World, event: "tuple[Any, ...]", moment: int, cut_at: "int | None") -> bool:
    """Let it happen; whether power failed."""
    world.motor, world.wheel_readable = event[1:] if len(event) > 1 else (SEEN, True)
    world.cut_at, world.cuts = cut_at, 0
    if event[0] != "moment":
        world.event(event[0])
    elif moment < len(_MOMENTS):
        world.event("advance", START_S + _MOMENTS[moment] - world.now_s)
    return bool(world.cuts)


def _end_of_day(world: World, counts: Counts) -> None:
    world.event("advance", START_S + 86000 - world.now_s)
    world.check_missed()
    counts.take(world)


def _freeze(world: World) -> str:
    """All that makes the world go on otherwise than another one; numbers of reports do not."""
    state = dict(json.loads(json.dumps(world.machine.state)), number=0)
    machine = world.machine
    return json.dumps(
        [
            [world.now_s, world.compartments, world.tray, sorted(world.taken), sorted(world.drops), world.last_drop_s],
            [world.door, sorted(world.seen_s.items()), sorted(world.until_s.items()), world.highest, world.capacity],
            [[event, sorted(known.items())] for event, known in sorted(world.reports.items())],
            [machine.tray_full, machine.door_open, machine._now_s, machine._time_lost],
            [[name, state[name]] for name in sorted(state)],
        ]
    )


def _thaw(frozen: str) -> World:
    physical, around, reports, inside, state = json.loads(frozen)
    world = World(_SMALL, compartments=2)
    world.now_s, world.compartments, world.tray, taken, drops, world.last_drop_s = physical
    world.taken, world.drops = set(taken), {key: 1 for key in drops}
    world.door, seen, until, world.highest, world.capacity = around
    world.seen_s, world.until_s = {key: at for key, at in seen}, {key: at for key, at in until}
    world.reports = {event: {key: count for key, count in known} for event, known in reports}
    world.app.machine = doses.Doses(_SMALL, {name: value for name, value in state})
    world.machine.tray_full, world.machine.door_open = inside[:2]
    world.machine._now_s, world.machine._time_lost = inside[2:]
    world.saved = json.dumps(world.machine.state).encode()
    world.complaints = []
    return world


# --- random events ---


def at_random(counts: Counts, events: int, seed: int) -> None:
    """So many events of a long life; of every few hundred the world asks whether any dose was missed silently."""
    random.seed(seed)
    world = World()
    for number in range(events):
        _random_event(world)
        if number % 200 == 199:
            world.event("check_missed")
        if world.complaints:
            counts.take(world)
    world.event("check_missed")
    counts.take(world)
    counts.found["events"] += events
    counts.found["cuts"] += world.cuts


def _random_event(world: World) -> None:
    if random.randrange(5) == 0:
        world.cut_at = random.randrange(10)
    world.motor = SEEN if random.randrange(10) else (UNSEEN, STUCK)[random.randrange(2)]
    world.wheel_readable = random.randrange(8) > 0
    chance = random.randrange(1000)
    for below, event in _CHANCES:
        if chance < below:
            event(world)
            return


def _glitch(world: World) -> None:
    """Clock or journal fails, or works again."""
    world.clock = random.randrange(4) > 0
    world.journal_works = random.randrange(4) > 0


_CHANCES = (  # of an event in a thousand, added up
    (180, lambda world: world.event("advance", random.randrange(1, 60) * (10 if random.randrange(3) else 120))),
    (360, lambda world: world.event("advance", _until_due(world) + random.randrange(900))),
    (640, lambda world: world.event("button")),
    (820, lambda world: world.event("take")),
    (900, lambda world: world.event("answer")),
    (930, lambda world: world.event("turn_door")),
    (950, lambda world: world.event("refill", world.cartridge + random.randrange(-1, 2))),
    (960, lambda world: world.event("cut")),
    (963, lambda world: world.event("travel", random.randrange(-12, 15) * 60)),
    (966, lambda world: world.event("replan")),
    (987, _glitch),
    (1000, lambda world: world.event("advance", random.randrange(86400))),
)


def _until_due(world: World) -> int:
    """Seconds until the next dose is due, or 0 if one is."""
    state = world.machine.state
    following = schedule.next_after(world.plan, state["cursor"])
    if state["dose"] or following is None:
        return 0
    return max(0, schedule.instant(world.zone, following) - world.now_s)


def main(moments: int, events: int, seed: int) -> None:
    """Both; prints the counts."""
    counts = Counts()
    visit_all(counts, moments)
    at_random(counts, events, seed)
    print(json.dumps(counts.found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
