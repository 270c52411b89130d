"""All rules for all things: which machines there are, which reading goes to which, and when the next one is due."""

import heapq

from .calendar import utc
from .machine import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..reading import Reading
    from .calendar import Offset
    from .change import Change, Following
    from .rule import Rule


def covers(rule: "Rule", thing: str, kind: str) -> bool:
    """Whether the rule is for this thing, which is of this kind."""
    if rule.kinds and kind not in rule.kinds:
        return False
    return any([thing.startswith(each[:-1]) if each[-1] == "*" else thing == each for each in rule.things])


class Watch:
    """The machines of one observer, a gateway or the hub, by (rule, thing).

    What follows from calls comes back in order. `changed` tells what has to be kept, and is the caller's to empty.
    """

    def __init__(self, *, offset: "Offset" = utc, grace_ms: int = 0):
        self.machines: "dict[tuple[str, str], Machine]" = {}
        self.changed: "set[tuple[str, str]]" = set()
        self._offset = offset
        self._grace_ms = grace_ms
        self._by_source: "dict[tuple[str, str], list[Machine]]" = {}
        self._fed: "dict[tuple[str, str], Machine]" = {}
        self._due: "list[tuple[int, str, str]]" = []  # a heap; entries that are not in _due_ms are passed over
        self._due_ms: "dict[tuple[str, str], int]" = {}

    def add(self, rule: "Rule", thing: str, now_ms: int, kept: "dict[str, Any] | None" = None) -> None:
        """Watch a thing by a rule; from what was kept of the machine it goes on, and time since then does not count."""
        machine = Machine(rule, thing, offset=self._offset, grace_ms=self._grace_ms)
        if kept:
            machine.load(kept)
            machine.resume(now_ms)
        else:
            machine.start(now_ms)
        key = (rule.id, thing)
        self.machines[key] = machine
        for source in machine.sources:
            self._by_source.setdefault(source, []).append(machine)
        self._schedule(key, machine)

    def hears(self, thing: str, metric: str) -> bool:
        """Whether any rule is about this metric of this thing."""
        return (thing, metric) in self._by_source

    def take(self, thing: str, reading: "Reading", now_ms: int, *, backfill: bool = False) -> bool:
        """Take a reading that has a time; False if it counts nowhere. What follows comes with `settle`."""
        counts = False
        for machine in self._by_source.get((thing, reading.metric), ()):
            if machine.take(thing, reading, now_ms, backfill=backfill):
                self._fed[machine.rule.id, machine.thing] = machine
                counts = True
        return counts

    def settle(self, now_ms: int) -> "Following":
        """What follows from the readings taken since, and from the time that it is."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, rule, thing = heapq.heappop(self._due)
            if self._due_ms.get((rule, thing)) == due_ms:
                del self._due_ms[rule, thing]
                self._fed[rule, thing] = self.machines[rule, thing]
        found: "Following" = []
        for key in sorted(self._fed):
            machine = self._fed[key]
            before = machine.truths()
            follows = machine.settle(now_ms)
            found += follows
            if follows or machine.truths() != before:
                self.changed.add(key)
            self._schedule(key, machine)
        self._fed = {}
        return found

    def next_due_ms(self) -> "int | None":
        """When `settle` may have something to do though no reading comes; None: never."""
        return self._due[0][0] if self._due else None

    def acknowledge(self, rule: str, thing: str, onset_ms: int, by: str, now_ms: int) -> "Following":
        """Somebody has seen that alarm; nothing follows if there is none such, or no more."""
        machine = self.machines.get((rule, thing))
        return self._after(machine, machine.acknowledge(onset_ms, by, now_ms)) if machine else []

    def shelve(self, rule: str, thing: str, until_ms: int, by: str, now_ms: int) -> "Following":
        """Put a rule aside for a thing until then; what is not later than now ends that."""
        machine = self.machines.get((rule, thing))
        return self._after(machine, machine.shelve(until_ms, by, now_ms)) if machine else []

    def stepped(self, by_ms: int) -> None:
        """The clock was set, forward by so much."""
        self._due, self._due_ms = [], {}
        for key, machine in self.machines.items():
            machine.stepped(by_ms)
            self.changed.add(key)
            self._schedule(key, machine)

    def present(self) -> "Sequence[Change]":
        """The last change of each alarm that there is."""
        found = [self.machines[key].present() for key in sorted(self.machines)]
        return [change for change in found if change]

    def _after(self, machine: "Machine", follows: "Following") -> "Following":
        key = (machine.rule.id, machine.thing)
        self.changed.add(key)
        self._schedule(key, machine)
        return follows

    def _schedule(self, key: "tuple[str, str]", machine: "Machine") -> None:
        """See to it that the heap has an entry not later than the machine is due.

        What is due later than before, as with each reading of one that waits for silence, is left until it comes up.
        """
        due_ms = machine.due_ms()
        known_ms = self._due_ms.get(key)
        if due_ms is None or (known_ms is not None and known_ms <= due_ms):
            return
        self._due_ms[key] = due_ms
        heapq.heappush(self._due, (due_ms,) + key)
        if len(self._due) > 2 * len(self._due_ms) + 64:
            self._due = [(due_ms,) + key for key, due_ms in self._due_ms.items()]
            heapq.heapify(self._due)
