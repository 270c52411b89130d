"""The conditions of alarm rules: what was measured goes in, and whether it is so comes out, over event time.

Every condition is True, False, or None as long as it is not known. It is asked (`step`) at each time at which something
may change: when a reading came, and when `due` says. Times are Unix ms, and never go back but by `shift`.
"""

from .calendar import Calendar
from .rule import operands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .calendar import Offset

    # As it comes here: a decimal fraction is a float by then.
    Value = bool | int | float | str

_CELLS = 16  # into which the time of a change is divided: the extremes of each are kept, and not the readings


class Condition:
    """What all have in common. `truth`: what it was found to be last, where that is remembered.

    kept: the attributes that a restart must not lose. clocks: those that are times since when something lasts; events:
    those that are times at which something was.
    """

    kept: "tuple[str, ...]" = ()
    clocks: "tuple[str, ...]" = ()
    events: "tuple[str, ...]" = ()

    def __init__(self, said: "Mapping[str, Any]"):
        self.kind: str = said["kind"]
        self.parts: "Sequence[Condition]" = ()
        self.truth: "bool | None" = None

    def start(self, at_ms: int) -> None:
        """Nothing was observed before this time."""

    def step(self, at_ms: int) -> "bool | None":
        """Whether it is so at this time."""
        raise NotImplementedError

    def due(self, at_ms: int) -> "int | None":
        """When it may change though no reading comes; later than `at_ms`, at which it has been asked."""
        raise NotImplementedError

    def shift(self, by_ms: int, names: str) -> None:
        """Move what it keeps of times by so much: its "clocks" or its "events"."""
        for name in getattr(self, names):
            time = getattr(self, name)
            if time is not None:
                setattr(self, name, time + by_ms)

    def dump(self) -> "list[Any]":
        """What a restart must not lose, for `load`; fit for JSON."""
        return [self.kind, len(self.parts)] + [getattr(self, name) for name in self.kept]

    def load(self, dumped: "Sequence[Any]") -> None:
        """Go on from there."""
        for name, value in zip(self.kept, dumped[2:]):
            setattr(self, name, value)


class Measured(Condition):
    """A condition of one metric. Readings without a number are left aside where one is needed, as are other units."""

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        self.source: "tuple[str, str]" = (said["thing"], said["metric"])
        self._unit: "str | None" = said.get("unit")

    def feed(self, time_ms: int, value: "Value", unit: str) -> None:
        """A good reading; those of one source come in the order of their times."""
        if self._unit is None:
            self.take(time_ms, value)
        elif unit == self._unit and not isinstance(value, str):
            self.take(time_ms, float(value))

    def take(self, time_ms: int, value: "Any") -> None:
        """Take over a value in the condition's own unit."""
        raise NotImplementedError

    def step(self, at_ms: int) -> "bool | None":
        return self.truth

    def due(self, at_ms: int) -> "int | None":
        return None


class Limit(Measured):
    """above, below, outside: the value is beyond a limit, and comes back only when it is within by the hysteresis."""

    kept = ("truth",)

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        limit = said[self.kind]
        self._low, self._high = {"above": (None, limit), "below": (limit, None), "outside": limit}[self.kind]
        self._hysteresis = said["hysteresis"]

    def take(self, time_ms: int, value: float) -> None:
        margin = self._hysteresis if self.truth else 0
        self.truth = (self._high is not None and value > self._high - margin) or (
            self._low is not None and value < self._low + margin
        )


class Inside(Measured):
    """inside: the value is between two limits, which belong to it."""

    kept = ("truth",)

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        self._low, self._high = said["inside"]
        self._hysteresis = said["hysteresis"]

    def take(self, time_ms: int, value: float) -> None:
        margin = self._hysteresis if self.truth else 0
        self.truth = self._low - margin <= value <= self._high + margin


class Equals(Measured):
    """equals: the value is one of these."""

    kept = ("truth",)

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        self._values = said["equals"]

    def take(self, time_ms: int, value: "Value") -> None:
        self.truth = value in self._values


class Change(Measured):
    """rises, falls, changes: by more than so much within a time, which is looked at in steps of a sixteenth."""

    kept = ("truth", "cells")

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        self._by = said[self.kind]
        self._hysteresis = said["hysteresis"]
        self._cell_ms = max(1, said["within_s"] // _CELLS)
        self.cells: "list[list[Any]]" = []  # [number, lowest, highest], oldest first

    def take(self, time_ms: int, value: float) -> None:
        number = time_ms // self._cell_ms
        if self.cells and self.cells[-1][0] == number:
            cell = self.cells[-1]
            cell[1], cell[2] = min(cell[1], value), max(cell[2], value)
        else:
            self.cells = [cell for cell in self.cells if cell[0] >= number - _CELLS]
            self.cells.append([number, value, value])
        rise = value - min([cell[1] for cell in self.cells])
        fall = max([cell[2] for cell in self.cells]) - value
        change = {"rises": rise, "falls": fall, "changes": max(rise, fall)}[self.kind]
        self.truth = change > self._by - (self._hysteresis if self.truth else 0)

    def shift(self, by_ms: int, names: str) -> None:
        if names == "events":
            for cell in self.cells:
                cell[0] += by_ms // self._cell_ms


class Silent(Measured):
    """silent_s: there was no good reading for so long."""

    kept = ("since_ms",)
    clocks = ("since_ms",)

    def __init__(self, said: "Mapping[str, Any]"):
        super().__init__(said)
        self._span_ms = said["silent_s"]
        self.since_ms: "int | None" = None

    def start(self, at_ms: int) -> None:
        self.since_ms = at_ms

    def take(self, time_ms: int, value: "Value") -> None:
        self.since_ms = time_ms if self.since_ms is None else max(self.since_ms, time_ms)

    def step(self, at_ms: int) -> "bool | None":
        return None if self.since_ms is None else at_ms - self.since_ms >= self._span_ms

    def due(self, at_ms: int) -> "int | None":
        return None if self.step(at_ms) is not False else self.since_ms + self._span_ms


class Within(Condition):
    """calendar: the time itself is within what it says."""

    def __init__(self, said: "Mapping[str, Any]", zone: str, offset: "Offset"):
        super().__init__(said)
        self._calendar = Calendar(said["calendar"], zone, offset)

    def step(self, at_ms: int) -> "bool | None":
        return self._calendar.holds(at_ms)

    def due(self, at_ms: int) -> "int | None":
        return self._calendar.due(at_ms)


class Count(Condition):
    """all, any, none, at_least: how many of its parts are so, or were within a time."""

    kept = ("was", "until_ms")

    def __init__(self, said: "Mapping[str, Any]", parts: "Sequence[Condition]"):
        super().__init__(said)
        self.parts = parts
        self._least: int = {"all": len(parts), "at_least": said.get("at_least", 1)}.get(self.kind, 1)
        self._within_ms: int = said.get("within_s", 0)
        self.was = [False] * len(parts)
        self.until_ms: "list[int | None]" = [None] * len(parts)  # how long what is over still counts

    def start(self, at_ms: int) -> None:
        for part in self.parts:
            part.start(at_ms)

    def step(self, at_ms: int) -> "bool | None":
        so = unknown = 0
        for place, part in enumerate(self.parts):
            truth = part.step(at_ms)
            if self.was[place] and not truth:
                self.until_ms[place] = at_ms + self._within_ms
            self.was[place] = bool(truth)
            until_ms = self.until_ms[place]
            if truth or (until_ms is not None and at_ms < until_ms):
                so += 1
            elif truth is None:
                unknown += 1
        found = True if so >= self._least else None if so + unknown >= self._least else False
        return found if self.kind != "none" or found is None else not found

    def due(self, at_ms: int) -> "int | None":
        times = [part.due(at_ms) for part in self.parts] + self.until_ms
        return earliest([time for time in times if time is not None and time > at_ms])

    def shift(self, by_ms: int, names: str) -> None:
        if names == "events":
            self.until_ms = [time if time is None else time + by_ms for time in self.until_ms]
        for part in self.parts:
            part.shift(by_ms, names)


class Delayed(Condition):
    """A condition that counts as begun, and as over, only when it has been so for a time. What is not known holds."""

    kept = ("truth", "turning_ms")
    clocks = ("turning_ms",)

    def __init__(self, said: "Mapping[str, Any]", part: "Condition"):
        super().__init__({"kind": "delayed"})
        self.parts = (part,)
        self._delays_ms = {True: said["delay_on_s"], False: said["delay_off_s"]}
        self.turning_ms: "int | None" = None  # since when its part has been what it is not yet

    def start(self, at_ms: int) -> None:
        self.parts[0].start(at_ms)

    def step(self, at_ms: int) -> "bool | None":
        found = self.parts[0].step(at_ms)
        if self.truth is None and found is False:
            self.truth = False  # it was never otherwise, as far as is known
        if found is None or found == self.truth:
            self.turning_ms = None
        else:
            if self.turning_ms is None:
                self.turning_ms = at_ms
            if at_ms - self.turning_ms >= self._delays_ms[found]:
                self.truth, self.turning_ms = found, None
        return self.truth

    def due(self, at_ms: int) -> "int | None":
        times = [self.parts[0].due(at_ms)]
        if self.turning_ms is not None:
            times.append(self.turning_ms + self._delays_ms[not self.truth])
        return earliest([time for time in times if time is not None])

    def shift(self, by_ms: int, names: str) -> None:
        super().shift(by_ms, names)
        self.parts[0].shift(by_ms, names)


_MEASURED = {
    "above": Limit, "below": Limit, "outside": Limit, "inside": Inside, "equals": Equals,
    "rises": Change, "falls": Change, "changes": Change, "silent_s": Silent,
}  # fmt: skip


def build(said: "Mapping[str, Any]", zone: str, offset: "Offset") -> "Condition":
    """The condition that a rule's table says, with its delays."""
    if said["delay_on_s"] or said["delay_off_s"]:
        return build_delayed(said, zone, offset)
    return _build_plain(said, zone, offset)


def build_delayed(said: "Mapping[str, Any]", zone: str, offset: "Offset") -> "Delayed":
    """The same, with delays even if they are 0: for who asks since when it turns."""
    return Delayed(said, _build_plain(said, zone, offset))


def all_of(condition: "Condition") -> "list[Condition]":
    """It and all its parts, in a fixed order."""
    found = [condition]
    for part in condition.parts:
        found += all_of(part)
    return found


def earliest(times: "Sequence[int]") -> "int | None":
    """The first of these times, None if there are none."""
    return min(times) if times else None


def _build_plain(said: "Mapping[str, Any]", zone: str, offset: "Offset") -> "Condition":
    kind = said["kind"]
    if kind in _MEASURED:
        return _MEASURED[kind](said)
    if kind == "calendar":
        return Within(said, zone, offset)
    return Count(said, [build(part, zone, offset) for part in operands(said)])
