"""One alarm rule for one thing: a timed state machine. Pure: readings, times and what people do in; changes out.

It goes through event time. What it finds depends on the readings in the order of their times alone, not on how they
came, and how often, nor on restarts: so an alarm's identity, (rule, thing, onset), is the same wherever it is
raised. `onset` is the time of the reading, or of the deadline, with which the condition began that led to the alarm.

Event time goes on with the newest reading, and with the clock, both less the rule's `wait`: readings that overtook each
other within that are put in order. One that comes later still counts, from then on, if it is the newest of its metric
and not older than the rule's `lateness`. All others are history: they repeat or replenish what is over, and raise
nothing.
"""

from ..reading import BAD, STALE, TIME_ESTIMATED, DecimalFraction, to_float
from .calendar import utc
from .change import ACKNOWLEDGED, ACTIVE, CLEARED, INHIBITED, NORMAL, PENDING, SHELVED, Change, Escalation, Identity
from .condition import Measured, all_of, build, build_delayed, earliest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..reading import Reading
    from .calendar import Offset
    from .change import Following
    from .rule import Rule

MAX_SHELF_MS = 24 * 3_600_000
_AHEAD_MS = 5000  # what claims to be from further in the future than clocks differ is from now
_MAX_HELD = 256  # readings that wait to be put in order; beyond it the oldest wait no longer


class Machine:
    """The machine of one rule and one thing, which `start` or `load` sets going. `grace_ms`: how long, beside the
    rule's `wait`, the clock is not believed that no reading will come any more: the way to a distant observer."""

    def __init__(self, rule: "Rule", thing: str, *, offset: "Offset" = utc, grace_ms: int = 0):
        self.rule = rule
        self.thing = thing
        self.state = NORMAL
        self.shelved_until_ms = 0
        self._grace_ms = grace_ms
        self._when = build_delayed(rule.when, rule.timezone, offset)
        self._inhibit = build(rule.inhibit, rule.timezone, offset) if rule.inhibit else None
        roots = [self._when] + ([self._inhibit] if self._inhibit else [])
        self._conditions = [condition for root in roots for condition in all_of(root)]
        self._takers: "dict[tuple[str, str], list[Measured]]" = {}
        for condition in self._conditions:
            if isinstance(condition, Measured):
                owner, metric = condition.source
                self._takers.setdefault((owner or thing, metric), []).append(condition)
        self._at_ms = 0  # event time has come so far
        self._looked = False  # whether everything was evaluated up to there
        self._newest_ms = 0  # of the readings
        self._taken_ms: "dict[tuple[str, str], int]" = {}  # of each source, the time of its last reading
        self._held: "list[tuple[int, tuple[str, str], Any, str]]" = []  # by time; bounded by _MAX_HELD
        self._begun: "tuple[int, str, Any] | None" = None  # with what the condition began that is met now
        self._alarm: "tuple[int, str, Any] | None" = None  # the same of the alarm that there is
        self._last_onset_ms = 0
        self._number = 0
        self._changed: "tuple[int, str]" = (0, "")  # when the alarm came into its state, and who did it
        self._acknowledged = False
        self._annunciated_ms = 0  # since when it has been active without a break
        self._escalated = 0  # steps that were taken since then

    @property
    def sources(self) -> "Sequence[tuple[str, str]]":
        """(thing, metric) of all that it needs to hear."""
        return list(self._takers)

    @property
    def identity(self) -> "Identity | None":
        """Of the alarm that there is."""
        return Identity(self.rule.id, self.thing, self._alarm[0]) if self._alarm else None

    def truths(self) -> "list[Any]":
        """What it holds for true: as long as that does not change, a restart may go on from an older dump."""
        return [self.state, self._when.turning_ms] + [condition.truth for condition in self._conditions]

    def start(self, now_ms: int) -> None:
        """Begin to observe: nothing was before now, neither silence nor what a condition says of the time."""
        self._at_ms = now_ms
        for root in (self._when, self._inhibit):
            if root:
                root.start(now_ms)

    def take(self, thing: str, reading: "Reading", now_ms: int, *, backfill: bool = False) -> bool:
        """Take a reading that has a time; False if it is none that counts: history, a repetition, or without a value.

        Nothing follows from it before `settle`: give what has one time before that.
        """
        source = (thing, reading.metric)
        if source not in self._takers or backfill:
            return False
        value = reading.value
        if isinstance(value, DecimalFraction):
            value = to_float(value)
        code = reading.quality & ~TIME_ESTIMATED
        if code >= BAD or code == STALE or value is None or not (isinstance(value, str) or value - value == 0):
            return False  # what is subtracted from itself and gives no 0 is infinite, or no number
        time_ms: int = reading.time_ms  # type: ignore[assignment]
        if time_ms > now_ms + _AHEAD_MS:
            time_ms = now_ms
        if now_ms - time_ms > self.rule.lateness_ms or time_ms <= self._taken_ms.get(source, -1):
            return False
        place = len(self._held)
        while place and self._held[place - 1][:2] > (time_ms, source):
            place -= 1
        self._held.insert(place, (time_ms, source, value, reading.unit))
        self._newest_ms = max(self._newest_ms, time_ms)
        return True

    def settle(self, now_ms: int) -> "Following":
        """Go on to where event time has come by now; what follows, in order."""
        upto_ms = max(self._newest_ms, now_ms - self._grace_ms) - self.rule.wait_ms
        if len(self._held) > _MAX_HELD:
            upto_ms = max(upto_ms, self._held[-_MAX_HELD - 1][0])
        found: "Following" = []
        while True:
            reading_ms = max(self._held[0][0], self._at_ms) if self._held else None
            timer_ms = self._timer_ms()
            next_ms = earliest([time for time in (reading_ms, timer_ms) if time is not None])
            if next_ms is None or next_ms > upto_ms:
                break
            self._at_ms = next_ms
            began = self._feed() if next_ms == reading_ms else (next_ms, "", None)
            self._step(began, found)
        self._at_ms = max(self._at_ms, upto_ms)
        return found

    def due_ms(self) -> "int | None":
        """When `settle` has something to do though no reading comes, on its clock; None: never."""
        times = [self._timer_ms(), max(self._held[0][0], self._at_ms) if self._held else None]
        first = earliest([time for time in times if time is not None])
        return None if first is None else first + self.rule.wait_ms + self._grace_ms

    def acknowledge(self, onset_ms: int, by: str, now_ms: int) -> "Following":
        """Somebody has seen the alarm of this onset; nothing follows if it is over, or acknowledged."""
        if not self._alarm or self._alarm[0] != onset_ms or self._acknowledged:
            return []
        self._acknowledged = True
        return self._done(by, now_ms)

    def shelve(self, until_ms: int, by: str, now_ms: int) -> "Following":
        """Put the rule aside for this thing until then, at most MAX_SHELF_MS; what is not later than now ends that."""
        self.shelved_until_ms = min(until_ms, now_ms + MAX_SHELF_MS) if until_ms > now_ms else 0
        return self._done(by, now_ms)

    def present(self) -> "Change | None":
        """The last change of the alarm that there is, for who may not have heard of it."""
        return self._change() if self._alarm else None

    def stepped(self, by_ms: int) -> None:
        """The clock that makes the readings' times was set, forward by so much: all that is remembered moves along."""
        self._at_ms += by_ms
        self._newest_ms += by_ms
        self._annunciated_ms += by_ms
        self._taken_ms = {source: time_ms + by_ms for source, time_ms in self._taken_ms.items()}
        self._held = [(time_ms + by_ms, source, value, unit) for time_ms, source, value, unit in self._held]
        if self.shelved_until_ms:
            self.shelved_until_ms += by_ms
        for root in (self._when, self._inhibit):
            if root:
                root.shift(by_ms, "clocks")
                root.shift(by_ms, "events")

    def resume(self, now_ms: int) -> None:
        """Nobody observed from where event time has come until now: that time is neither silence nor delay.

        If that is later than now, the clock was set back meanwhile, or is not set yet.
        """
        if now_ms < self._at_ms:
            self.stepped(now_ms - self._at_ms)
            return
        away_ms = now_ms - self._grace_ms - self.rule.wait_ms - self._at_ms
        if away_ms > 0:
            for root in (self._when, self._inhibit):
                if root:
                    root.shift(away_ms, "clocks")
            self._at_ms += away_ms
            self._looked = False

    def dump(self) -> "dict[str, Any]":
        """All that a restart must not lose, for `load`; fit for JSON."""
        return {
            "state": self.state,
            "priority": self.rule.priority,
            "version": self.rule.version,
            "shelved_until": self.shelved_until_ms,
            "at": self._at_ms,
            "newest": self._newest_ms,
            "taken": [[thing, metric, time_ms] for (thing, metric), time_ms in self._taken_ms.items()],
            "held": self._held,
            "begun": self._begun,
            "alarm": self._alarm,
            "last_onset": self._last_onset_ms,
            "number": self._number,
            "changed": self._changed,
            "acknowledged": self._acknowledged,
            "annunciated": self._annunciated_ms,
            "escalated": self._escalated,
            "conditions": [condition.dump() for condition in self._conditions],
        }

    def load(self, dumped: "dict[str, Any]") -> None:
        """Go on from there. Conditions of another shape than the rule's begin anew; the alarm that there is stays."""
        self.state = dumped["state"]
        self.shelved_until_ms = dumped["shelved_until"]
        self._at_ms, self._newest_ms = dumped["at"], dumped["newest"]
        self._taken_ms = {(thing, metric): time_ms for thing, metric, time_ms in dumped["taken"]}
        self._held = [
            (time_ms, tuple(source), value, unit)
            for time_ms, source, value, unit in dumped["held"]
            if tuple(source) in self._takers
        ]
        self._begun, self._alarm = [tuple(each) if each else None for each in (dumped["begun"], dumped["alarm"])]
        self._last_onset_ms, self._number = dumped["last_onset"], dumped["number"]
        self._changed = tuple(dumped["changed"])
        self._acknowledged = dumped["acknowledged"]
        self._annunciated_ms, self._escalated = dumped["annunciated"], dumped["escalated"]
        for root in (self._when, self._inhibit):
            if root:
                root.start(self._at_ms)
        conditions = dumped["conditions"]
        if [each[:2] for each in conditions] == [condition.dump()[:2] for condition in self._conditions]:
            for condition, each in zip(self._conditions, conditions):
                condition.load(each)

    def _timer_ms(self) -> "int | None":
        """The next time at which something may change though no reading comes."""
        if not self._looked:
            return self._at_ms
        times = [self._when.due(self._at_ms), self._inhibit.due(self._at_ms) if self._inhibit else None]
        if self.shelved_until_ms:
            times.append(self.shelved_until_ms)
        if self.state == ACTIVE and self._escalated < len(self.rule.escalation):
            times.append(self._annunciated_ms + self.rule.escalation[self._escalated]["after_s"])
        return earliest([max(time, self._at_ms) for time in times if time is not None])

    def _feed(self) -> "tuple[int, str, Any]":
        """Give the conditions the first readings that wait, all of one time; the last one stands for them."""
        first_ms = self._held[0][0]
        while self._held and self._held[0][0] == first_ms:
            time_ms, source, value, unit = self._held.pop(0)
            self._taken_ms[source] = time_ms
            for condition in self._takers[source]:
                condition.feed(time_ms, value, unit)
        return first_ms, source[1], value

    def _done(self, by: str, now_ms: int) -> "Following":
        found: "Following" = []
        self._step((self._at_ms, "", None), found, by, now_ms)
        return found

    def _step(
        self,
        began: "tuple[int, str, Any]",
        found: "Following",
        by: str = "",
        now_ms: "int | None" = None,
    ) -> None:
        """Look at everything as it is at the present event time. began: with what a condition begins that does now."""
        at_ms = self._at_ms
        time_ms = at_ms if now_ms is None else now_ms
        self._looked = True
        truth = self._when.step(at_ms)
        met = (truth is True) == (self._when.turning_ms is None)
        self._begun = (self._begun or began) if met else None
        inhibited = self._inhibit is not None and self._inhibit.step(at_ms) is True
        if self.shelved_until_ms and at_ms >= self.shelved_until_ms:
            self.shelved_until_ms = 0
        if truth and not self._alarm:
            self._raise()
        elif self._alarm and truth is False and (self._acknowledged or not self.rule.latched):
            self._enter(CLEARED, time_ms, by, found)
            self._alarm = None
        if not self._alarm:
            self.state = PENDING if met else NORMAL
            return
        state = SHELVED if self.shelved_until_ms else INHIBITED if inhibited else ACTIVE
        if state == ACTIVE and self._acknowledged:
            state = ACKNOWLEDGED
        if state != self.state:
            self._enter(state, time_ms, by, found)
        self._escalate(time_ms, found)

    def _raise(self) -> None:
        onset_ms, metric, value = self._begun  # type: ignore[misc]
        if onset_ms == self._last_onset_ms:  # the clock was set back, to the very millisecond
            onset_ms += 1
        self._alarm = (onset_ms, metric, value)
        self._last_onset_ms = onset_ms
        self._number = 0
        self._acknowledged = False

    def _enter(self, state: str, time_ms: int, by: str, found: "Following") -> None:
        self.state = state
        self._number += 1
        self._changed = (time_ms, by)
        if state == ACTIVE:
            self._annunciated_ms, self._escalated = self._at_ms, 0
        found.append(self._change())

    def _change(self) -> "Change":
        onset_ms, metric, value = self._alarm  # type: ignore[misc]
        identity = Identity(self.rule.id, self.thing, onset_ms)
        time_ms, by = self._changed
        return Change(
            identity, self._number, self.state, time_ms, self.rule.priority, self.rule.version, by, metric, value
        )

    def _escalate(self, time_ms: int, found: "Following") -> None:
        steps = self.rule.escalation
        while (
            self.state == ACTIVE
            and self._escalated < len(steps)
            and self._at_ms - self._annunciated_ms >= steps[self._escalated]["after_s"]
        ):
            identity = Identity(self.rule.id, self.thing, self._alarm[0])  # type: ignore[index]
            found.append(Escalation(identity, self._escalated, steps[self._escalated]["to"], time_ms))
            self._escalated += 1


def withdrawn(rule: str, thing: str, dumped: "dict[str, Any]", now_ms: int) -> "Change | None":
    """The end of the alarm that there was in a machine that is no more, since its rule or its thing is not."""
    if not dumped["alarm"]:
        return None
    onset_ms, metric, value = dumped["alarm"]
    told = (dumped["priority"], dumped["version"], "", metric, value)
    return Change(Identity(rule, thing, onset_ms), dumped["number"] + 1, CLEARED, now_ms, *told)
