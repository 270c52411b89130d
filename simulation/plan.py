"""What a seed draws: the machines and their load, and when which fault comes."""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Fault(NamedTuple):
    """Something that happens. `who`: a machine or its line; what `size` and `detail` mean depends on the kind."""

    at_ms: int
    kind: str
    who: str
    size: int
    detail: int


class Order(NamedTuple):
    """A command that is given at the hub; `repeated`: somebody gives it again later, by the same key."""

    at_ms: int
    lives_ms: int
    repeated: bool


@dataclass(frozen=True)
class Plan:
    """One run. `storm_ms`: how long there are readings and faults; then all is well until nothing is left to do.

    The gateway makes a reading of its own every `own_ms`, each `urgent_each`-th of them urgent; each device a pack
    every `device_ms`. 0: none.
    """

    seed: int
    storm_ms: int
    devices: int
    device_ms: int
    device_has_clock: bool
    sectors: int
    own_ms: int
    urgent_each: int
    alarms: bool
    most_pages: int
    memory_bytes: int
    commit_ms: int
    faults: tuple[Fault, ...]
    orders: tuple[Order, ...]


_LINES = ("gateway line", "gateway line", "device-0 line", "device-1 line")
_DEVICES = ("device-0", "device-1")
_GATEWAY, _HUB = ("gateway",), ("hub",)
# kind -> (weight, whom it may befall, the least and most of its size, of its detail)
FAULTS: dict[str, tuple[int, tuple[str, ...], tuple[int, int], tuple[int, int]]] = {
    # size: for how long it is off; detail: after how many actions the power goes
    "power cut": (14, (*_GATEWAY * 3, *_HUB, *_DEVICES), (100, 20_000), (1, 12)),
    # size: for how long there is no line; detail: until that is noticed
    "cut": (10, (*_LINES, "hub line"), (200, 40_000), (0, 15_000)),
    # size: for how long; detail: which of WEATHERS
    "weather": (8, _LINES, (2_000, 40_000), (0, 3)),
    # size: how many packs come at once
    "burst": (6, (*_GATEWAY, *_DEVICES), (5, 60), (0, 0)),
    # size: for how long
    "full disk": (6, (*_GATEWAY, *_HUB), (500, 25_000), (0, 0)),
    "broken disk": (4, _GATEWAY, (500, 25_000), (0, 0)),
    "slow disk": (4, _GATEWAY, (2_000, 20_000), (0, 0)),
    "flash refuses": (4, _DEVICES, (500, 15_000), (0, 0)),
    "stop": (4, _GATEWAY, (100, 10_000), (0, 0)),
    # size: by how much, in ms; detail: forth or back
    "clock step": (4, (*_GATEWAY, *_HUB, *_DEVICES), (20, 7_200_000), (0, 1)),
    "broker restart": (4, _HUB, (100, 5_000), (0, 0)),
    "cursors lost": (4, (*_HUB, *_GATEWAY), (0, 0), (0, 0)),
    # size: for how long it is off; detail: how old the image is, in ms
    "put back": (8, (*_GATEWAY * 2, *_HUB), (500, 10_000), (1_000, 30_000)),
    "replaced": (3, _GATEWAY, (500, 10_000), (0, 0)),
    # size: for how long there are two
    "cloned": (3, _GATEWAY, (5_000, 60_000), (0, 0)),
}


def draw(seed: int, *, days: bool = False) -> Plan:
    """The plan of a seed; days: a whole day, with sparse readings."""
    chance = Random(f"plan {seed}")
    storm_ms = DAY_MS if days else chance.choice((20_000, 40_000, 40_000, 90_000))
    devices = chance.choice((0, 1, 1, 1, 2))
    pace = 60 if days else 1
    orders = tuple(_order(chance, storm_ms) for _ in range(chance.choice((0, 0, 1, 3, 8))))
    moments = _Moments(chance, storm_ms, [order.at_ms for order in orders])
    count = chance.randint(20, 60) if days else chance.randint(1, 12)
    return Plan(
        seed=seed,
        storm_ms=storm_ms,
        devices=devices,
        device_ms=chance.choice((700, 1000, 2500)) * pace if devices else 0,
        device_has_clock=chance.random() < 0.7,
        sectors=chance.choice((4, 8, 8)),
        own_ms=chance.choice((0, 400, 1000, 3000) if devices else (400, 1000, 3000)) * pace,
        urgent_each=chance.choice((0, 5, 10)),
        alarms=chance.random() < 0.4,
        most_pages=chance.choice((24, 40, 1000, 1000)),
        memory_bytes=chance.choice((3_000, 1 << 20, 1 << 20)),
        commit_ms=chance.choice((20, 250, 250, 1000)),
        faults=_faults(chance, moments, devices, count),
        orders=orders,
    )


class _Moments:
    """Times for faults: half of them shortly after something else, since trouble seldom comes alone."""

    def __init__(self, chance: Random, storm_ms: int, known: list[int]):
        self._chance = chance
        self._storm_ms = storm_ms
        self._known = known

    def draw(self) -> int:
        """The next one."""
        chance = self._chance
        if self._known and chance.random() < 0.5:
            time_ms = min(chance.choice(self._known) + chance.randint(0, 1500), self._storm_ms - 1)
        else:
            time_ms = chance.randrange(self._storm_ms)
        self._known.append(time_ms)
        return time_ms


def _faults(chance: Random, moments: _Moments, devices: int, count: int) -> tuple[Fault, ...]:
    # A seed has a few kinds of trouble rather than all: they meet more often, and a failing one is easier to read.
    kinds = chance.sample(list(FAULTS), chance.randint(2, 6))
    if chance.random() < 0.5 and "power cut" not in kinds:
        kinds.append("power cut")
    weights = [FAULTS[kind][0] for kind in kinds]
    faults = []
    for kind in chance.choices(kinds, weights, k=count):
        _, whom, size, detail = FAULTS[kind]
        there = [who for who in whom if not who.startswith("device") or int(who[7]) < devices]
        if there:
            who = chance.choice(there)
            faults.append(Fault(moments.draw(), kind, who, _around(chance, *size), chance.randint(*detail)))
    return tuple(sorted(faults))


def _around(chance: Random, least: int, most: int) -> int:
    """Small ones as often as large ones."""
    if least <= 0 or least == most:
        return chance.randint(least, most)
    return int(least * (most / least) ** chance.random())


def _order(chance: Random, storm_ms: int) -> Order:
    return Order(chance.randrange(storm_ms), _around(chance, 500, 60_000), chance.random() < 0.3)
