"""A dispenser's world: wheel, tray, patient, journal, clock, flash, and power that may fail at any step.

It runs the app's own core (firmware/apps/dispensing.py), whose cabinet, flash and journal it is.

The world knows what really happens. `complaints` are what must never be; each is a word and what it is about:
"double" (a second dose of one occurrence, a dose onto another, or too soon after it), "wrong time", "missed" (a dose of
which nothing is reported), "count" (another number of doses left than there are), "untrue" (a report that is not so),
"unsaved" (a state that a loss of power would change).
"""

import json

from firmware.apps import dispensing, doses
from firmware.errors import JournalError
from protocols import schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NEVER_S = 1 << 40
PLAN = schedule.Plan(
    1, (schedule.Entry(480, 0x7F), schedule.Entry(840, 0x7F), schedule.Entry(1260, 0x7F)), 3600, 4 * 3600, _NEVER_S
)
OTHER = schedule.Plan(2, (schedule.Entry(420, 0x7F), schedule.Entry(1140, 0x3F)), 5400, 3 * 3600, _NEVER_S)
START_S = 1_790_000_000 // 86400 * 86400  # midnight in UTC
CAPACITY = 28
# What the motor does to the wheel, and whether the drop sensor sees it.
SEEN, UNSEEN, STUCK = "seen", "unseen", "stuck"


class PowerCut(Exception):
    """Power fails here."""


class World:
    """One dispenser and all around it. `cut_at`: before which step from now on power fails; None: it does not."""

    def __init__(self, plan: schedule.Plan = PLAN, *, compartments: int = CAPACITY):
        self.plan = plan
        self.zone = [[0, 0]]
        self.now_s = START_S
        self.clock = True
        self.journal_works = True
        self.wheel_readable = True
        self.motor = SEEN
        self.cartridge, self.capacity, self.compartments = 1, compartments, compartments
        self.tray: list[int] = []
        self.taken: set[int] = set()
        self.drops: dict[int, int] = {}
        self.last_drop_s = 0
        self.door = False
        self.reports: dict[str, dict[int, int]] = {}  # event -> first dose -> doses
        self.first = self.highest = schedule.local_minute(self.zone, self.now_s)
        self.seen_s: dict[int, int] = {}  # occurrence -> when the world noticed that it is due
        self.until_s: dict[int, int] = {}  # and until when it may be dispensed, by the plan of that time
        self.complaints: list[tuple[str, object]] = []
        self.cut_at: int | None = None
        self.steps = self.cuts = 0
        self.saved = dispensing.first_state(plan, ((0, 0),), self.now_s)
        self._power_on()
        self.app.refill(1, compartments)

    @property
    def machine(self) -> doses.Doses:
        """The state machine in the app."""
        return self.app.machine

    def _power_on(self) -> None:
        self.app = dispensing.Dispensing(self.plan, self.saved, save=self.save, record=self.record, cabinet=self)
        self.app.start()

    # --- what happens ---

    def event(self, name: str, *values: "Any") -> None:
        """One event of the world; a power cut in it ends in a start."""
        try:
            getattr(self, name)(*values)
        except PowerCut:
            self._come_back()
        self.cut_at = None
        self._check()

    def advance(self, seconds: int) -> None:
        """Time passes, and the machine is told."""
        self.now_s += seconds
        self.tick()

    def tick(self) -> None:
        """The machine looks at its clock, and the world at the one on the wall."""
        self.zone = json.loads(self.saved)["zone"]
        self._notice()
        self.app.tick(self.now_s if self.clock else None)

    def button(self) -> None:
        """Somebody presses it."""
        self.app.button()

    def take(self) -> None:
        """The patient takes what lies on the tray."""
        if self.tray:
            self.taken.update(self.tray)
            self.tray = []
            self._step()
            self.app.look()

    def turn_door(self) -> None:
        """The door is opened, or closed."""
        self.door = not self.door
        self.app.look()

    def refill(self, cartridge: int) -> None:
        """Somebody puts a cartridge in, and the old one again if the new one is refused."""
        before = (self.cartridge, self.capacity, self.compartments)
        if self.machine.state["phase"] in (doses.MOVING, doses.UNSURE, doses.JAMMED) or cartridge <= self.cartridge:
            self.app.refill(cartridge, CAPACITY)  # nobody takes the old one out for it
            return
        self.cartridge, self.capacity, self.compartments = cartridge, CAPACITY, CAPACITY
        self.app.refill(cartridge, CAPACITY)
        if self.app.refused:
            self.cartridge, self.capacity, self.compartments = before

    def answer(self) -> None:
        """A person looks, and tells the truth."""
        self.app.answer(self._moved())

    def travel(self, offset: int) -> None:
        """The patient is in another zone; what counts is when the machine has heard of it."""
        self._replan(self.plan, offset)

    def replan(self) -> None:
        """Another plan comes."""
        self._replan(OTHER if self.plan is PLAN else PLAN, json.loads(self.saved)["zone"][-1][1])

    def _replan(self, plan: schedule.Plan, offset: int) -> None:
        """What was due before is noticed by the plan before; the app keeps a plan before it follows it."""
        self._notice()
        self.app.tick(self.now_s if self.clock else None)
        before, self.plan = self.plan, plan
        try:
            self.app.change(plan, ((0, offset),))
        finally:
            if self.app.refused:
                self.plan = before

    def cut(self) -> None:
        """Power fails while nothing happens."""
        raise PowerCut

    # --- what the app has of its device, and where power can fail in it ---

    def save(self, state: bytes) -> None:
        """The flash."""
        self._step()
        self.saved = state
        self._step()

    def record(self, report: "dict[str, Any]") -> None:
        """The journal."""
        if not self.journal_works:
            raise JournalError("fails")
        self._step()
        self._record(report)
        self._step()

    def turn(self) -> None:
        """The motor turns the wheel, and what falls falls."""
        self._step()
        if self.motor == STUCK:
            self._step()
            self.app.stopped()
            return
        self._drop()
        self._step()
        self.app.look()
        self._step()
        if self.motor == SEEN:
            self.app.dropped()
        else:
            self.app.stopped()

    def parity(self) -> "int | None":
        """The wheel's magnets; it may have stopped between two compartments."""
        if not self.wheel_readable and self.machine.state["phase"] == doses.MOVING:
            return None
        return self.capacity - self.compartments & 1

    def alert(self, level: int) -> None:
        """The buzzer."""
        self._step()

    def tray_full(self) -> bool:
        """The tray's sensor."""
        return bool(self.tray)

    def door_open(self) -> bool:
        """The door's switch."""
        return self.door

    def _step(self) -> None:
        self.steps += 1
        if self.cut_at is not None:
            self.cut_at -= 1
            if self.cut_at < 0:
                self.cut_at = None
                raise PowerCut

    def _drop(self) -> None:
        occurrence = self.machine.state["dose"][0]
        due_s = self.seen_s.get(occurrence)
        if self.tray or occurrence in self.drops or self.now_s < self.last_drop_s + self.plan.least_gap_s:
            self.complaints.append(("double", occurrence))
        if due_s is None or not due_s <= self.now_s < self.until_s[occurrence]:
            self.complaints.append(("wrong time", occurrence))
        self.drops[occurrence] = self.drops.get(occurrence, 0) + 1
        self.compartments -= 1
        self.tray.append(occurrence)
        self.last_drop_s = self.now_s

    def _come_back(self) -> None:
        """Power comes back, and the machine finds what was saved, and wheel and cartridge where they are.

        Power may fail again meanwhile.
        """
        self.cuts += 1
        try:
            self._power_on()
            self.app.refill(self.cartridge, self.capacity)
            self.tick()
        except PowerCut:
            self._come_back()

    def _moved(self) -> bool:
        return bool(self.compartments != self.machine.state["remaining"])

    # --- what the world knows ---

    def _record(self, report: "dict[str, Any]") -> None:
        event, occurrence = report["event"], report["dose"]
        if occurrence is not None:
            known = self.reports.setdefault(event, {})
            known[occurrence] = max(report["last"], known.get(occurrence, 0))
        if event == doses.TAKEN and occurrence not in self.taken:
            self.complaints.append(("untrue", report))
        if event == doses.DISPENSED and occurrence not in self.drops:
            self.complaints.append(("untrue", report))

    def _notice(self) -> None:
        """Which minutes the wall clock has shown or passed; reckoned without the schedule's functions."""
        shown = [self.now_s // 60 + offset for since, offset in self.zone if since <= self.now_s][-1]
        for minute in range(self.highest + 1, shown + 1):
            day = (minute // 1440 + 3) % 7
            if any(entry.minute == minute % 1440 and entry.weekdays >> day & 1 for entry in self.plan.entries):
                self.seen_s[minute] = self.now_s
                self.until_s[minute] = self.now_s + self.plan.window_s
        self.highest = max(self.highest, shown)

    def _check(self) -> None:
        if json.loads(self.saved) != self.machine.state:
            self.complaints.append(("unsaved", self.machine.state))
        left = self.machine.remaining()
        if left is not None and left != self.compartments:
            self.complaints.append(("count", (left, self.compartments)))

    def check_missed(self) -> None:
        """Once journal and clock work: nothing that is over may be without a report."""
        self.journal_works = self.clock = True
        for _ in range(40):
            self.tick()
        held = self.machine.state["dose"][0] if self.machine.state["dose"] else None
        over = sorted([key for key in self.seen_s if self.until_s[key] < self.now_s])
        settled = set(self.reports.get(doses.TAKEN, ()))
        for first, last in self.reports.get(doses.MISSED, {}).items():
            settled.update([key for key in self.seen_s if first <= key <= last])
        for occurrence in over:
            if occurrence not in settled and occurrence != held:
                self.complaints.append(("missed", occurrence))
        for key in over:
            if key in settled:
                del self.seen_s[key], self.until_s[key]
