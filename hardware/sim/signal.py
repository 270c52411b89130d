"""The course of a simulated metric: what a device file's `sim` table says, as a value at a time."""

from math import pi, sin
from random import Random

from hardware.catalogue import Simulation


def value_at(simulation: Simulation, seconds: float, random: Random) -> float:
    """The value `seconds` after the simulator's start, in the metric's unit.

    With `start`: a counter, start + per_second x seconds. Otherwise mean + swing x sine of `period_s`, with Gaussian
    noise of standard deviation `noise` (one draw from `random`, none when noise is 0).
    """
    if simulation.start is not None:
        return simulation.start + simulation.per_second * seconds
    wave = simulation.mean + simulation.swing * sin(2 * pi * seconds / simulation.period_s)
    return wave + random.gauss(0.0, simulation.noise) if simulation.noise else wave
