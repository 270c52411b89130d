"""What a rule means, said as plainly as can be: everything is reckoned anew at every second, and there are no timers.

The machine under test goes from event to event; this goes through time second by second, keeps all that ever happened,
and looks back through it. Times are whole seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

START = 1_900_000_000  # 2030-03-17, a Sunday, 17:46:40 UTC
AHEAD = 5
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Truth = bool | None


@dataclass
class Moment:
    """A second, or a part of one: readings (metric, time, value, unit) that came into force, or what somebody did."""

    at: int
    readings: list[tuple[str, int, Any, str]] = field(default_factory=list)
    acknowledges: bool = False
    shelves_until: int | None = None
    now: int | None = None  # of what somebody did
    away: int = 0  # seconds just before it in which nobody observed


@dataclass
class Script:
    """What happened, in the order in which it did: each event with the clock's time. metrics: those that count."""

    metrics: set[str]
    wait: int
    lateness: int
    grace: int
    moments: list[Moment] = field(default_factory=list)
    reached: int = START
    begun: bool = False
    now: int = START
    newest: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    held: list[tuple[int, str, Any, str]] = field(default_factory=list)

    def take(self, metric: str, time: int, value: Any, unit: str) -> None:
        """A reading comes."""
        if time > self.now + AHEAD:
            time = self.now
        if metric in self.metrics and self.now - time <= self.lateness and time > self.taken.get(metric, 0):
            self.held.append((time, metric, value, unit))
            self.newest = max(self.newest, time)

    def settle(self) -> None:
        """Time goes on to where it has come."""
        upto = max(self.newest, self.now - self.grace) - self.wait
        if upto < self.reached:
            return
        if not self.begun:
            self._add()
        while waiting := [time for time, *_ in self.held if time <= self.reached]:
            self.moments.append(Moment(self.reached, self._release(min(waiting))))
        while self.reached < upto:
            self.reached += 1
            self.moments.append(Moment(self.reached, self._release(self.reached)))

    def act(self, moment: Moment) -> None:
        """Somebody does something."""
        self.begun = True
        self.moments.append(moment)

    def go_away(self, seconds: int) -> None:
        """Nobody observes for so long."""
        self.now += seconds
        away = self.now - self.grace - self.wait - self.reached
        if away > 0:
            self.reached += away
            self._add(away)

    def _add(self, away: int = 0) -> None:
        """A look at everything, with the first readings that wait for it."""
        self.begun = True
        waiting = [time for time, *_ in self.held if time <= self.reached]
        self.moments.append(Moment(self.reached, self._release(min(waiting)) if waiting else [], away=away))

    def _release(self, time: int) -> list[tuple[str, int, Any, str]]:
        found = sorted((each for each in self.held if each[0] == time), key=lambda each: each[:2])
        self.held = [each for each in self.held if each[0] != time]
        for _, metric, _, _ in found:
            self.taken[metric] = time
        return [(metric, time, value, unit) for time, metric, value, unit in found]


def truths(said: dict[str, Any], moments: Sequence[Moment]) -> list[Truth]:
    """Whether a condition is so, with its delays, at each moment."""
    plain = _plain(said, moments)
    on, off = said["delay_on_s"] // 1000, said["delay_off_s"] // 1000
    return _delayed(plain, moments, on, off) if on or off else plain


def _plain(said: dict[str, Any], moments: Sequence[Moment]) -> list[Truth]:
    kind = said["kind"]
    if kind in ("all", "any", "none", "at_least"):
        return _counted(said, moments)
    if kind == "calendar":
        return [_within(said["calendar"], moment.at) for moment in moments]
    if kind == "silent_s":
        return _silent(said, moments)
    found: list[Truth] = []
    values: list[tuple[int, Any]] = []
    truth: Truth = None
    for moment in moments:
        for metric, time, value, unit in moment.readings:
            if metric == said["metric"] and unit == said.get("unit", unit):
                values.append((time, value))
                truth = _judged(said, values, truth)
        found.append(truth)
    return found


def _judged(said: dict[str, Any], values: list[tuple[int, Any]], truth: Truth) -> bool:
    kind = said["kind"]
    time, value = values[-1]
    slack = said.get("hysteresis", 0) if truth else 0
    if kind == "above":
        return bool(value > said["above"] - slack)
    if kind == "below":
        return bool(value < said["below"] + slack)
    if kind == "outside":
        return not said["outside"][0] + slack <= value <= said["outside"][1] - slack
    if kind == "inside":
        return bool(said["inside"][0] - slack <= value <= said["inside"][1] + slack)
    if kind == "equals":
        return value in said["equals"]
    cell = said["within_s"] // 16
    window = [v for t, v in values if t * 1000 // cell >= time * 1000 // cell - 16]
    change = {
        "rises": value - min(window),
        "falls": max(window) - value,
        "changes": max(value - min(window), max(window) - value),
    }[kind]
    return bool(change > said[kind] - slack)


def _silent(said: dict[str, Any], moments: Sequence[Moment]) -> list[Truth]:
    since = START
    found: list[Truth] = []
    for moment in moments:
        since += moment.away
        for metric, time, _, _ in moment.readings:
            if metric == said["metric"]:
                since = max(since, time)
        found.append(moment.at - since >= said["silent_s"] // 1000)
    return found


def _within(said: dict[str, Any], at: int) -> bool:
    local = datetime.fromtimestamp(at, UTC)
    start, end = (timedelta(seconds=bound) for bound in said["between"])
    midnight = local.replace(hour=0, minute=0, second=0)
    for day in (midnight, midnight - timedelta(days=1)):
        last = day + end if start < end else day + timedelta(days=1) + end
        named = {(day.year, day.month, day.day), (0, day.month, day.day)}
        if (
            day + start <= local < last
            and DAYS[day.weekday()] in said["days"]
            and (not said["dates"] or named & set(said["dates"]))
            and not named & set(said["not_dates"])
        ):
            return True
    return False


def _counted(said: dict[str, Any], moments: Sequence[Moment]) -> list[Truth]:
    parts = [truths(part, moments) for part in (said["of"] if said["kind"] == "at_least" else said[said["kind"]])]
    least: int = {"all": len(parts), "at_least": said.get("at_least", 1)}.get(said["kind"], 1)
    within = said.get("within_s", 0) // 1000
    found: list[Truth] = []
    for place, moment in enumerate(moments):
        so = unknown = 0
        for part in parts:
            ended = [
                moments[k].at for k in range(1, place + 1) if part[k - 1] and not part[k] and moments[k].at <= moment.at
            ]
            if part[place] or (ended and moment.at < ended[-1] + within):
                so += 1
            elif part[place] is None:
                unknown += 1
        truth: Truth = True if so >= least else None if so + unknown >= least else False
        found.append(truth if said["kind"] != "none" or truth is None else not truth)
    return found


def _delayed(plain: Sequence[Truth], moments: Sequence[Moment], on: int, off: int) -> list[Truth]:
    found: list[Truth] = []
    truth: Truth = None
    for place, moment in enumerate(moments):
        if truth is None and plain[place] is False:
            truth = False
        if plain[place] is not None and plain[place] != truth:
            first = place
            while first > 0 and plain[first - 1] == plain[place] and (found[first - 1] == truth):
                first -= 1
            lasted = moment.at - moments[first].at - sum(each.away for each in moments[first + 1 : place + 1])
            if lasted >= (on if plain[place] else off):
                truth = plain[place]
        found.append(truth)
    return found


def outcome(rule: Any, moments: Sequence[Moment]) -> list[tuple[Any, ...]]:
    """All that follows, in order: ("change", onset, number, state, time, by, metric, value) and ("tell", onset, step,
    time)."""
    when, plain = truths(rule.when, moments), _plain(rule.when, moments)
    inhibited = truths(rule.inhibit, moments) if rule.inhibit else [None] * len(moments)
    found: list[tuple[Any, ...]] = []
    begun: tuple[int, str, Any] | None = None
    alarm: tuple[int, str, Any] | None = None
    state, number, acknowledged, shelf, active_since, told = "", 0, False, 0, 0, 0

    def enter(new: str, by: str, time: int) -> None:
        nonlocal state, number
        state, number = new, number + 1
        assert alarm is not None
        found.append(("change", alarm[0], number, new, time, by, *alarm[1:]))

    for place, moment in enumerate(moments):
        by = "" if moment.now is None else "someone"
        time = moment.at if moment.now is None else moment.now
        # What is not known holds: the condition is met still if it was.
        met = plain[place] if plain[place] is not None else when[place]
        if met:
            metric, stamp, value, _ = moment.readings[-1] if moment.readings else ("", moment.at, None, "")
            begun = begun or (stamp, metric, value)
        else:
            begun = None
        if moment.shelves_until is not None:
            shelf = moment.shelves_until if moment.shelves_until > time else 0
        if moment.at >= shelf:
            shelf = 0
        if moment.acknowledges and alarm:
            acknowledged = True
        if when[place] and not alarm:
            alarm, number, acknowledged, state = begun, 0, False, ""
        elif alarm and when[place] is False and (acknowledged or not rule.latched):
            enter("cleared", by, time)
            alarm = None
        if not alarm:
            continue
        wanted = "acknowledged" if acknowledged else "active"
        wanted = "shelved" if shelf else "inhibited" if inhibited[place] else wanted
        if wanted != state:
            enter(wanted, by, time)
            if wanted == "active":
                active_since, told = moment.at, 0
        while (
            state == "active"
            and told < len(rule.escalation)
            and (moment.at - active_since) * 1000 >= rule.escalation[told]["after_s"]
        ):
            found.append(("tell", alarm[0], told, time))
            told += 1
    return found
