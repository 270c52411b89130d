"""From readings to packs: streams and their aliases, deadband, and packs that are closed after a few milliseconds."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge.channel import Channel, Slot
from edge.deadband import Deadband
from edge.links.base import Origin
from edge.outbox import Outbox
from edge.outbox_file import Content
from hardware.catalogue import DeviceModel, Name
from protocols.pack import Body, Row, columns
from protocols.reading import Reading
from protocols.topics import BULK, LANES, URGENT


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


@dataclass
class _Open:
    """A pack that is being filled. Bounded by _MAX_READINGS, _MAX_IN_ROWS and what came last."""

    readings: list[tuple[int, Reading]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    in_rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    origins: list[Origin] = field(default_factory=list)
    lost: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    closing: asyncio.TimerHandle | None = None

    def empty(self) -> bool:
        return not (self.readings or self.rows or self.origins)

    def full(self) -> bool:
        return len(self.readings) >= _MAX_READINGS or self.in_rows >= _MAX_IN_ROWS


_MAX_REASON = 200  # the hub refuses a birth certificate that says more
# A larger pack could grow beyond what brokers and the hub let through; a reading alone may be a text.
_MAX_READINGS = 2000
_MAX_IN_ROWS = 20_000


class Pipeline:
    """The intake of all links."""

    def __init__(
        self,
        outbox: Outbox,
        models: Mapping[str, DeviceModel],
        *,
        clock: Callable[[], int],
        linger_ms: int = 20,
    ):
        self.things = {thing: ThingState(model) for thing, model in models.items()}
        self.counters: Counter[str] = Counter()  # events of links rather than of one device
        self.announced = asyncio.Event()  # set when what the birth certificate says has changed
        self._outbox = outbox
        self._clock = clock
        self._linger_s = linger_ms / 1000
        self._streams: dict[tuple[str, str, str], Stream] = {}
        self._open = {lane: _Open() for lane in LANES}
        self._entrusted = {lane: _Open() for lane in LANES}  # from devices' own packs; closed by the outbox's commit
        outbox.before_commit(self.close_packs)  # all: the last commit is the end of the program
        for thing, model in models.items():
            for metric, declared in model.metrics.items():
                self._stream(thing, metric, declared.unit)

    @property
    def streams(self) -> Sequence[Stream]:
        """Every stream that there is, by alias."""
        return sorted(self._streams.values(), key=lambda stream: stream.alias)

    def pending(self) -> Counter[str]:
        """Readings of each thing that are in no pack yet."""
        packs = (*self._open.values(), *self._entrusted.values())
        return sum((pack.counts for pack in packs), Counter())

    def take(self, thing: str, readings: Sequence[Reading], *, lane: str = BULK, origin: Origin | None = None) -> None:
        """Take over readings, times filled in; with an origin, also of a pack that holds none."""
        pack = self._entrusted[lane] if origin else self._open[lane]
        state = self.things[thing]
        streams = [
            self._stream(thing, reading.metric, reading.unit) for reading in readings
        ]  # may fail: before all else
        for reading, stream in zip(readings, streams, strict=True):
            state.last[reading.metric] = reading
            if stream.deadband.passes(reading):
                pack.readings.append((stream.alias, reading))
                pack.counts[thing] += 1
            else:
                self._outbox.tally.suppressed(thing, 1)
        if origin:
            pack.origins.append(origin)
            if pack.full():
                self._close(lane, self._entrusted)
            self._outbox.commit_soon(urgent=lane == URGENT)
        else:
            self._close_soon(lane)

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
        for index, stream in enumerate(streams):
            self._streams[thing, stream.metric, stream.unit] = replace(stream, deadband=Slot(channel, index))
        state.channels.append(channel)
        return channel

    def lose(self, thing: str, count: int, origin: Origin, *, lane: str = BULK) -> None:
        """Take over a device's own gap record: it is declared, with the time of its arrival."""
        pack = self._entrusted[lane]
        now = self._clock()
        before, first, _ = pack.lost.get(thing, (0, now, now))
        pack.lost[thing] = (before + count, first, now)
        pack.origins.append(origin)
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

    def close_packs(self) -> None:
        """Put what is open into packs now."""
        for lane in LANES:
            self._close(lane, self._open)
            self._close(lane, self._entrusted)

    def _put(self, thing: str, row: Row | None, count: int, suppressed: int) -> None:
        """Take over what a channel lets pass, and count what it does not."""
        if suppressed:
            self._outbox.tally.suppressed(thing, suppressed)
        if row is not None:
            pack = self._open[BULK]
            pack.rows.append(row)
            pack.in_rows += count
            pack.counts[thing] += count
        self._close_soon(BULK)

    def _stream(self, thing: str, metric: str, unit: str) -> Stream:
        key = (thing, metric, unit)
        stream = self._streams.get(key)
        if stream is None:
            declared = self.things[thing].model.metrics.get(metric)
            # A cuff set to kPa gives its metric in another unit: another stream, and no deadband in the wrong unit.
            width = declared.deadband if declared and declared.unit == unit else None
            name = declared.name if declared else Name(en=metric, zh=metric)
            states = declared.states if declared and declared.states else {}
            stream = Stream(self._outbox.alias(*key), thing, metric, unit, name, states, Deadband(width))
            self._streams[key] = stream
            self.announced.set()
        return stream

    def _close_soon(self, lane: str) -> None:
        pack = self._open[lane]
        if lane == URGENT or pack.full():
            self._close(lane, self._open)
        elif pack.closing is None and not pack.empty():
            pack.closing = asyncio.get_running_loop().call_later(self._linger_s, self._close, lane, self._open)

    def _close(self, lane: str, open_packs: dict[str, _Open]) -> None:
        pack = open_packs[lane]
        if pack.closing:
            pack.closing.cancel()
        if pack.empty():
            return
        open_packs[lane] = _Open()
        tally = self._outbox.tally
        for thing, count in pack.counts.items():
            tally.packed(thing, count)
        for thing, (count, _, _) in pack.lost.items():
            tally.packed(thing, count)
        times = [reading.time_ms for _, reading in pack.readings if reading.time_ms is not None]
        times += [row.time_ms for row in pack.rows]
        body = Body(columns(pack.readings), pack.rows, tally.of(pack.counts.keys() | pack.lost.keys()), pack.lost)
        content = Content(dict(pack.counts), body.tallies, (min(times, default=0), max(times, default=0)))
        self._outbox.append(lane, body, content, pack.origins)
