"""The weighing cell's converter, on a pulse-level model of it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware.drivers.hx711 import Hx711
from firmware.errors import DriverError
from tests.firmware.conftest import Simulated

Make = Callable[..., Simulated]


def build(simulate: Make, counts: int = 0, **scale: int) -> tuple[Simulated, Any, Hx711]:
    made = simulate(wired=[{"model": "hx711", "pins": {"clock": 2, "data": 3}, "with": {"counts": counts}}])
    return made, made.board.wired[0], Hx711(made.hal.digital_out(2), made.hal.digital_in(3, pull="driven"), **scale)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-0x7FFFFF, 0x7FFFFE))
async def test_every_count_is_read(simulate: Make, counts: int) -> None:
    """Two's complement, the highest bit first (data sheet, figure 2)."""
    _, _, driver = build(simulate, counts)
    await driver.start()
    assert await driver._convert() == counts


async def test_weight(simulate: Make) -> None:
    _, chip, driver = build(simulate, zero=8_400, counts_per_kg=420_000)
    await driver.start()
    for grams in (0, 0.1, 71.5, 500, -2.4, 19_000):
        chip.counts = lambda at_us, grams=grams: round(8_400 + grams * 420)
        assert await driver.read() == round(grams * 10)


@pytest.mark.parametrize("counts", [0x7FFFFF, -0x800000, 1 << 30])
async def test_beyond_its_range(simulate: Make, counts: int) -> None:
    """0x7FFFFF and 0x800000 are what it says when it is overloaded."""
    _, _, driver = build(simulate, counts)
    await driver.start()
    with pytest.raises(DriverError, match="hx711: is overloaded"):
        await driver.read()


async def test_a_read_that_an_interrupt_has_stretched_does_not_count(simulate: Make) -> None:
    made, chip, driver = build(simulate, 1_000_000, counts_per_kg=10_000)
    await driver.start()
    original = driver._clock.value
    pulses = 0

    def stretched(level: int | None = None) -> int | None:
        nonlocal pulses
        answer = original(level)
        pulses += level == 1
        if pulses == 12 and level == 1:
            made.pass_time(0.0001)
            assert chip.asleep
        return answer

    driver._clock.value = stretched  # type: ignore[method-assign]
    assert await driver.read() == 1_000_000
    assert pulses == 75


async def test_a_chip_that_is_not_there(simulate: Make) -> None:
    made = simulate()
    driver = Hx711(made.hal.digital_out(2), made.hal.digital_in(3, pull="up"))
    with pytest.raises(DriverError, match="does not convert"):
        await driver.start()
    made.board.line(3).drive(0)
    with pytest.raises(DriverError, match="does not end its answer"):
        await driver.start()


async def test_it_comes_back_after_it_has_slept(simulate: Make) -> None:
    made, chip, driver = build(simulate, 4711)
    await driver.start()
    made.board.line(2).drive(1)
    made.pass_time(0.001)
    assert chip.asleep
    with pytest.raises(DriverError, match="does not convert"):
        await driver.read()
    await driver.start()
    assert await driver._convert() == 4711
    assert chip.gain == 128
