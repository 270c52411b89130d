"""The gateway's alarms: rules hear every reading before the deadband, and what follows goes to the hub as urgent.

All of it works without the hub. What a restart must know is kept in the outbox, in one transaction with the packs that
tell of it. A change is a reading of the thing, of the metric `alarm_change`, whose value is its text.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from edge.config.alarms import THING
from edge.errors import ActionRefused
from edge.links.base import Clock
from edge.outputs import Outputs
from hardware.catalogue import Command, DeviceModel, Name
from hardware.catalogue import Device as DeviceHead
from protocols.alarm import METRIC, Change, Rule, Watch, encode_following, withdrawn
from protocols.reading import GOOD, Reading
from runtime.rules import offset_s

if TYPE_CHECKING:
    from protocols.alarm import Escalation
    from protocols.alarm.change import Following
    from protocols.reading import Value

logger = logging.getLogger(__name__)

_PREFIX = "alarm/"
_LOOK_MS = 1000  # how often at least the clock is looked at
_STEP_MS = 1000  # by which it may differ from the monotonic clock between two looks and is not said to have been set
_NAME = Name(en="Alarms of this gateway", zh="本网关的告警")
_COMMANDS = {"acknowledge": Name(en="Acknowledge", zh="确认"), "shelve": Name(en="Shelve", zh="搁置")}

# What Commands has to know of them: no register and no frame is behind these, so nothing is checked here.
MODEL = DeviceModel.model_construct(
    device=DeviceHead(model=THING, maker="Kerb", kind=THING, link="mqtt", name=_NAME),
    metrics={},
    commands={command: Command.model_construct(name=name) for command, name in _COMMANDS.items()},
)


class Memory(Protocol):
    """What is remembered together with the packs: the outbox."""

    def keep(self, key: str, value: str | None) -> None: ...


class Alarms:
    """All alarms of a gateway, which `run` keeps going; it is also the link that commands to them go to.

    placed: each rule with a thing that it is for; units: of each (thing, metric) as declared; kept: what `memory` had;
    record(thing, reading) takes over what the hub is to hear.
    """

    name = THING

    def __init__(
        self,
        placed: Iterable[tuple[Rule, str]],
        *,
        memory: Memory,
        kept: Mapping[str, str],
        record: Callable[[str, Reading], None],
        outputs: Outputs,
        clock: Clock,
        steady_ms: Clock,
    ):
        self.watch = Watch(offset=offset_s)
        self._memory = memory
        self._record = record
        self.outputs = outputs
        self._clock = clock
        self._steady_ms = steady_ms
        self._ahead_ms = clock() - steady_ms()
        self._news = asyncio.Event()
        self._gone = {key: json.loads(text) for key, text in kept.items() if key.startswith(_PREFIX)}
        now_ms = clock()
        for rule, thing in placed:
            self.watch.add(rule, thing, now_ms, self._gone.pop(_key(rule.id, thing), None))
        for change in self.watch.present():
            self.outputs.follow(change, self._rule_of(change).commands)

    def hears(self, thing: str, metric: str) -> bool:
        """Whether any rule is about this metric of this thing."""
        return self.watch.hears(thing, metric)

    def heard(self, thing: str, readings: Sequence[Reading], *, backfill: bool = False) -> None:
        """Take readings, those that are about no rule included."""
        now_ms = self._now()
        taken = [self.watch.take(thing, reading, now_ms, backfill=backfill) for reading in readings]
        if any(taken):
            self._follow(self.watch.settle(now_ms))
            self._news.set()

    @property
    def records(self) -> list[tuple[str, str]]:
        """Thing and metric of all that it may have to record."""
        withdrawn_from = [key.rpartition("/")[2] for key in self._gone]
        return [(thing, METRIC) for thing in (*(thing for _, thing in self.watch.machines), *withdrawn_from)]

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that are evaluated here."""
        return list({machine.rule.id: machine.rule for machine in self.watch.machines.values()}.values())

    def present(self) -> Sequence[tuple[Rule, Change]]:
        """The alarms that there are, with their rules."""
        return [(self._rule_of(change), change) for change in self.watch.present()]

    async def run(self) -> None:
        """Follow the time until cancelled."""
        while True:
            due_ms = self.look()
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(1, min(_LOOK_MS, due_ms)) / 1000):
                    await self._news.wait()

    def look(self) -> int:
        """What follows from the time that it is; returns in how many ms to look again at the latest."""
        self._withdraw()
        now_ms = self._now()
        self._follow(self.watch.settle(now_ms))
        due_ms = self.watch.next_due_ms()
        return _LOOK_MS if due_ms is None else due_ms - now_ms

    async def act(self, _thing: str, command: Command, value: "Value") -> "Value":
        """Acknowledge THING/RULE[/ONSET[/WHO]], or shelve THING/RULE/SECONDS[/WHO]. Raises ActionRefused."""
        words = [*str(value).split("/"), "", "", ""]
        thing, rule, number, who = words[:4]
        machine = self.watch.machines.get((rule, thing))
        if machine is None:
            raise ActionRefused(THING, f"there is no rule {rule} for {thing} here; say THING/RULE/...")
        if number and not number.isdigit():
            raise ActionRefused(THING, f"{number} is no number")
        now_ms = self._now()
        if command is MODEL.commands["shelve"]:
            self._follow(self.watch.shelve(rule, thing, now_ms + int(number or 0) * 1000, who, now_ms))
            return machine.shelved_until_ms
        identity = machine.identity
        if identity is None or (number and int(number) != identity.onset_ms):
            raise ActionRefused(THING, f"there is no such alarm of {rule} for {thing}, or no more")
        self._follow(self.watch.acknowledge(rule, thing, identity.onset_ms, who, now_ms))
        return identity.onset_ms

    def _now(self) -> int:
        """The time; what the alarms remember moves along if the clock was set."""
        now_ms = self._clock()
        ahead_ms = now_ms - self._steady_ms()
        step_ms, self._ahead_ms = ahead_ms - self._ahead_ms, ahead_ms
        if abs(step_ms) > _STEP_MS:
            logger.warning("the clock was set by %+.3f s: the alarms follow", step_ms / 1000)
            self.watch.stepped(step_ms)
        return now_ms

    def _follow(self, following: "Following") -> None:
        for each in following:
            if isinstance(each, Change):
                self.outputs.follow(each, self._rule_of(each).commands)
            self._tell(each)
        for rule, thing in self.watch.changed:  # in the same moment as the pack: no commit comes between
            self._memory.keep(_key(rule, thing), json.dumps(self.watch.machines[rule, thing].dump()))
        self.watch.changed.clear()

    def _tell(self, each: "Change | Escalation") -> None:
        rule, thing, onset_ms = each.identity
        what = each.state if isinstance(each, Change) else f"tell {', '.join(each.to)}"
        logger.warning("alarm %s of %s since %d: %s", rule, thing, onset_ms, what)
        self._record(thing, Reading(METRIC, encode_following(each), "", GOOD, each.time_ms))

    def _withdraw(self) -> None:
        """End the alarms of rules and things that the config has no more."""
        now_ms = self._now()
        for key, dumped in self._gone.items():
            _, rule, thing = key.split("/")
            if change := withdrawn(rule, thing, dumped, now_ms):
                self.outputs.follow(change, ())
                self._tell(change)
            self._memory.keep(key, None)
        self._gone = {}

    def _rule_of(self, change: Change) -> Rule:
        return self.watch.machines[change.identity[:2]].rule


def _key(rule: str, thing: str) -> str:
    return f"{_PREFIX}{rule}/{thing}"
