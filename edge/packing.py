"""Packs while they are being filled, and what is in each when it is closed. No I/O, no clock, no loop.

What comes by itself and what devices entrust to us out of their journals are in packs apart: the latter wait for the
outbox's commit, and shall hold up no other.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.links.base import Origin
from edge.outbox_rows import Content
from edge.tally import Tally
from protocols.pack import Body, Row, columns
from protocols.reading import Reading
from protocols.topics import LANES

# A larger pack could grow beyond what brokers and the hub let through; a reading alone may be a text.
_MAX_READINGS = 2000
_MAX_IN_ROWS = 20_000


@dataclass
class _Pack:
    """Bounded by _MAX_READINGS, _MAX_IN_ROWS and what came last."""

    readings: list[tuple[int, Reading]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    in_rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    suppressed: Counter[str] = field(default_factory=Counter)  # since the last pack: told by this one, in its epoch
    origins: list[Origin] = field(default_factory=list)
    lost: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def empty(self) -> bool:
        return not (self.readings or self.rows or self.origins)

    def full(self) -> bool:
        return len(self.readings) >= _MAX_READINGS or self.in_rows >= _MAX_IN_ROWS


class Packing:
    """The open packs of each lane. `append` takes over what is closed: lane, body, content, origins."""

    def __init__(self, tally: Tally, append: Callable[[str, Body, Content, Sequence[Origin]], None]):
        self._tally = tally
        self._append = append
        self._own = {lane: _Pack() for lane in LANES}
        self._entrusted = {lane: _Pack() for lane in LANES}

    def pending(self) -> Counter[str]:
        """Readings of each thing that are in no closed pack yet."""
        packs = (*self._own.values(), *self._entrusted.values())
        return sum((pack.counts for pack in packs), Counter())

    def suppressed(self) -> Counter[str]:
        """Readings of each thing that were suppressed, and that no pack has told of yet."""
        packs = (*self._own.values(), *self._entrusted.values())
        return sum((pack.suppressed for pack in packs), Counter())

    def suppress(self, lane: str, thing: str, count: int, *, entrusted: bool = False) -> None:
        """So many readings were left out; the next pack tells of them."""
        if count:
            (self._entrusted if entrusted else self._own)[lane].suppressed[thing] += count

    def put(self, lane: str, thing: str, readings: Sequence[tuple[int, Reading]], origin: Origin | None = None) -> None:
        """Add (alias, reading)s of a thing; with an origin, also of a device's pack that holds none."""
        pack = self._entrusted[lane] if origin else self._own[lane]
        pack.readings += readings
        if readings:
            pack.counts[thing] += len(readings)
        if origin:
            pack.origins.append(origin)
            if pack.full():
                self._close(lane, self._entrusted)

    def put_row(self, lane: str, thing: str, row: Row, count: int) -> None:
        """Add a row with so many readings of a thing."""
        pack = self._own[lane]
        pack.rows.append(row)
        pack.in_rows += count
        pack.counts[thing] += count

    def lose(self, lane: str, thing: str, count: int, now_ms: int, origin: Origin) -> None:
        """Add a device's own gap record: it is declared, with the time of its arrival."""
        pack = self._entrusted[lane]
        before, first, _ = pack.lost.get(thing, (0, now_ms, now_ms))
        pack.lost[thing] = (before + count, first, now_ms)
        pack.origins.append(origin)

    def filling(self, lane: str) -> bool:
        """Whether what came by itself waits for its pack to be closed."""
        return not self._own[lane].empty()

    def full(self, lane: str) -> bool:
        """Whether that pack must be closed now."""
        return self._own[lane].full()

    def close(self, lane: str) -> None:
        """Close the pack of what came by itself, if there is one."""
        self._close(lane, self._own)

    def close_all(self) -> None:
        """Close whatever there is."""
        for lane in LANES:
            self._close(lane, self._own)
            self._close(lane, self._entrusted)

    def _close(self, lane: str, packs: dict[str, _Pack]) -> None:
        pack = packs[lane]
        if pack.empty():
            return
        packs[lane] = _Pack()
        for thing, count in pack.counts.items():
            self._tally.packed(lane, thing, count)
        for thing, count in pack.suppressed.items():
            self._tally.suppressed(lane, thing, count)
        for thing, (count, _, _) in pack.lost.items():
            self._tally.packed(lane, thing, count)
        times = [reading.time_ms for _, reading in pack.readings if reading.time_ms is not None]
        times += [row.time_ms for row in pack.rows]
        spoken_of = dict.fromkeys((*pack.counts, *pack.suppressed, *pack.lost))
        body = Body(columns(pack.readings), pack.rows, self._tally.of(lane, spoken_of), pack.lost)
        content = Content(dict(pack.counts), body.tallies, (min(times, default=0), max(times, default=0)), pack.lost)
        self._append(lane, body, content, pack.origins)
