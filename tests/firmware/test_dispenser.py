"""The dispenser as a whole: its app on the simulated board, with wheel, chute, tray, button and a patient."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from firmware.apps import doses
from hardware.plans import offsets
from protocols.command import DONE, EXPIRED, REFUSED
from tests.firmware.cabinet import DAY_S, MIDNIGHT_S, PINS, PLAN, Cabinet, signed

MORNING = 8 * 60


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cabinet]:
    """A dispenser at midnight, without a plan."""
    made = Cabinet(tmp_path, monkeypatch)
    made.wait(1)
    yield made
    made.stop()
    made.loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def cabinet(empty: Cabinet) -> Cabinet:
    """A dispenser that follows the example's plan: 08:00, 14:00 and 21:00."""
    assert empty.give(PLAN) == "follows 1"
    empty.device.kept.clear()
    return empty


def state(cabinet: Cabinet) -> str:
    phase: str = cabinet.app._core.machine.state["phase"]
    return phase


def remaining(cabinet: Cabinet) -> int | None:
    count: int | None = cabinet.app._core.machine.remaining()
    return count


def test_a_day(cabinet: Cabinet) -> None:
    cabinet.until(MORNING - 1)
    assert "07:59" in cabinet.lines
    assert "下次 08:00" in cabinet.lines
    cabinet.ask()
    assert (cabinet.events, len(cabinet.wheel.full)) == ([], 28)  # the wrong hour
    assert "还没到时间" in "\n".join(line for page in cabinet.app._screens.refusal("not due") for line in page.lines)
    cabinet.until(MORNING + 1)
    assert "阿司匹林肠溶片" in cabinet.lines
    assert "不要饮酒" in cabinet.lines
    assert "剩余 28 份" in cabinet.lines
    cabinet.ask()
    assert (cabinet.events, len(cabinet.wheel.full), cabinet.wheel.tray) == ([doses.DISPENSED], 27, 1)
    assert "请从托盘取药" in cabinet.lines
    cabinet.take()
    assert cabinet.events == [doses.DISPENSED, doses.TAKEN]
    assert cabinet.device.kept[-1] == {"event": 2, "dose": "2026-04-11T08:00", "attention": 0, "remaining": 27}
    cabinet.ask()
    assert len(cabinet.wheel.full) == 27
    cabinet.until(16 * 60)  # nobody comes at 14:00
    assert cabinet.events[2:] == [doses.MISSED]
    assert "漏服 14:00" in cabinet.lines
    assert len(cabinet.wheel.full) == 27


def test_the_buzzer_calls_more_often_the_longer_nobody_comes(cabinet: Cabinet) -> None:
    beeps: list[float] = []
    cabinet.board.line(PINS["buzzer"]).watchers.append(lambda level: beeps.append(level) if level else None)
    counts = []
    for minutes in (MORNING - 10, MORNING + 2, MORNING + 35, MORNING + 65):
        cabinet.until(minutes)
        beeps.clear()
        cabinet.wait(60)
        counts.append(len(beeps))
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] < counts[3]


@pytest.mark.parametrize("came_out", [True, False])
def test_a_jam(cabinet: Cabinet, came_out: bool) -> None:
    cabinet.until(MORNING)
    cabinet.wheel.jammed = True
    cabinet.wait(2)
    cabinet.ask()
    assert (state(cabinet), cabinet.events) == (doses.JAMMED, [doses.JAMMED])
    assert "药轮卡住了" in cabinet.lines
    cabinet.wheel.jammed = False
    if came_out:  # a person has pulled it out
        cabinet.wheel.full.remove(1)
        cabinet.press()
        assert (state(cabinet), remaining(cabinet)) == (doses.TRAY, 27)
    else:
        cabinet.press(6)
        assert (state(cabinet), remaining(cabinet)) == (doses.DUE, 28)
        cabinet.ask()
        assert (state(cabinet), len(cabinet.wheel.full)) == (doses.TRAY, 27)


def test_nothing_is_seen_to_fall(cabinet: Cabinet) -> None:
    cabinet.until(MORNING)
    cabinet.wheel.full.remove(1)  # the compartment was empty
    cabinet.wait(2)
    cabinet.ask()
    assert (state(cabinet), remaining(cabinet)) == (doses.UNSURE, None)
    assert "药掉下来了吗？" in cabinet.lines
    cabinet.ask()
    assert state(cabinet) == doses.TRAY  # a short press was the answer yes, and turned nothing
    assert len(cabinet.wheel.full) == 27


def test_empty_and_refilled_by_a_cartridge(cabinet: Cabinet) -> None:
    for day in range(9):
        for hour in (8, 14, 21):
            cabinet.until(1440 * day + 60 * hour + 1)
            cabinet.ask()
            cabinet.take()
    cabinet.until(1440 * 9 + MORNING + 1)
    cabinet.ask()
    cabinet.take()
    assert (remaining(cabinet), cabinet.wheel.full) == (0, set())
    cabinet.until(1440 * 9 + 14 * 60 + 1)
    assert cabinet.events[-1] == doses.EMPTY
    assert "请装入新药盒" in cabinet.lines
    cabinet.ask()
    assert cabinet.tell("refill", 1).state == DONE  # it is the one that is in: nothing changes
    assert remaining(cabinet) == 0
    assert cabinet.tell("unlock", 1).state == DONE
    assert cabinet.board.line(PINS["lock"]).level == 1
    cabinet.board.line(PINS["door"]).drive(1)
    cabinet.wait(1)
    cabinet.wheel.load()
    cabinet.ask()
    assert cabinet.wheel.tray == 0  # the door is open
    cabinet.board.line(PINS["door"]).drive(0)
    cabinet.wait(31)
    assert cabinet.board.line(PINS["lock"]).level == 0
    assert cabinet.tell("refill", 0).reason == doses.USED_CARTRIDGE
    assert cabinet.tell("refill", 2).state == DONE
    assert cabinet.events[-1] == doses.REFILLED
    cabinet.ask()
    assert (remaining(cabinet), cabinet.wheel.tray) == (27, 1)


def test_a_cartridge_that_is_not_at_its_first_compartment_is_refused(cabinet: Cabinet) -> None:
    cabinet.wheel.at = 146
    cabinet.wheel._show()
    assert cabinet.tell("refill", 2).reason == "not in place"


# --- power ---


def test_power_fails_at_every_moment_of_a_dose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any of them one dose falls and no second one; the count is right, or somebody is asked and tells the truth."""
    seen = set()
    for number, after_s in enumerate([0.05, 0.15, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55, 0.58, 0.6, 0.7, 0.9, 1.5, 3]):
        (tmp_path / str(number)).mkdir()
        cabinet = Cabinet(tmp_path / str(number), monkeypatch)
        cabinet.wait(1)
        cabinet.give(PLAN)
        cabinet.until(MORNING + 1)
        cabinet.board.line(PINS["button"]).drive(0)
        cabinet.wait(0.2)
        cabinet.board.line(PINS["button"]).drive(None)
        cabinet.wait(after_s)
        fallen = 28 - len(cabinet.wheel.full)
        cabinet.cut(away_s=60)
        seen.add((fallen, state(cabinet)))
        if state(cabinet) == doses.UNSURE:
            assert remaining(cabinet) is None
            cabinet.press(0.3 if fallen else 6)
        assert remaining(cabinet) == 28 - fallen
        cabinet.ask()
        cabinet.take()
        cabinet.ask()
        assert (remaining(cabinet), len(cabinet.wheel.full), cabinet.wheel.tray) == (27, 27, 0)
        assert cabinet.events.count(doses.DISPENSED) == 1
        cabinet.stop()
        cabinet.loop.close()
    asyncio.set_event_loop(None)
    assert {(0, doses.DUE), (0, doses.UNSURE), (1, doses.TRAY)} <= seen


def test_days_without_power(cabinet: Cabinet) -> None:
    cabinet.cut(away_s=2 * DAY_S + 10 * 3600)
    cabinet.wait(10)
    assert cabinet.events == [doses.MISSED] * 7  # each dose of two days, and that of the third morning
    cabinet.until(2 * 1440 + 14 * 60 + 1)
    cabinet.ask()
    assert cabinet.events[-1] == doses.DISPENSED


def test_a_journal_that_takes_nothing(cabinet: Cabinet) -> None:
    cabinet.device.full = True
    cabinet.until(MORNING + 1)
    cabinet.ask()
    cabinet.take()
    assert cabinet.events == []
    cabinet.device.full = False
    cabinet.wait(2)
    assert cabinet.events == [doses.DISPENSED, doses.TAKEN]


# --- the clock ---


def test_a_clock_that_was_lost(cabinet: Cabinet) -> None:
    cabinet.until(MORNING - 5)
    cabinet.knows_time = False
    cabinet.board.chips[0, 0x68].lose_power()
    cabinet.until(MORNING + 5)
    cabinet.ask()
    assert cabinet.events == [doses.TIME_LOST]
    assert "时钟未设置" in cabinet.lines
    assert len(cabinet.wheel.full) == 28
    assert cabinet.tell("set_clock", cabinet.now_s()).state == DONE
    cabinet.until(14 * 60 + 1)
    cabinet.ask()
    assert cabinet.events[-1] == doses.DISPENSED


def test_a_journey_over_time_zones(cabinet: Cabinet) -> None:
    """From Shanghai to Berlin at noon: 14:00 is due when the clocks there show it, and 08:00 is not due again."""
    cabinet.until(MORNING + 1)
    cabinet.ask()
    cabinet.take()
    cabinet.until(12 * 60)
    assert cabinet.give(PLAN._replace(version=2, zone=((0, 120),))) == "follows 2"
    assert "06:00" in cabinet.lines
    cabinet.until((8 + 6) * 60 + 1)  # 08:00 comes again
    cabinet.ask()
    assert cabinet.events == [doses.DISPENSED, doses.TAKEN]
    cabinet.until((14 + 6) * 60 + 1)
    cabinet.ask()
    assert cabinet.events[2:] == [doses.DISPENSED]
    cabinet.take()


def test_the_clocks_go_forward_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin: a dose of 02:30 is given once in the night that skips it, and once in the night that has it twice."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    zone = offsets("Europe/Berlin", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    plan = PLAN._replace(zone=zone, entries=(PLAN.entries[0]._replace(minute=150),))
    for number, night in enumerate((datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC))):
        (tmp_path / str(number)).mkdir()
        start_s = int((night - timedelta(hours=2)).timestamp())
        cabinet = Cabinet(tmp_path / str(number), monkeypatch, at_s=start_s)
        cabinet.wait(1)
        assert cabinet.give(plan) == "follows 1"
        for quarter in range(8 * 4):  # until morning
            cabinet.until((start_s - MIDNIGHT_S) // 60 + 15 * quarter)
            cabinet.ask()
            cabinet.take()
        assert cabinet.events == [doses.REFILLED, doses.DISPENSED, doses.TAKEN]
        cabinet.stop()
        cabinet.loop.close()
    asyncio.set_event_loop(None)


# --- plans ---


def test_plans_that_are_refused_each_with_its_reason(cabinet: Cabinet) -> None:
    before = (cabinet.folder / "plan").read_bytes()
    data, stranger = signed(PLAN._replace(version=2)), ec.derive_private_key(8, ec.SECP256R1())
    refused = {
        "bad signature": [data[:-1] + bytes([data[-1] ^ 1]), signed(PLAN._replace(version=2), stranger)],
        "malformed": [b"", b"x" * 64, bytes(9000)],
        "other device": [signed(PLAN._replace(version=2, device="dispenser-2"))],
        "replayed": [before, signed(PLAN._replace(doses=14))],
        "ended": [signed(PLAN._replace(version=2, until_s=MIDNIGHT_S - 1))],
        "too early": [signed(PLAN._replace(version=2, from_s=MIDNIGHT_S + DAY_S))],
    }  # fmt: skip
    for reason, plans in refused.items():
        for each in plans:
            assert cabinet.give_bytes(each) == f"refused: {reason}"
    assert cabinet.give(PLAN._replace(version=9)) == "follows 9"
    assert cabinet.give(PLAN._replace(version=8)) == "refused: downgrade"
    cabinet.cut()
    assert cabinet.give(PLAN._replace(version=9)) == "refused: replayed"


def test_a_signed_document_that_is_none_is_malformed(cabinet: Cabinet) -> None:
    assert cabinet.give(PLAN._replace(version=2, doses=0)) == "refused: malformed"


def test_no_plan_is_changed_while_a_dose_is_in_doubt(cabinet: Cabinet) -> None:
    cabinet.until(MORNING)
    cabinet.wheel.full.remove(1)
    cabinet.wait(2)
    cabinet.ask()
    assert cabinet.give(PLAN._replace(version=2)) == "refused: held"
    cabinet.press(6)
    assert cabinet.give(PLAN._replace(version=2)) == "follows 2"


def test_power_fails_between_the_state_and_the_plan(cabinet: Cabinet) -> None:
    newer = PLAN._replace(version=2, zone=((0, 120),))
    before = (cabinet.folder / "doses").read_bytes()
    cabinet.give(newer)
    (cabinet.folder / "doses").write_bytes(before)
    cabinet.cut()
    assert cabinet.app._core.machine.state["version"] == 2
    assert cabinet.app._core.machine.state["zone"][-1][1] == 120


def test_a_plan_that_has_ended_dispenses_nothing(empty: Cabinet) -> None:
    assert empty.give(PLAN._replace(until_s=MIDNIGHT_S + 60 * (MORNING + 30))) == "follows 1"
    empty.until(MORNING + 31)
    empty.ask()
    assert "用药计划已到期" in empty.lines
    empty.until(MORNING + 61)
    assert empty.events == [doses.REFILLED, doses.MISSED]


def test_without_a_plan(empty: Cabinet) -> None:
    empty.ask()
    assert empty.lines.splitlines()[:2] == ["No plan yet", "还没有用药计划"]
    assert empty.tell("answer", 1).reason == "there is no plan"
    empty.cut()
    assert empty.give(PLAN) == "follows 1"


# --- commands ---


def test_no_command_moves_the_wheel(cabinet: Cabinet) -> None:
    cabinet.until(MORNING + 1)
    at = cabinet.wheel.at
    for name in ("move", "dispense", "button", "turn", "answer", "refill", "unlock"):
        cabinet.tell(name, 1)
        cabinet.wait(3)
    assert cabinet.wheel.at == at
    assert cabinet.tell("move", 1).reason == "there is no such command"
    assert cabinet.tell("refill", "2").state == REFUSED  # type: ignore[arg-type]


def test_a_command_is_done_once_and_not_too_late(cabinet: Cabinet) -> None:
    assert cabinet.tell("refill", 2, key="same").state == DONE
    cabinet.until(MORNING + 1)
    cabinet.ask()
    assert cabinet.tell("refill", 2, key="same").state == DONE
    assert (remaining(cabinet), len(cabinet.device.results)) == (27, 2)
    cabinet.start_s -= 10  # the gateway's request was made long ago
    assert cabinet.tell("refill", 3).state == EXPIRED


def test_without_a_display_all_else_goes_on(cabinet: Cabinet) -> None:
    cabinet.board.fail(0, 0x3C)
    cabinet.until(MORNING + 1)
    cabinet.ask()
    cabinet.take()
    assert cabinet.events == [doses.DISPENSED, doses.TAKEN]
    cabinet.board.fail(0, 0x3C, failing=False)
    cabinet.wait(5)
    assert cabinet.board.chips[0, 0x3C].on
