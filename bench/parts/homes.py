"""Gateways of homes for the load on the hub: their births, and the packs that they send, second by second.

A home has one meter or two, whose answers travel as rows, and a vehicle, a wearable, a room and a door, whose readings
travel as columns: some thirty readings a second in two or three packs. Homes of one kind send the same readings at the
same times under names of their own.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.parts.signals import METER, OTHERS, Series, Signal, series, times_of
from protocols import pack
from protocols.custody import Header
from protocols.deflated import deflate
from protocols.pack import Body, Column, Row, columns, encode_body
from protocols.reading import GOOD, Reading

KINDS = 24
_NAME = "home-0000"  # stands in what is encoded beforehand for the gateway's name, which is as long

_DEVICES: dict[str, tuple[Sequence[Signal], int]] = {  # its signals, and how long its readings wait for their pack
    "meter-1": (METER, 0),
    "vehicle": (OTHERS[:4], 1000),
    "wearable": (OTHERS[4:7], 5000),
    "room": (OTHERS[7:10], 2000),
    "door": (OTHERS[10:], 100),
}
_SECOND_METER = {"meter-2": (METER, 0)}


class Sent(NamedTuple):
    """A pack of one kind of home. made_ms: the time of its newest reading; body: to be named and deflated."""

    due_ms: int
    made_ms: int
    readings: int
    body: bytes


def devices(kind: int) -> dict[str, tuple[Sequence[Signal], int]]:
    """The devices of this kind of home."""
    return {**_DEVICES, **(_SECOND_METER if kind % 3 else {})}


def name_of(home: int) -> str:
    """The gateway's name."""
    return f"home-{home:04d}"


def birth(home: int, incarnation: int, time_ms: int) -> bytes:
    """The gateway's birth message."""
    gateway = name_of(home)
    named = {"en": "Home", "zh": "住宅"}
    things = [
        {"id": f"{gateway}-{device}", "kind": "meter", "model": "m", "maker": "k", "name": named, "state": "online"}
        for device in devices(home % KINDS)
    ]
    streams = [
        {"alias": alias, "thing": f"{gateway}-{device}", "metric": signal.metric, "unit": signal.unit, "name": named}
        for alias, (device, signal) in enumerate(_signals(home % KINDS), 1)
    ]
    head = {"state": "online", "gateway": gateway, "instance": "1", "incarnation": incarnation, "name": named}
    return json.dumps({**head, "time_ms": time_ms, "things": things, "streams": streams}).encode()


def message(home: int, header: Header, body: bytes) -> bytes:
    """A pack as this gateway sends it."""
    return pack.encode_header(header) + deflate(body.replace(_NAME.encode(), name_of(home).encode()))


def packs(kind: int, from_ms: int, to_ms: int) -> list[Sent]:
    """The packs of a kind of home whose readings are made from one time to the other, in the order of sending."""
    random = np.random.default_rng(kind)
    bodies: list[tuple[int, str, Body]] = []  # when it is closed, the device, what is in it
    first = 1
    for device, (signals, wait_ms) in devices(kind).items():
        times = times_of(signals[0], random, from_ms, to_ms)
        aliases = range(first, first + len(signals))
        if wait_ms:
            made = [series(signal, random, times_of(signal, random, from_ms, to_ms)) for signal in signals]
            bodies += ((due, device, body) for due, body in _columns(aliases, made, wait_ms))
        else:
            made = [series(signal, random, times) for signal in signals]
            bodies += ((due, device, body) for due, body in _rows(aliases, made))
        first += len(signals)
    read: Counter[str] = Counter()
    sent = []
    for due, device, body in sorted(bodies, key=lambda one: one[0]):
        count = sum(len(c.times_ms) for c in body.columns) + sum(len(r.values) for r in body.rows)
        read[device] += count
        newest = max([*(c.times_ms[-1] for c in body.columns), *(r.time_ms for r in body.rows)])
        told = body._replace(tallies={f"{_NAME}-{device}": (read[device], 0)})
        sent.append(Sent(due, newest, count, encode_body(told)))
    return sent


def _signals(kind: int) -> Iterator[tuple[str, Signal]]:
    return ((device, signal) for device, (signals, _) in devices(kind).items() for signal in signals)


def _rows(aliases: Iterable[int], made: Sequence[Series]) -> Iterator[tuple[int, Body]]:
    """One answer of the meter a pack: good values as a row, and what it does not answer as columns."""
    at: dict[int, list[tuple[int, Reading]]] = defaultdict(list)
    for alias, (times, qualities, values) in zip(aliases, made, strict=True):
        for time, quality, value in zip(times, qualities, values, strict=True):
            at[time].append((alias, Reading("", value, "", quality, time)))
    for time, readings in at.items():
        good = [(alias, one.value) for alias, one in readings if one.quality == GOOD]
        numbers = [alias for alias, _ in good]
        steps = [after - before for before, after in zip([0, *numbers], numbers, strict=False)]
        numbers_of: Any = [value for _, value in good]
        rows = [Row(time, steps, numbers_of)] if good else []
        rest = columns((alias, one) for alias, one in readings if one.quality != GOOD)
        yield time + 20, Body(rest, rows, {}, {})


def _columns(aliases: Sequence[int], made: Sequence[Series], wait_ms: int) -> Iterator[tuple[int, Body]]:
    """What was read within `wait_ms` as a pack of columns."""
    at: dict[int, list[tuple[int, Reading]]] = defaultdict(list)
    for alias, (times, qualities, values) in zip(aliases, made, strict=True):
        for time, quality, value in zip(times, qualities, values, strict=True):
            at[time // wait_ms].append((alias, Reading("", value, "", quality, time)))
    for readings in at.values():
        found: list[Column] = columns(readings)
        yield max(column.times_ms[-1] for column in found) + 20, Body(found, [], {}, {})
