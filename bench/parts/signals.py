"""What the sensors of a home or a street say, as irregular as they are: for the benches of the hub's store.

Times are jittered and some are missing; values have the noise, the steps and the decimals of real devices, and a
deadband leaves out what has hardly changed. All of it follows from a seed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from protocols.reading import BAD_TIMEOUT, GOOD, DecimalFraction

if TYPE_CHECKING:
    from protocols.reading import Value

Random = np.random.Generator
Array = np.ndarray[Any, np.dtype[Any]]


class Series(NamedTuple):
    """Readings of one stream in order of time."""

    times_ms: list[int]
    qualities: list[int]
    values: "list[Value]"


class Signal(NamedTuple):
    """A metric. cadence_ms: how often it is measured; jitter_ms: by how much that varies; missing: the share that never
    comes; steps: how it goes, from a count of measurements, in units of its last digit; deadband: in the same unit;
    form: a column of such numbers as values.
    """

    metric: str
    unit: str
    cadence_ms: int
    jitter_ms: float
    missing: float
    steps: Callable[[Random, int], Array]
    deadband: float
    form: "Callable[[Array], list[Value]]"


def times_of(signal: Signal, random: Random, from_ms: int, to_ms: int) -> Array:
    """When the signal is measured, with from <= time < to."""
    count = max(1, (to_ms - from_ms) // signal.cadence_ms)
    times = from_ms + np.arange(count) * signal.cadence_ms + random.integers(0, signal.cadence_ms)
    late = np.abs(random.normal(0, signal.jitter_ms, count))
    late += (random.random(count) < 0.01) * random.exponential(signal.cadence_ms / 5, count)
    times = np.sort(times + late.astype(np.int64))
    return times[times < to_ms]


def series(signal: Signal, random: Random, times: Array) -> Series:
    """What is told of the signal's measurements at these times; now and then the device does not answer."""
    numbers = signal.steps(random, len(times))
    kept = (random.random(len(times)) >= signal.missing) & _changed(numbers, signal.deadband)
    silent = random.random(len(times)) < 0.0005
    values = signal.form(numbers)
    chosen = np.flatnonzero(kept | silent).tolist()
    return Series(
        times[chosen].tolist(),
        [BAD_TIMEOUT if silent[place] else GOOD for place in chosen],
        [None if silent[place] else values[place] for place in chosen],
    )


def _changed(numbers: Array, deadband: float) -> Array:
    """Which differ by more than the deadband from the last one that was told, or were not told for 60 measurements."""
    kept = np.ones(len(numbers), bool)
    if deadband <= 0 or not len(numbers):
        return kept
    told, silent = numbers[0], 0
    for place, number in enumerate(numbers[1:].tolist(), 1):
        silent += 1
        kept[place] = abs(number - told) > deadband or silent >= 60
        if kept[place]:
            told, silent = number, 0
    return kept


def _walk(start: float, step: float, noise: float) -> Callable[[Random, int], Array]:
    """A slow walk that comes back to where it began, with noise on top."""

    def steps(random: Random, count: int) -> Array:
        pulls = random.normal(0, step, count)
        level = np.zeros(count)
        at = 0.0
        for place, pull in enumerate(pulls.tolist()):
            at = 0.999 * at + pull
            level[place] = at
        return np.round(start + level + random.normal(0, noise, count))

    return steps


def _raw(start: float, step: float, noise: float) -> Callable[[Random, int], Array]:
    """As _walk, but with all the digits that a float32 register holds."""
    walk = _walk(start * 1000, step * 1000, 0)
    return lambda random, count: walk(random, count) / 1000 + random.normal(0, noise, count)


def _counter(mean: float) -> Callable[[Random, int], Array]:
    return lambda random, count: float(random.integers(0, 1_000_000)) + np.cumsum(random.poisson(mean, count))


def _states(*shares: float) -> Callable[[Random, int], Array]:
    """A state that stays for some 200 measurements."""

    def steps(random: Random, count: int) -> Array:
        drawn = random.choice(len(shares), count, p=np.array(shares) / sum(shares))
        changes = np.maximum.accumulate(np.where(random.random(count) < 0.005, np.arange(count), 0))
        return drawn[changes].astype(float)

    return steps


def _decimals(exponent: int) -> "Callable[[Array], list[Value]]":
    return lambda numbers: [DecimalFraction(int(number), exponent) for number in numbers.tolist()]


def _floats(scale: float) -> "Callable[[Array], list[Value]]":
    """As float32 registers give them."""
    return lambda numbers: (numbers * scale).astype(np.float32).astype(float).tolist()


def _integers(numbers: Array) -> "list[Value]":
    return [int(number) for number in numbers.tolist()]


def _booleans(numbers: Array) -> "list[Value]":
    return [bool(number) for number in numbers.tolist()]


def _texts(*names: str) -> "Callable[[Array], list[Value]]":
    return lambda numbers: [names[int(number)] for number in numbers.tolist()]


# A meter on three phases, polled by Modbus each second: float32 registers, some rounded by the meter, some not.
METER = (
    *(Signal(f"voltage_{n}", "V", 1000, 4, 0, _walk(2300, 1, 3), 1, _floats(0.1)) for n in (1, 2, 3)),
    *(Signal(f"current_{n}", "A", 1000, 4, 0, _raw(3, 0.02, 0.01), 0.005, _floats(1)) for n in (1, 2, 3)),
    *(Signal(f"active_power_{n}", "W", 1000, 4, 0, _raw(700, 5, 2), 1, _floats(1)) for n in (1, 2, 3)),
    *(Signal(f"reactive_power_{n}", "var", 1000, 4, 0, _raw(90, 1, 1), 0.5, _floats(1)) for n in (1, 2, 3)),
    *(Signal(f"power_factor_{n}", "1", 1000, 4, 0, _walk(960, 1, 2), 1, _floats(0.001)) for n in (1, 2, 3)),
    Signal("frequency", "Hz", 1000, 4, 0, _walk(5000, 0.3, 1), 0, _floats(0.01)),
    Signal("import_energy", "kW.h", 1000, 4, 0, _counter(0.4), 0, _floats(0.01)),
    Signal("export_energy", "kW.h", 1000, 4, 0, _counter(0.1), 0, _floats(0.01)),
)
# What comes as readings of its own: a vehicle's position, a wearable, a room, a door.
OTHERS = (
    Signal("latitude", "deg", 1000, 15, 0.02, _walk(312_304_000, 40, 8), 0, _decimals(-7)),
    Signal("longitude", "deg", 1000, 15, 0.02, _walk(1_214_737_000, 40, 8), 0, _decimals(-7)),
    Signal("speed", "m/s", 1000, 15, 0.02, _walk(1200, 15, 4), 0, _decimals(-2)),
    Signal("satellites", "1", 1000, 15, 0.02, _walk(11, 0.05, 0.3), 0, _integers),
    Signal("heart_rate", "/min", 1000, 30, 0.05, _walk(720, 4, 6), 0, _decimals(-1)),
    Signal("signal_quality", "1", 1000, 30, 0.05, _walk(80, 0.5, 3), 2, _integers),
    Signal("oxygen_saturation", "%", 2000, 40, 0.05, _walk(97, 0.05, 0.4), 0, _integers),
    Signal("temperature", "Cel", 10_000, 300, 0.03, _walk(2150, 1, 1), 0, _decimals(-2)),
    Signal("humidity", "%", 10_000, 300, 0.03, _walk(452, 1, 2), 0, _decimals(-1)),
    Signal("co2", "[ppm]", 5000, 200, 0.01, _walk(640, 4, 6), 3, _integers),
    Signal("door", "1", 1000, 250, 0, _states(3, 1), 0.5, _booleans),
    Signal("dispenser", "1", 2000, 250, 0, _states(8, 1, 1), 0.5, _texts("idle", "dispensing", "waiting for pick-up")),
)
SIGNALS = METER + OTHERS
