"""The dispenser's state machine: one day by hand, every state of a day with every cut, and a long life at random."""

import json

import pytest

from bench.parts import dose_check
from bench.parts.dose_world import CAPACITY, PLAN, SEEN, START_S, STUCK, UNSEEN, World
from bench.parts.micropython import run_micropython
from firmware.apps import doses
from firmware.apps.doses import Doses

MORNING_S = 8 * 3600
NOTHING = {"double": 0, "wrong time": 0, "missed": 0, "count": 0, "untrue": 0, "unsaved": 0}


def at(seconds: int) -> World:
    """A world at so many seconds of its first day."""
    world = World()
    world.event("advance", seconds)
    return world


def events_of(world: World) -> set[str]:
    return {event for event, known in world.reports.items() if known}


# --- a day by hand ---


def test_a_dose_is_taken() -> None:
    world = at(MORNING_S - 60)
    assert world.machine.button() == [(doses.REFUSE, doses.NOT_DUE)]
    world.event("advance", 60)
    assert world.machine.state["level"] == doses.PROMPT
    world.event("button")
    assert (world.machine.state["phase"], world.machine.remaining()) == (doses.TRAY, CAPACITY - 1)
    world.event("take")
    assert events_of(world) == {doses.DISPENSED, doses.TAKEN}
    assert world.machine.state["level"] == doses.QUIET
    assert world.machine.button() == [(doses.REFUSE, doses.NOT_DUE)]
    assert world.complaints == []


def test_intent_is_saved_before_the_motor_runs_and_what_was_sensed_before_it_is_told() -> None:
    world = at(MORNING_S)
    assert world.machine.button() == [(doses.SAVE,), (doses.MOVE,)]
    actions = world.machine.dropped()
    assert actions[0] == (doses.SAVE,)
    assert (doses.REPORT,) in actions[1:]


def test_nobody_comes() -> None:
    world = at(MORNING_S)
    world.event("advance", 1800)
    assert world.machine.state["level"] == doses.REMIND
    world.event("advance", 1800)
    assert world.machine.state["level"] == doses.ESCALATE
    assert events_of(world) == {doses.MISSED}
    assert world.machine.button() == [(doses.REFUSE, doses.NOT_DUE)]


def test_what_lies_on_the_tray_bars_the_next_dose() -> None:
    world = at(MORNING_S)
    world.event("button")
    world.event("advance", 6 * 3600)  # the next one is due
    assert events_of(world) == {doses.DISPENSED, doses.MISSED}
    assert world.machine.button() == [(doses.REFUSE, doses.TRAY_FULL)]
    world.event("take")
    assert doses.REMOVED_LATE in world.reports
    world.event("button")
    assert world.machine.state["phase"] == doses.TRAY
    assert world.complaints == []


@pytest.mark.parametrize(("motor", "phase"), [(STUCK, doses.JAMMED), (UNSEEN, doses.UNSURE)])
def test_the_motor_stops_and_nothing_falls(motor: str, phase: str) -> None:
    world = at(MORNING_S)
    world.motor = motor
    world.event("button")
    assert world.machine.state["phase"] == phase
    assert world.machine.state["level"] == doses.ESCALATE
    assert world.machine.button() == [(doses.REFUSE, doses.HELD)]
    world.motor = SEEN
    world.event("answer")
    assert world.machine.state["phase"] == (doses.DUE if motor == STUCK else doses.TRAY)


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("steps", range(1, 5))
def test_power_fails_in_mid_dose(steps: int, readable: bool) -> None:
    """After the intent, before or behind the fall: the wheel tells, or a person is asked; it never moves by itself."""
    world = at(MORNING_S)
    world.wheel_readable = readable
    world.cut_at = steps
    world.event("button")
    assert world.cuts == 1
    fallen = sum(world.drops.values())
    phase = world.machine.state["phase"]
    if readable:
        assert phase == (doses.TRAY if fallen else doses.DUE)
    else:
        assert phase in (doses.UNSURE, doses.TRAY)
        assert (world.machine.remaining() is None) == (phase == doses.UNSURE)
        world.event("answer")
        assert world.machine.state["phase"] == (doses.TRAY if fallen else doses.DUE)
    assert world.complaints == []


def test_an_empty_cartridge_a_used_one_and_a_new_one() -> None:
    world = World(compartments=0)
    world.event("advance", MORNING_S)
    assert events_of(world) == {doses.EMPTY}
    assert world.machine.button() == [(doses.REFUSE, doses.NO_DOSES)]
    assert (doses.REFUSE, doses.USED_CARTRIDGE) in world.machine.refill(0, CAPACITY)
    world.event("refill", 2)
    world.event("button")
    assert world.machine.remaining() == CAPACITY - 1


def test_with_the_door_open() -> None:
    world = at(MORNING_S)
    world.event("turn_door")
    assert world.machine.button() == [(doses.REFUSE, doses.DOOR_OPEN)]
    world.event("turn_door")
    world.machine.button()
    world.machine.door(True)
    assert world.machine.state["phase"] == doses.UNSURE


def test_without_a_clock_nothing_is_dispensed_and_that_is_said() -> None:
    world = at(MORNING_S)
    world.clock = False
    world.event("tick")
    assert world.machine.button() == [(doses.REFUSE, doses.NO_TIME)]
    assert doses.TIME_LOST not in world.reports  # which are those of doses
    assert world.machine.state["level"] == doses.ESCALATE


def test_a_clock_that_has_gone_back_by_days_must_be_vouched_for() -> None:
    world = at(MORNING_S)
    world.event("button")
    world.event("take")
    machine = world.machine
    assert machine.tick(START_S - 10 * 86400)[0] == (doses.SAVE,)
    assert machine.button() == [(doses.REFUSE, doses.NO_TIME)]
    machine.trust(START_S - 10 * 86400)
    machine.tick(START_S - 10 * 86400 + MORNING_S)
    assert machine.state["phase"] == doses.DUE


def test_after_a_long_time_without_power_each_missed_dose_is_reported() -> None:
    world = at(60)
    world.event("advance", 10 * 86400)
    world.check_missed()
    assert len(world.reports[doses.MISSED]) == 10 * len(PLAN.entries)
    assert world.complaints == []


def test_a_journal_that_takes_nothing_holds_the_doses_and_counts_those_missed() -> None:
    world = at(60)
    world.journal_works = False
    for _ in range(20):
        world.event("advance", 86400)
        for _ in range(3):
            world.event("tick")
    assert len(world.machine.reports()) <= 24
    world.event("advance", MORNING_S - 60)
    assert world.machine.button() == [(doses.REFUSE, doses.NOT_RECORDED)]
    reports = world.machine.reports()
    assert (reports[-1]["last"] - reports[-1]["dose"]) > 10 * 1440
    world.check_missed()
    assert world.complaints == []


# --- every state, and at random ---


def test_every_state_of_a_morning_with_every_cut_on_micropython() -> None:
    found = run_micropython("bench/parts/dose_check.py", 3, 15000, 7)
    assert found.pop("states") > 150
    assert found.pop("cuts") > 5000
    assert found.pop("events") == 15000
    assert found == NOTHING


def broken(monkeypatch: pytest.MonkeyPatch, name: str, replacement: object) -> dict[str, int]:
    monkeypatch.setattr(Doses, name, replacement)
    counts = dose_check.Counts()
    dose_check.visit_all(counts, 2)
    dose_check.at_random(counts, 3000, 7)
    return counts.found


def test_the_check_notices_a_machine_that_takes_a_doubt_for_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Doses._settle
    found = broken(monkeypatch, "_settle", lambda self, moved: settle(self, bool(moved)))
    assert found["double"] + found["count"] > 0


def test_the_check_notices_a_machine_that_moves_before_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Doses._done
    found = broken(monkeypatch, "_done", lambda self: done(self)[::-1])
    assert found["double"] > 0


def test_the_check_notices_a_machine_that_forgets_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(monkeypatch, "_miss", lambda self, occurrence: None)["missed"] > 0


def test_the_state_is_json() -> None:
    world = at(MORNING_S)
    world.event("button")
    assert json.loads(json.dumps(world.machine.state)) == world.machine.state


def test_a_replaced_file_is_the_old_or_the_new_one() -> None:
    """What SAVE relies on."""
    found = run_micropython("bench/parts/files_cuts.py", 25)
    assert found["cuts"] > 800
    assert found["torn"] == 0
