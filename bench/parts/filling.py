"""A store with so many readings in it, written by the real writer and sealed: for the benches of the hub."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.parts.signals import SIGNALS, Series, Signal, series, times_of
from hub.birth import Birth, Name, Stream, Thing
from hub.store.writing import Writer
from protocols.custody import Header, epoch_number
from protocols.pack import Body, Column

DAY_MS = 86_400_000
_GATEWAY = "bench"
_INCARNATION = 1
_PACK = 1000
_FEW = 1800  # seconds between the readings of a slow stream
_SECONDLY = [signal for signal in SIGNALS if signal.cadence_ms == 1000 and not signal.deadband]


class Filled(NamedTuple):
    """readings: how many. streams: the ids of those that have one each second. day_ms: when their last day began."""

    readings: int
    streams: list[int]
    day_ms: int


NOTHING = Filled(0, [], 0)


def fill(data: Path, readings: int, *, days: int = 1, streams: int = 0) -> Filled:
    """Write about so many readings of so many days, the last of which was yesterday.

    Most are of streams with a reading each second; all others up to `streams` have one each half an hour.
    """
    first_day = time.time_ns() // 1_000_000 // DAY_MS - days
    # A few of a hundred never come, and a stream of a kind that tells changes only has fewer.
    fast = max(1, math.ceil((1.08 * readings / days - streams * DAY_MS / 1000 / _FEW) / (DAY_MS / 1000)))
    slow = max(0, streams - fast)
    writer = Writer(data)
    try:
        with writer.transaction():
            writer.write_birth(_birth(fast + slow))
        seq = count = 0
        for day in range(days):
            begin_ms = (first_day + day) * DAY_MS
            for bodies in _bodies(begin_ms, fast, slow, seed=day):
                with writer.transaction():
                    for body in bodies:
                        seq += 1
                        epoch = epoch_number(_INCARNATION, 1, 0)
                        writer.write_pack(_GATEWAY, "bulk", Header(epoch, seq, 1, epoch, False, seq), body)
                        count += sum(len(column.times_ms) for column in body.columns)
                while writer.tidy():
                    pass
            writer.seal_all()
    finally:
        writer.close()
    return Filled(count, list(range(1, fast + 1)), (first_day + days - 1) * DAY_MS)


def _birth(streams: int) -> Birth:
    name = Name(en="Bench", zh="测试")
    thing = Thing(id=_GATEWAY, kind="bench", model="m", maker="k", name=name, state="online")
    named = [Stream(alias=n, thing=_GATEWAY, metric=f"m{n}", unit="1", name=name) for n in range(1, streams + 1)]
    return Birth(
        state="online", gateway=_GATEWAY, instance="1", incarnation=_INCARNATION, name=name, time_ms=1,
        things=(thing,), streams=tuple(named),
    )  # fmt: skip


def _bodies(begin_ms: int, fast: int, slow: int, *, seed: int) -> Iterator[list[Body]]:
    """What a transaction brings: some streams' readings of a day, in packs. Each has a signal and a seed of its own."""
    for number in range(fast):
        signal = _SECONDLY[number % len(_SECONDLY)]
        yield _packed(number + 1, _day(signal, begin_ms, (seed, number)))
    rare = [signal._replace(cadence_ms=_FEW * 1000, jitter_ms=5000) for signal in SIGNALS]
    for begin in range(0, slow, 100):
        places = range(begin, min(begin + 100, slow))
        yield [
            body
            for place in places
            for body in _packed(fast + place + 1, _day(rare[place % len(rare)], begin_ms, (seed, place)))
        ]


def _day(signal: Signal, begin_ms: int, seed: tuple[int, int]) -> Series:
    random = np.random.default_rng(seed)
    return series(signal, random, times_of(signal, random, begin_ms, begin_ms + DAY_MS))


def _packed(alias: int, given: Series) -> list[Body]:
    times, qualities, values = given
    parts = (slice(begin, begin + _PACK) for begin in range(0, len(times), _PACK))
    return [Body([Column(alias, times[one], qualities[one], values[one])], [], {}, {}) for one in parts]
