"""The alarm machine against the reference model: readings late, out of order and repeated, restarts, people's deeds.

`KERB_ALARM_SEQUENCES=10000` runs as many; `./kerb bench alarms` does.
"""

import json
import os
from collections import Counter
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from protocols.alarm import Change, Machine, read_rule
from protocols.reading import BAD, GOOD, STALE, UNCERTAIN, Reading
from tests.protocols.alarm_model import START, Moment, Script, outcome

SEQUENCES = int(os.environ.get("KERB_ALARM_SEQUENCES", "150"))
METRICS = ("a", "b")
VALUES = st.integers(0, 9)
SPANS = st.integers(0, 12)

_LIMIT = st.fixed_dictionaries(
    {"metric": st.sampled_from(METRICS), "unit": st.just("V"), "hysteresis": st.integers(0, 2)}
)
_DELAYS = st.fixed_dictionaries({}, optional={"delay_on_s": SPANS, "delay_off_s": SPANS})
_PAIR = st.tuples(VALUES, VALUES).map(sorted)


def _with(said: st.SearchStrategy[dict[str, Any]], **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(said, st.fixed_dictionaries(keys), _DELAYS).map(lambda parts: parts[0] | parts[1] | parts[2])


_WINDOW = st.integers(1, 20)
LEAVES = st.one_of(
    _with(_LIMIT, above=VALUES),
    _with(_LIMIT, below=VALUES),
    _with(_LIMIT, outside=_PAIR),
    _with(_LIMIT, inside=_PAIR),
    _with(_LIMIT, rises=st.integers(1, 5), within_s=_WINDOW),
    _with(_LIMIT, falls=st.integers(1, 5), within_s=_WINDOW),
    _with(_LIMIT, changes=st.integers(1, 5), within_s=_WINDOW),
    _with(st.just({}), metric=st.sampled_from(METRICS), equals=st.lists(VALUES, min_size=1, max_size=4)),
    _with(st.just({}), metric=st.sampled_from(METRICS), silent_s=_WINDOW),
    _with(
        st.just({}),
        calendar=st.fixed_dictionaries(
            {
                "between": st.tuples(
                    st.sampled_from(["17:47", "17:46", "00:00"]), st.sampled_from(["17:48", "17:47", "06:00"])
                )
            },
            optional={"days": st.just(["sun"]), "dates": st.just(["03-17"]), "not_dates": st.just(["2030-03-18"])},
        ),
    ),
)


def _combined(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(parts, min_size=1, max_size=3)
    voted = some.flatmap(
        lambda of: st.fixed_dictionaries({"at_least": st.integers(1, len(of)), "of": st.just(of), "within_s": SPANS})
    )
    return st.one_of(
        _with(st.just({}), all=some), _with(st.just({}), any=some), _with(st.just({}), none=some), _with(voted)
    )


CONDITIONS = st.recursive(LEAVES, _combined, max_leaves=4)
RULES = st.fixed_dictionaries(
    {"when": CONDITIONS, "latched": st.booleans(), "wait_s": st.integers(0, 6), "lateness_s": st.integers(6, 30)},
    optional={
        "inhibit": CONDITIONS,
        "escalation": st.lists(st.integers(0, 15), min_size=1, max_size=3).map(
            lambda delays: [{"after_s": delay, "to": ["nurse"]} for delay in sorted(delays)]
        ),
    },
)
HEAD = {"id": "r", "version": 1, "name": {"en": "R", "zh": "R"}, "priority": "high"}


class Against(RuleBasedStateMachine):
    """Drives the machine, writes down what it is given, and at the end asks the model. `counted`: over all runs."""

    counted: ClassVar[Counter[str]] = Counter()

    @initialize(said=RULES, grace=st.integers(0, 3))
    def begin(self, said: dict[str, Any], grace: int) -> None:
        self.rule = read_rule(json.loads(json.dumps(HEAD | said)))
        self.grace = grace
        self.machine = Machine(self.rule, "t", grace_ms=grace * 1000)
        metrics = {metric for _, metric in self.machine.sources}
        self.script = Script(metrics, self.rule.wait_ms // 1000, self.rule.lateness_ms // 1000, grace)
        self.found: list[Any] = []
        self.given: list[tuple[str, int, int, str]] = []
        self.machine.start(START * 1000)
        self.settle()

    def settle(self) -> None:
        self.found += self.machine.settle(self.script.now * 1000)
        self.script.settle()

    def take(self, metric: str, time: int, value: int, unit: str, quality: int = GOOD) -> None:
        reading = Reading(metric, value, unit, quality, time * 1000)
        self.machine.take("t", reading, self.script.now * 1000)
        if quality in (GOOD, UNCERTAIN):
            self.script.take(metric, time, value, unit)
            self.given.append((metric, time, value, unit))

    @rule(metric=st.sampled_from(METRICS), value=VALUES, later=st.integers(0, 4))
    def read(self, metric: str, value: int, later: int) -> None:
        """A reading of now."""
        self.script.now += later
        self.take(metric, self.script.now, value, "V")
        self.settle()

    @rule(values=st.tuples(VALUES, VALUES), later=st.integers(0, 4))
    def read_both(self, values: tuple[int, int], later: int) -> None:
        """One answer with both metrics."""
        self.script.now += later
        for metric, value in zip(METRICS, values, strict=True):
            self.take(metric, self.script.now, value, "V")
        self.settle()

    @rule(
        metric=st.sampled_from(METRICS),
        value=VALUES,
        age=st.integers(-8, 40),
        quality=st.sampled_from([GOOD, GOOD, GOOD, UNCERTAIN, STALE, BAD]),
        unit=st.sampled_from(["V", "V", "mV"]),
    )
    def read_of_another_time(self, metric: str, value: int, age: int, quality: int, unit: str) -> None:
        """A reading that comes late or out of order, or from a clock that is ahead; perhaps of no use."""
        time = self.script.now - age
        if (metric, time) in {(m, t) for m, t, _, _ in self.given}:
            return  # two readings of one metric at one time: which is the later one, only their order can tell
        self.counted["late"] += age > 0
        self.take(metric, time, value, unit, quality)
        self.settle()

    @rule(back=st.integers(1, 5))
    def repeat(self, back: int) -> None:
        """What came comes again."""
        if back <= len(self.given):
            self.counted["repeated"] += 1
            metric, time, value, unit = self.given[-back]
            self.take(metric, time, value, unit)
            self.given.pop()
            self.settle()

    @rule(seconds=st.integers(1, 15))
    def let_pass(self, seconds: int) -> None:
        """Time goes by without a reading; the machine is asked when it says, and only then."""
        until = self.script.now + seconds
        while (due := self.machine.due_ms()) is not None and due <= until * 1000:
            self.script.now = max(self.script.now, -(-due // 1000))
            self.settle()
            later = self.machine.due_ms()
            assert later is None or later > due, "it is due, and nothing has come of it"
        self.script.now = until
        before = len(self.found)
        self.settle()
        assert len(self.found) == before, "something was due, and it did not say so"

    @rule()
    def restart(self) -> None:
        """All is forgotten but what was dumped."""
        self.counted["restarts"] += 1
        dumped = json.loads(json.dumps(self.machine.dump()))
        self.machine = Machine(self.rule, "t", grace_ms=self.grace * 1000)
        self.machine.load(dumped)

    @rule(seconds=st.integers(1, 40))
    def restart_later(self, seconds: int) -> None:
        """It was switched off for a time."""
        self.restart()
        self.script.go_away(seconds)
        self.machine.resume(self.script.now * 1000)
        self.settle()

    @rule()
    def acknowledge(self) -> None:
        """Somebody has seen the alarm that there is."""
        if self.machine.identity:
            onset_ms = self.machine.identity.onset_ms
            self.found += self.machine.acknowledge(onset_ms, "someone", self.script.now * 1000)
            assert self.machine.acknowledge(onset_ms - 1, "someone", self.script.now * 1000) == []
            self.script.act(Moment(self.script.reached, acknowledges=True, now=self.script.now))

    @rule(seconds=st.integers(0, 20))
    def shelve(self, seconds: int) -> None:
        """Somebody puts the rule aside, or takes it back."""
        until = self.script.now + seconds
        self.found += self.machine.shelve(until * 1000, "someone", self.script.now * 1000)
        self.script.act(Moment(self.script.reached, shelves_until=until, now=self.script.now))

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        assert [_plain(each) for each in self.found] == outcome(self.rule, self.script.moments)
        identities = [each.identity for each in self.found if isinstance(each, Change) and each.number == 1]
        assert len(set(identities)) == len(identities), "two alarms of one identity"
        self.counted["sequences"] += 1
        self.counted["alarms"] += len(identities)


def _plain(each: Any) -> tuple[Any, ...]:
    onset = each.identity.onset_ms // 1000
    if isinstance(each, Change):
        return ("change", onset, each.number, each.state, each.time_ms // 1000, each.by, each.metric, each.value)
    return ("tell", onset, each.step, each.time_ms // 1000)


TestAgainstTheModel = Against.TestCase
TestAgainstTheModel.settings = settings(
    max_examples=SEQUENCES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
