"""What became of each reading: made by a device, found in the hub's store. Kept outside of all that may be killed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from hub.store.querying import Point, Querying

_END_MS = 1 << 53


@dataclass(frozen=True)
class Account:
    """Readings of one stream, or of many: made = stored + suppressed + buffered + declared_lost, or something is wrong.

    missing: made, and nowhere. duplicates: stored more often than once, never made, or accounted for twice.
    """

    made: int = 0
    stored: int = 0
    suppressed: int = 0
    buffered: int = 0
    declared_lost: int = 0
    missing: int = 0
    duplicates: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def with_lost(self, count: int) -> "Account":
        """The same account, where so many readings of all streams together are declared lost, too."""
        return replace(
            self,
            declared_lost=self.declared_lost + count,
            missing=max(0, self.missing - count),
            duplicates=self.duplicates + max(0, count - self.missing),
        )

    def equation(self) -> str:
        """The equation of conservation, for people."""
        terms = f"{self.stored} stored + {self.suppressed} suppressed + {self.buffered} buffered"
        wrong = f"; {self.missing} missing, {self.duplicates} twice" if self.missing or self.duplicates else ""
        return f"{self.made} made = {terms} + {self.declared_lost} declared lost{wrong}"


def judge(
    made: Collection[int], stored: Sequence[int], *, suppressed: int = 0, buffered: int = 0, declared_lost: int = 0
) -> Account:
    """The account of one stream by the numbers that were made and those that the hub has stored."""
    once = len(np.intersect1d(np.array(stored, np.int64), np.fromiter(made, np.int64, len(made))))
    unexplained = len(made) - once - suppressed - buffered - declared_lost
    return Account(
        made=len(made),
        stored=once,
        suppressed=suppressed,
        buffered=buffered,
        declared_lost=declared_lost,
        missing=max(0, unexplained),
        duplicates=len(stored) - once + max(0, -unexplained),
    )


def streams(hub_data: Path, thing: str) -> dict[str, int]:
    """The hub's streams of this thing by their metrics."""
    return {stream.metric: stream.id for stream in Querying(hub_data).streams(thing)}


def points(hub_data: Path, stream: int) -> list[Point]:
    """Every reading of a stream, in order of time, by the queries that everybody uses."""
    return [point for part in reversed(list(_parts(hub_data, stream))) for point in part]


def numbers(hub_data: Path, stream: int) -> list[int]:
    """The readings of a stream that are numbers, in any order; one that says that a device is offline has no value."""
    return [number for part in _parts(hub_data, stream) for number in values(part)]


def values(part: Sequence[Point]) -> list[int]:
    """Those that are numbers."""
    return [int(point.value) for point in part if isinstance(point.value, int | float)]


def _parts(hub_data: Path, stream: int) -> Iterator[list[Point]]:
    """A stream's readings, the newest part first, each part in order of time."""
    hub = Querying(hub_data)
    end_ms = _END_MS
    more = True
    while more:
        part, more = hub.history(stream, 0, end_ms)
        if more:
            oldest = part[0].time_ms  # of which there may be more than we were given
            part = [point for point in part if point.time_ms > oldest]
            if not part:
                raise ValueError(f"stream {stream} has more readings of {oldest} than a query answers with")
            end_ms = oldest + 1
        yield part
