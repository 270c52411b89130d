"""From readings to packs: streams and their aliases, deadband, and packs that are closed after a few milliseconds."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from edge.channel import Channel, Slot
from edge.deadband import Deadband
from edge.links.base import Origin
from edge.outbox_rows import Content
from edge.packing import Packing
from edge.tally import Tally
from hardware.catalogue import DeviceModel, Name
from protocols.pack import Body, Row
from protocols.reading import Reading
from protocols.topics import BULK, URGENT


@dataclass(frozen=True)
class Stream:
    """The readings of one metric of one thing; `alias` stands for it in packs, `states` names the codes it may have."""

    alias: int
    thing: str
    metric: str
    unit: str
    name: Name
    states: Mapping[int, Name]
    deadband: Deadband | Slot


@dataclass
class ThingState:
    """How a device is, and what it said last."""

    model: DeviceModel
    state: str = "waiting"
    reason: str = ""
    last: dict[str, Reading] = field(default_factory=dict)  # of those that came by themselves
    channels: list[Channel] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)

    def latest(self) -> dict[str, Reading]:
        """What the device said last of each metric."""
        found = dict(self.last)
        for channel in self.channels:
            for reading in channel.latest():
                alone = self.last.get(reading.metric)
                if alone is None or (alone.time_ms or 0) <= (reading.time_ms or 0):
                    found[reading.metric] = reading
        return found


class Custodian(Protocol):
    """What the pipeline needs of the outbox; see there."""

    tally: Tally

    def alias(self, thing: str, metric: str, unit: str) -> int: ...
    def append(self, lane: str, body: Body, content: Content, origins: Sequence[Origin] = ()) -> None: ...
    def commit_soon(self, *, urgent: bool) -> None: ...
    def commit_in_turn(self) -> None: ...
    def ready(self, lane: str) -> bool: ...
    @property
    def full(self) -> bool: ...
    def before_commit(self, call: Callable[[], None]) -> None: ...


class Listener(Protocol):
    """Who hears readings before a deadband leaves any out: the alarms."""

    def hears(self, thing: str, metric: str) -> bool:
        """Whether it wants this metric of this thing."""

    def heard(self, thing: str, readings: Sequence[Reading], *, backfill: bool = False) -> None:
        """Readings of what it wants, and perhaps others; what came together is given together."""


class Timer(Protocol):
    """A call that will be made, unless it is cancelled."""

    def cancel(self) -> None: ...


def _on_loop(delay_s: float, call: Callable[[str], None], lane: str) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call, lane)


_UNSENT_LINGERS = 10  # between looks whether the line is up again
_MAX_REASON = 200  # the hub refuses a birth certificate that says more


class Pipeline:
    """The intake of all links."""

    def __init__(
        self,
        outbox: Custodian,
        models: Mapping[str, DeviceModel],
        *,
        clock: Callable[[], int],
        linger_ms: int = 10,
        later: Callable[[float, Callable[[str], None], str], Timer] = _on_loop,
    ):
        self.things = {thing: ThingState(model) for thing, model in models.items()}
        self.counters: Counter[str] = Counter()  # events of links rather than of one device
        self.announced = asyncio.Event()  # set when what the birth certificate says has changed
        self._outbox = outbox
        self._clock = clock
        self._linger_s = linger_ms / 1000
        self._streams: dict[tuple[str, str, str], Stream] = {}
        self._packing = Packing(outbox.tally, outbox.append)
        self._later = later
        self._closing: dict[str, Timer] = {}  # by lane
        self._listener: Listener | None = None
        outbox.before_commit(self.close_packs)  # all: the last commit is the end of the program
        for thing, model in models.items():
            for metric, declared in model.metrics.items():
                self._stream(thing, metric, declared.unit)

    def listen(self, listener: Listener, *, records: Iterable[tuple[str, str]] = ()) -> None:
        """Have it hear all readings. To be called before there is any channel.

        records: thing and metric of all that it will have recorded. Their streams are made now: a disk that fails
        then must not keep an alarm from being told.
        """
        self._listener = listener
        for thing, metric in records:
            self._stream(thing, metric, "")

    @property
    def streams(self) -> Sequence[Stream]:
        """Every stream that there is, by alias."""
        return sorted(self._streams.values(), key=lambda stream: stream.alias)

    def pending(self) -> Counter[str]:
        """Readings of each thing that are in no pack yet."""
        return self._packing.pending()

    def suppressed(self) -> Counter[str]:
        """Readings of each thing that were suppressed, and that no pack has told of yet."""
        return self._packing.suppressed()

    def take(
        self,
        thing: str,
        readings: Sequence[Reading],
        *,
        lane: str = BULK,
        origin: Origin | None = None,
        backfill: bool = False,
    ) -> None:
        """Take over readings, times filled in; with an origin, also of a pack that holds none."""
        state = self.things[thing]
        streams = [
            self._stream(thing, reading.metric, reading.unit) for reading in readings
        ]  # may fail: before all else
        passed = []
        for reading, stream in zip(readings, streams, strict=True):
            state.last[reading.metric] = reading
            if stream.deadband.passes(reading):
                passed.append((stream.alias, reading))
        self._packing.suppress(lane, thing, len(readings) - len(passed), entrusted=origin is not None)
        self._packing.put(lane, thing, passed, origin)
        if origin:
            self._outbox.commit_soon(urgent=lane == URGENT)
        else:
            self._close_soon(lane)
        if self._listener and readings:
            self._listener.heard(thing, readings, backfill=backfill)

    def record(self, thing: str, reading: Reading) -> None:
        """Take over what the gateway itself has found of a thing: urgent, and not among what the device said."""
        stream = self._stream(thing, reading.metric, reading.unit)
        self._packing.put(URGENT, thing, [(stream.alias, reading)])
        self._close_soon(URGENT)

    def channel(self, thing: str, metrics: Sequence[str]) -> Channel:
        """A channel for these metrics of the device's model, in place of any that they had before."""
        state = self.things[thing]
        state.channels = [each for each in state.channels if not set(metrics).intersection(each.metrics)]
        streams = [self._stream(thing, metric, state.model.metrics[metric].unit) for metric in metrics]
        channel = Channel(
            metrics=metrics,
            units=[stream.unit for stream in streams],
            aliases=np.array([stream.alias for stream in streams], dtype=np.int64),
            widths=[state.model.metrics[metric].deadband for metric in metrics],
            put=lambda row, count, suppressed: self._put(thing, row, count, suppressed),
        )
        if self._listener:
            heard = self._listener.heard
            wanted = [index for index, metric in enumerate(metrics) if self._listener.hears(thing, metric)]
            channel.listen(wanted, lambda readings: heard(thing, readings))
        for index, stream in enumerate(streams):
            self._streams[thing, stream.metric, stream.unit] = replace(stream, deadband=Slot(channel, index))
        state.channels.append(channel)
        return channel

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = BULK) -> None:
        """Take over a device's own gap record: it is declared, with the time of its arrival."""
        self._packing.lose(lane, thing, count, self._clock(), origin)
        self._outbox.commit_soon(urgent=lane == URGENT)

    def state(self, thing: str, state: str, reason: str = "") -> None:
        """How a device is: "online", "offline" with the reason, "waiting"."""
        known = self.things[thing]
        reason = reason[:_MAX_REASON]
        if (known.state, known.reason) != (state, reason):
            known.state, known.reason = state, reason
            self.announced.set()

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        """Count an event, e.g. "checksum_errors"."""
        (self.things[thing].counters if thing else self.counters)[counter] += by

    def full(self) -> bool:
        """See edge.links.base.Intake."""
        return self._outbox.full

    def close_packs(self) -> None:
        """Put what is open into packs now."""
        for closing in self._closing.values():
            closing.cancel()
        self._closing.clear()
        self._packing.close_all()

    def _put(self, thing: str, row: Row | None, count: int, suppressed: int) -> None:
        """Take over what a channel lets pass, and count what it does not."""
        self._packing.suppress(BULK, thing, suppressed)
        if row is not None:
            self._packing.put_row(BULK, thing, row, count)
        self._close_soon(BULK)

    def _stream(self, thing: str, metric: str, unit: str) -> Stream:
        key = (thing, metric, unit)
        stream = self._streams.get(key)
        if stream is None:
            known = self.things.get(thing)  # none where an alarm ends since its thing is no more
            declared = known.model.metrics.get(metric) if known else None
            # A cuff set to kPa gives its metric in another unit: another stream, and no deadband in the wrong unit.
            width = declared.deadband if declared and declared.unit == unit else None
            name = declared.name if declared else Name(en=metric, zh=metric)
            states = declared.states if declared and declared.states else {}
            stream = Stream(self._outbox.alias(*key), thing, metric, unit, name, states, Deadband(width))
            self._streams[key] = stream
            self.announced.set()
        return stream

    def _close_soon(self, lane: str) -> None:
        if lane == URGENT or self._packing.full(lane):
            self._close(lane)
        elif lane not in self._closing and self._packing.filling(lane):
            self._closing[lane] = self._later(self._linger_s, self._close_if_ready, lane)

    def _close_if_ready(self, lane: str) -> None:
        """A pack that cannot be sent yet goes on growing until it is to be committed: large ones are smaller by far."""
        if self._outbox.ready(lane):
            self._close(lane)
        elif self._packing.filling(lane):
            self._outbox.commit_in_turn()
            self._closing[lane] = self._later(_UNSENT_LINGERS * self._linger_s, self._close_if_ready, lane)
        else:
            del self._closing[lane]

    def _close(self, lane: str) -> None:
        if closing := self._closing.pop(lane, None):
            closing.cancel()
        self._packing.close(lane)
