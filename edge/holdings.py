"""What the outbox holds that the hub has not confirmed, and what became of what it holds no more. No I/O, no clock."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Loss = tuple[int, int, int]  # readings, from ms, to ms


class Content(Protocol):
    """What a pack holds: readings by thing, and what it declares as lost."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Readings by thing."""

    @property
    def lost(self) -> Mapping[str, Loss]:
        """Losses by thing."""


@dataclass
class Holdings:
    """The readings that are held, by lane and thing, and those that gap records which are held declare lost, by lane.

    Since the start, by thing: `stored`, what the far side confirmed, and `declared_lost`.
    """

    readings: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    declared_lost: Counter[str] = field(default_factory=Counter)

    def found(self, lane: str, content: Content) -> None:
        """A pack is held since before the start."""
        for thing, count in content.counts.items():
            self.readings[lane, thing] += count
        self.lost[lane] += _sum(content)

    def take(self, lane: str, content: Content) -> None:
        """A pack is held from now on."""
        self.found(lane, content)
        for thing, (count, _, _) in content.lost.items():
            self.declared_lost[thing] += count

    def confirm(self, lane: str, content: Content) -> None:
        """The far side has the pack: it is held no more."""
        for thing, count in content.counts.items():
            self.readings[lane, thing] -= count
            self.stored[thing] += count
        self.lost[lane] -= _sum(content)

    def give_way(self, lane: str, content: Content) -> None:
        """A gap record has taken the pack's place."""
        for thing, count in content.counts.items():
            self.readings[lane, thing] -= count
            self.lost[lane] += count
            self.declared_lost[thing] += count

    def by_thing(self) -> dict[str, int]:
        """Readings of each thing, those of which there are none left out."""
        found: Counter[str] = Counter()
        for (_, thing), count in self.readings.items():
            found[thing] += count
        return {thing: count for thing, count in found.items() if count}

    def of_lane(self, lane: str) -> int:
        """Readings on a lane."""
        return sum(count for (each, _), count in self.readings.items() if each == lane)


def _sum(content: Content) -> int:
    return sum(count for count, _, _ in content.lost.values())
