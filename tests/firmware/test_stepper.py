"""The wheel's motor and the light barrier of its chute, on a model of motor, gears, index and falling tablets."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.drivers.drop_sensor import DropSensor
from firmware.drivers.stepper import TURN_STEPS, Stepper
from firmware.errors import DriverError
from hardware.sim.chips.wheel import TURN_STEPS as REAL_TURN
from hardware.sim.chips.wheel import Wheel
from hardware.sim.shims.simboard import Line
from tests.firmware.conftest import Simulated

PINS = {"coil_1": 4, "coil_2": 5, "coil_3": 6, "coil_4": 7, "index": 10, "drop": 11}
Make = Callable[..., Simulated]


def build(simulate: Make, **options: Any) -> tuple[Simulated, Any, Stepper]:
    made = simulate(wired=[{"model": "wheel", "pins": PINS, "with": options}])
    coils = [made.hal.digital_out(PINS[f"coil_{number}"]) for number in range(1, 5)]
    return made, made.board.wired[0], Stepper(coils, made.hal.digital_in(PINS["index"], pull="up"))


def turns(wheel: Any) -> int:
    """Half steps from the last index."""
    return int(wheel.at) % REAL_TURN


@pytest.mark.parametrize("at", [0, 10, 39, 40, 41, 3000, REAL_TURN - 1])
async def test_it_finds_the_index_from_anywhere(simulate: Make, at: int) -> None:
    made, wheel, motor = build(simulate, at=at)
    assert motor.position is None
    await motor.find_index()
    assert motor.position == 0
    assert turns(wheel) == 0
    assert [made.board.line(PINS[f"coil_{number}"]).level for number in range(1, 5)] == [0, 0, 0, 0]


async def test_it_goes_where_it_is_told_and_back(simulate: Make) -> None:
    _, wheel, motor = build(simulate)
    await motor.find_index()
    for steps, at in ((146, 146), (-46, 100), (-101, TURN_STEPS - 1), (2 * TURN_STEPS + 1, 0), (1, 1)):
        await motor.move(steps)
        assert motor.position == at
        assert turns(wheel) == at


async def test_each_step_takes_two_milliseconds_in_which_others_run(simulate: Make) -> None:
    made, wheel, motor = build(simulate)
    looks: list[int] = []

    async def look() -> None:
        while True:
            looks.append(made.now_us)
            await original(0)

    original = asyncio.tasks.sleep
    looking = asyncio.create_task(look())
    before_us = made.now_us
    await motor.move(500)
    looking.cancel()
    assert made.now_us - before_us == 500 * 2_000 + 50_000
    assert max(after - before for before, after in pairwise(looks)) <= 50_000
    assert sum(after - before > 2_000 for before, after in pairwise(looks)) <= 1  # while it settles
    made.pass_time(10)
    assert wheel.current_us <= 500 * 2_000 + 50_000


async def test_a_jam_is_told_when_the_index_does_not_come(simulate: Make) -> None:
    made, wheel, motor = build(simulate)
    await motor.find_index()
    wheel.jammed = True
    with pytest.raises(DriverError, match="28byj-48: does not find its index") as caught:
        await motor.find_index()
    assert caught.value.address is None
    assert motor.position is None
    assert not any(made.board.line(PINS[f"coil_{number}"]).level for number in range(1, 5))


async def test_lost_steps_are_found_at_the_index(simulate: Make) -> None:
    _, wheel, motor = build(simulate)
    await motor.find_index()
    wheel.slips = 8
    await motor.move(TURN_STEPS + 10)  # play of the gears: the index puts it right
    assert motor.position is not None
    assert turns(wheel) == motor.position
    wheel.slips = 64
    with pytest.raises(DriverError, match="its index is off by 64"):
        await motor.move(2 * TURN_STEPS)
    assert motor.position is None


async def test_a_cancelled_move_leaves_no_current(simulate: Make) -> None:
    made, _, motor = build(simulate)
    moving = asyncio.create_task(motor.move(1000))
    for _ in range(20):
        await asyncio.tasks.sleep(0)
    assert any(made.board.line(PINS[f"coil_{number}"]).level for number in range(1, 5))
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert not any(made.board.line(PINS[f"coil_{number}"]).level for number in range(1, 5))


def test_a_motor_with_other_coils_is_refused(simulate: Make) -> None:
    made = simulate()
    with pytest.raises(ValueError, match="it has 4 coils, not 1"):
        Stepper([made.hal.digital_out(4)], made.hal.digital_in(10, pull="up"))


async def test_what_falls_is_counted_though_nobody_looks(simulate: Make) -> None:
    made, wheel, motor = build(simulate, full=[1, 3], at=REAL_TURN - 5)
    sensor = DropSensor(made.hal, PINS["drop"])
    await motor.find_index()
    fallen = []
    for _ in range(4):
        sensor.arm()
        await motor.move(TURN_STEPS // 28 + 1)
        made.pass_time(0.2)  # a pulse of 1.5 ms within it
        fallen.append(sensor.pulses)
    assert fallen == [1, 0, 1, 0]
    assert not wheel.full
    assert not sensor.blocked()
    made.board.line(PINS["drop"]).drive(0)
    assert sensor.blocked()


@given(st.lists(st.integers(-600, 600), max_size=6))
def test_no_step_is_lost_or_made_twice(ways: list[int]) -> None:
    """Whatever the moves, and whichever coil is switched first."""
    lines = {name: Line() for name in PINS}
    now_us = [0]
    for name in PINS:
        lines[name].drive(0 if "coil" in name else 1)
    wheel = Wheel(lines, lambda: now_us[0], at=0)
    coils = [SimpleNamespace(value=lines[f"coil_{number}"].drive) for number in range(1, 5)]
    motor = Stepper(coils, SimpleNamespace(value=lambda: lines["index"].level))  # type: ignore[arg-type]
    for way in ways:
        before = wheel.at
        for _ in range(abs(way)):
            motor._step(1 if way > 0 else -1)
            now_us[0] += 2000
        motor.rest()
        assert wheel.at == before + way
