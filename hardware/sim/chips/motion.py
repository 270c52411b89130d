"""Acceleration at a wrist, made from simple physics and a seed; runs on CPython and MicroPython.

Each activity is a function of the seconds since it began and of what was drawn for it; it gives how hard gravity and
body press along the vertical, what shakes along the other axes, and how far the arm has turned. It is a model, not a
recording: it shows that a detector does what it was made for, and not how often it would be right on people.
"""

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # vertical (g), forward (g), sideways (g), turn (radians), and about which axis the arm turns (0 or 1)
    Push = tuple[float, float, float, float, int]

_BREATH_HZ = 0.25
_NOISE_MG = 12


class Draw:
    """Random numbers that are the same for a seed on every interpreter."""

    def __init__(self, seed: int):
        self._state = (seed * 2654435761 + 12345) & 0x7FFFFFFF
        for _ in range(4):
            self.between(0, 1)

    def between(self, low: float, high: float) -> float:
        """The next number, evenly spread."""
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return low + (high - low) * (self._state >> 7) / 0x1000000


def _bump(seconds: float, begin: float, length: float) -> float:
    """Half a sine, from 0 over 1 to 0."""
    return math.sin(math.pi * (seconds - begin) / length) if begin <= seconds < begin + length else 0.0


def _ramp(seconds: float, begin: float, length: float) -> float:
    """Smoothly from 0 to 1."""
    part = min(max((seconds - begin) / length, 0.0), 1.0)
    return part * part * (3 - 2 * part)


def _still(draw: "Draw") -> "Callable[[float], Push]":
    turn = draw.between(-0.3, 0.3)
    return lambda t: (1.0, 0.0, 0.0, turn + 0.01 * math.sin(2 * math.pi * _BREATH_HZ * t), 0)


def _walk(draw: "Draw") -> "Callable[[float], Push]":
    """Steps at 1.5 to 2.1 Hz; the arm swings once in two of them."""
    hz, bounce, swing, heel = (
        draw.between(1.5, 2.1),
        draw.between(0.2, 0.35),
        draw.between(0.2, 0.5),
        draw.between(0, 0.3),
    )

    def push(t: float) -> "Push":
        phase = 2 * math.pi * hz * t
        strike = heel * _bump((t * hz) % 1.0, 0.0, 0.12)
        return (
            1 + bounce * math.sin(phase) + strike,
            0.15 * math.sin(phase / 2),
            0.0,
            swing * math.sin(phase / 2 + 0.6),
            0,
        )

    return push


def _run(draw: "Draw") -> "Callable[[float], Push]":
    """Each step a push of two to three g and a flight with hardly any."""
    hz, push_g = draw.between(2.4, 2.9), draw.between(1.2, 2.0)

    def push(t: float) -> "Push":
        phase = (t * hz) % 1.0
        return 0.25 + 1.57 * push_g * _bump(phase, 0.0, 0.6), 0.3 * math.sin(math.pi * hz * t), 0.0, 0.9, 0

    return push


def _sit_down_hard(draw: "Draw") -> "Callable[[float], Push]":
    """Onto a chair within half a second; the hand comes to rest on the lap."""
    dip, hit, turn = draw.between(0.15, 0.4), draw.between(0.5, 1.6), draw.between(0.3, 1.4)
    return lambda t: (
        1 - dip * _bump(t, 1.0, 0.4) + hit * _bump(t, 1.4, 0.08),
        0.2 * _bump(t, 1.4, 0.15),
        0.0,
        turn * _ramp(t, 0.9, 0.8),
        0,
    )


def _stumble(draw: "Draw") -> "Callable[[float], Push]":
    """A trip that is caught; the walk goes on."""
    walk, dip, hit = _walk(draw), draw.between(0.3, 0.6), draw.between(0.8, 1.8)

    def push(t: float) -> "Push":
        vertical, forward, sideways, turn, axis = walk(t)
        shock = hit * _bump(t, 1.25, 0.08) - dip * _bump(t, 1.0, 0.25)
        return vertical + shock, forward + 0.6 * _bump(t, 1.2, 0.2), sideways, turn + 0.6 * _bump(t, 1.0, 0.6), axis

    return push


def _clap(draw: "Draw") -> "Callable[[float], Push]":
    """Hands struck together, or a fist on the table: hard, but nothing gave way before."""
    hz, hit = draw.between(1.0, 3.0), draw.between(2.0, 5.0)
    return lambda t: (1.0, hit * _bump((t * hz) % 1.0, 0.0, 0.1) if t < 3 else 0.0, 0.1, 0.5, 0)


def _drop(draw: "Draw") -> "Callable[[float], Push]":
    """The device falls off a table, bounces, and lies."""
    fall, hit, turn = draw.between(0.3, 0.45), draw.between(4.0, 8.0), draw.between(0.5, 3.0)
    return lambda t: (
        1 - _ramp(t, 1.0, 0.02) * (t < 1.0 + fall) + hit * _bump(t, 1.0 + fall, 0.04) + 2 * _bump(t, 1.3 + fall, 0.04),
        0.0,
        hit / 2 * _bump(t, 1.0 + fall, 0.04),
        turn * _ramp(t, 1.0, 0.8),
        1,
    )


def _fall(
    axis: int, sign: int, posture: "tuple[float, float]" = (0.9, 1.6)
) -> "Callable[[Draw], Callable[[float], Push]]":
    """A body gives way for a third to half a second, strikes the ground, moves a little, and lies still."""

    def make(draw: "Draw") -> "Callable[[float], Push]":
        descent, light = draw.between(0.3, 0.55), draw.between(0.4, 0.8)
        hit, length = draw.between(0.8, 5.0), draw.between(0.06, 0.1)
        turn, restless = sign * draw.between(0.9, 1.6), draw.between(0.0, 4.0)
        struck = 1.0 + descent

        def push(t: float) -> "Push":
            vertical = 1 - light * _bump(t, 1.0, descent) + hit * _bump(t, struck, length)
            vertical += hit / 3 * _bump(t, struck + 0.2, length)
            moving = 0.25 * math.sin(7 * t) * (1 - _ramp(t, struck + restless, 0.5)) * (t > struck)
            flail = 0.3 * math.sin(19 * t) * _bump(t, 0.9, descent + 0.1)
            return (
                vertical,
                flail + moving + hit / 2 * _bump(t, struck, length),
                moving / 2,
                turn * _ramp(t, 1.0, descent + 0.3),
                axis,
            )

        return push

    return make


def _fall_and_rise(draw: "Draw") -> "Callable[[float], Push]":
    """Down, and up again at once: nobody needs to come."""
    fall, walk = _fall(0, 1)(draw), _walk(draw)
    return lambda t: fall(t) if t < 2.5 else walk(t)


def _sink(draw: "Draw") -> "Callable[[float], Push]":
    """Slowly down along a wall, and lying there: what no impact tells."""
    turn, length = draw.between(1.0, 1.6), draw.between(2.0, 4.0)
    return lambda t: (1 - 0.1 * _bump(t, 1.0, length), 0.0, 0.0, turn * _ramp(t, 1.0, length), 0)


ACTIVITIES: "dict[str, Callable[[Draw], Callable[[float], Push]]]" = {
    "still": _still,
    "walk": _walk,
    "run": _run,
    "sit down hard": _sit_down_hard,
    "stumble": _stumble,
    "clap": _clap,
    "drop": _drop,
    "fall forward": _fall(0, 1),
    "fall backward": _fall(0, -1),
    "fall sideways": _fall(1, 1),
    "fall and rise": _fall_and_rise,
    "sink": _sink,
}


class Motion:
    """What the wearer does: (from which second on, activity), in order; the last goes on for ever.

    `at` gives the acceleration along the device's axes in thousandths of g. With `repeat_s` all begins anew.
    """

    def __init__(self, activities: "Sequence[tuple[float, str]]", *, seed: int = 1, repeat_s: "float | None" = None):
        draw = Draw(seed)
        self._parts = [(begin, ACTIVITIES[name](draw)) for begin, name in activities]
        self._repeat_s = repeat_s
        self._noise = Draw(seed + 1)
        self._tilt = draw.between(-0.4, 0.4)

    def at(self, at_us: int) -> "tuple[int, int, int]":
        """The acceleration at a time since the start."""
        t = at_us / 1000000
        if self._repeat_s:
            t %= self._repeat_s
        begin, push = [part for part in self._parts if part[0] <= t][-1]
        vertical, forward, sideways, turn, axis = push(t - begin)
        down, across = math.cos(turn), math.sin(turn)
        if axis == 0:
            x, y, z = vertical * down - forward * across, sideways, vertical * across + forward * down
        else:
            x, y, z = vertical * down - sideways * across, vertical * across + sideways * down, forward
        x, y = x * math.cos(self._tilt) - y * math.sin(self._tilt), x * math.sin(self._tilt) + y * math.cos(self._tilt)
        return self._shaken(x), self._shaken(y), self._shaken(z)

    def _shaken(self, g: float) -> int:
        return int(1000 * g + self._noise.between(-_NOISE_MG, _NOISE_MG))
