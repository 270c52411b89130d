"""Alarms of a simulated gateway, by the real edge.alarms; and the ledger's account of what the hub hears of them."""

from collections import defaultdict
from typing import TYPE_CHECKING

from edge.alarms import Alarms
from edge.outputs import Outputs
from protocols.alarm import ACTIVE, CLEARED, Change, Escalation, decode_following, read_rule
from protocols.command import Request, Result
from protocols.reading import Value
from simulation.world import World

if TYPE_CHECKING:
    from simulation.gateway import Gateway
    from simulation.ledger import Ledger

LEVEL = "level"  # a metric: above 0 is too high
_NAME = {"en": "x", "zh": "x"}
_HIGH = {"metric": LEVEL, "unit": "1", "above": 0}
_MOST_MS = 5000


def _rules(thing: str) -> list[dict[str, object]]:
    common: dict[str, object] = {"version": 1, "name": _NAME, "priority": "high", "things": [thing]}
    return [
        common | {"id": "at-once", "when": _HIGH},
        common | {"id": "after-a-while", "when": _HIGH | {"delay_on_s": 3, "delay_off_s": 1}},
    ]


class Watching:
    """The alarms of one life of a gateway, as edge.gateway puts them together; nothing sounds."""

    def __init__(self, gateway: "Gateway", thing: str, kept: dict[str, str]):
        self._gateway = gateway
        self._looks_ms = 0
        self.alarms = Alarms(
            [(read_rule(rule), thing) for rule in _rules(thing)],
            memory=gateway.outbox,
            kept=kept,
            record=gateway.pipeline.record,
            outputs=Outputs(_submit, gateway.outbox.keep, clock=gateway.clock, kept=kept),
            clock=gateway.clock,
            steady_ms=lambda: gateway.world.now_ms,
        )
        gateway.pipeline.listen(self.alarms, records=self.alarms.records)
        self.look()

    def look(self) -> None:
        """What follows from the time; to be called when there are readings, too, since something may be due earlier."""
        world = self._gateway.world
        self._looks_ms = world.now_ms + max(1, min(self.alarms.look(), _MOST_MS))
        self._gateway.uplink.announce()
        world.at(self._looks_ms, self._gateway, self._look_again)

    def _look_again(self) -> None:
        if self._gateway.world.now_ms >= self._looks_ms:
            self.look()


class Told:
    """What the hub hears of alarms.

    alarm     Of each rule and thing there is at most one alarm at a time: each has one identity and its changes the
              numbers 1, 2, 3 ..., each heard as one and the same, and begins after the one before it has been cleared.
              In the end the hub knows of every alarm that a gateway has. Not promised where a gateway's memory is
              replaced, put back or copied, where the hub's is put back, where what was told gave way for want of room,
              nor where an alarm had to be told though the disk failed, and the power went before it recovered.
    """

    def __init__(self, ledger: "Ledger", world: World):
        self.doubtful = False
        self._ledger = ledger
        self._world = world
        self._changes: dict[tuple[str, int, int], Change] = {}  # by rule, onset and number

    def heard(self, thing: str, time_ms: int, text: Value) -> None:
        """A change is stored."""
        change = decode_following(thing, time_ms, str(text))
        if isinstance(change, Escalation):
            return
        key = (change.identity.rule, change.identity.onset_ms, change.number)
        if self._world.trace is not None:
            self._world.note("hub", f"hears of alarm {key}: {change.state}")
        known = self._changes.setdefault(key, change)
        if known != change and not self.doubtful:
            self._ledger.violated("alarm", f"the hub hears {change}, and heard {known}")

    def check(self, gateway: "Gateway") -> None:
        """In the end, when all has been heard."""
        if self.doubtful:
            return
        by_rule: dict[str, dict[int, list[Change]]] = defaultdict(lambda: defaultdict(list))
        for (rule, onset_ms, _), change in sorted(self._changes.items()):
            by_rule[rule][onset_ms].append(change)
        for rule, alarms in by_rule.items():
            self._check_rule(rule, list(alarms.values()))
        for _, change in gateway.watching.alarms.present():
            key = (change.identity.rule, change.identity.onset_ms, change.number)
            if key not in self._changes:
                self._ledger.violated("alarm", f"{gateway.name} has {change}, and the hub has not heard of it")

    def _check_rule(self, rule: str, alarms: list[list[Change]]) -> None:
        before_ms = 0
        for place, changes in enumerate(alarms):
            onset_ms = changes[0].identity.onset_ms
            states = [change.state for change in changes]
            if [change.number for change in changes] != list(range(1, len(changes) + 1)) or states[0] != ACTIVE:
                self._ledger.violated("alarm", f"of {rule} since {onset_ms} the hub heard {changes}")
            if place + 1 < len(alarms) and states[-1] != CLEARED:
                self._ledger.violated("alarm", f"{rule} is raised again while it is {states[-1]} since {onset_ms}")
            if changes[0].time_ms < before_ms:
                self._ledger.violated("alarm", f"{rule} since {onset_ms} is raised before the last one was cleared")
            before_ms = changes[-1].time_ms


async def _submit(_request: Request) -> Result:
    raise NotImplementedError
