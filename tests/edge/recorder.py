"""An intake that keeps what a link gives it, for tests that await what they expect."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.links.base import Origin
from hardware.catalogue import DeviceModel
from protocols.reading import BAD, GOOD, Reading, reading


class _Channel:
    def __init__(self, recorder: "Recorder", thing: str, metrics: Sequence[str]):
        self.metrics = metrics
        self._units = {metric: recorder.models[thing].metrics[metric].unit for metric in metrics}
        self._recorder = recorder
        self._thing = thing

    def take(self, values: NDArray[Any], time_ms: int, good: NDArray[np.bool_] | None = None) -> None:
        assert len(values) == len(self.metrics), "one value of each metric"
        chosen = range(len(values)) if good is None else good.nonzero()[0]
        names = [self.metrics[at] for at in chosen]
        numbers = values.tolist()
        readings = [
            reading(name, numbers[at], self._units[name], GOOD, time_ms) for at, name in zip(chosen, names, strict=True)
        ]
        if readings:
            self._recorder.take(self._thing, readings)


class Recorder:
    """Everything taken, told and counted, in order. `models` by thing: of those that use channels."""

    def __init__(self, models: Mapping[str, DeviceModel] = {}) -> None:
        self.models = models
        self.readings: list[tuple[str, Reading]] = []
        self.states: list[tuple[str, str, str]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.cursors: dict[tuple[str, str], dict[int, int]] = {}  # as the outbox keeps them
        self._news = asyncio.Event()

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = "bulk",
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None:
        """Keep the readings."""
        assert readings or origin, "an empty take without an origin"
        if origin:
            self.cursors.setdefault((origin.sender, origin.lane), {})[origin.epoch] = origin.seq
        self.readings += [(thing, each) for each in readings]
        self._news.set()

    def channel(self, thing: str, metrics: Sequence[str]) -> "_Channel":
        """A channel whose values are kept as readings."""
        return _Channel(self, thing, metrics)

    def state(self, thing: str, state: str, reason: str = "") -> None:
        """Keep the state."""
        self.states.append((thing, state, reason))
        self._news.set()

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        """Keep the count."""
        self.counts[counter, thing] += by
        self._news.set()

    async def until(self, seen: Callable[[], object], *, within_s: float = 8.0) -> None:
        """Wait until `seen` is true; whatever comes in makes it be asked again."""
        async with asyncio.timeout(within_s):
            while not seen():
                self._news.clear()
                await self._news.wait()

    def of(self, thing: str, metric: str) -> list[Reading]:
        """The readings of one metric, oldest first."""
        return [each for owner, each in self.readings if owner == thing and each.metric == metric]

    def good(self, thing: str, metric: str) -> list[Reading]:
        """The usable ones of them."""
        return [each for each in self.of(thing, metric) if each.quality < BAD]

    def bad(self, thing: str) -> list[Reading]:
        """All unusable readings of a thing."""
        return [each for owner, each in self.readings if owner == thing and each.quality >= BAD]

    def states_of(self, thing: str) -> list[str]:
        """The states of a thing in the order in which they were told."""
        return [state for owner, state, _ in self.states if owner == thing]
