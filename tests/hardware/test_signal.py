"""The simulated course of a metric."""

from random import Random
from statistics import fmean, pstdev

import pytest

from hardware.catalogue import Simulation
from hardware.sim.signal import value_at


@pytest.mark.parametrize(("seconds", "value"), [(0, 230), (15, 234), (30, 230), (45, 226), (60, 230), (75, 234)])
def test_sine(seconds: float, value: float) -> None:
    wave = Simulation(mean=230, swing=4, period_s=60)
    assert value_at(wave, seconds, Random(0)) == pytest.approx(value)


def test_noise_has_the_declared_deviation_and_follows_the_seed() -> None:
    noisy = Simulation(mean=50, noise=0.5)
    one, same = Random(3), Random(3)
    values = [value_at(noisy, second, one) for second in range(4000)]
    assert values == [value_at(noisy, second, same) for second in range(4000)]
    assert fmean(values) == pytest.approx(50, abs=0.04)  # five standard errors
    assert pstdev(values) == pytest.approx(0.5, rel=0.06)


def test_counter_grows_evenly_from_its_start() -> None:
    energy = Simulation(start=1284.5, per_second=0.25, noise=9, swing=9)
    assert [value_at(energy, second, Random(0)) for second in (0, 2, 10)] == [1284.5, 1285.0, 1287.0]
