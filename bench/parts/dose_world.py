"""A dispenser's world for its state machine: wheel, tray, patient, journal, clock, and power that may fail at any step.

The world knows what really happens. `complaints` are what must never be; each is a word and what it is about:
"double" (a second dose of one occurrence, a dose onto another, or too soon after it), "wrong time", "missed" (a dose of
which nothing is reported), "count" (another number of doses left than there are), "untrue" (a report that is not so),
"unsaved" (a state that a loss of power would change).
"""

import json

from firmware.apps import doses, schedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAN = schedule.Plan(
    1, (schedule.Entry(480, 0x7F), schedule.Entry(840, 0x7F), schedule.Entry(1260, 0x7F)), 3600, 4 * 3600
)
START_S = 1_790_000_000 // 86400 * 86400  # midnight in UTC
CAPACITY = 28
# What the motor does to the wheel, and whether the drop sensor sees it.
SEEN, UNSEEN, STUCK = "seen", "unseen", "stuck"


class PowerCut(Exception):
    """Power fails here."""


class World:
    """One machine and all around it. `cut_at`: before which step from now on power fails; None: it does not."""

    def __init__(self, plan: schedule.Plan = PLAN, *, compartments: int = CAPACITY):
        self.plan = plan
        self.zone = [[0, 0]]
        self.now_s = START_S
        self.clock = True
        self.journal_works = True
        self.wheel_readable = True
        self.motor = SEEN
        self.cartridge, self.compartments = 1, compartments
        self.tray: list[int] = []
        self.taken: set[int] = set()
        self.drops: dict[int, int] = {}
        self.last_drop_s = 0
        self.door_open = False
        self.reports: dict[str, dict[int, int]] = {}  # event -> first dose -> doses
        self.first = self.highest = schedule.local_minute(self.zone, self.now_s)
        self.seen_s: dict[int, int] = {}  # occurrence -> when the world noticed that it is due
        self.complaints: list[tuple[str, object]] = []
        self.cut_at: int | None = None
        self.steps = self.cuts = 0
        state = doses.new_state(plan, self.zone, self.now_s)
        self.saved = json.dumps(state)
        self.machine = doses.Doses(plan, state)
        self.do(self.machine.started(None, tray_full=False, door_open=False))
        self.do(self.machine.refill(1, compartments))

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
        self.do(self.machine.tick(self.now_s if self.clock else None))

    def button(self) -> None:
        """Somebody presses it."""
        self.do(self.machine.button())

    def take(self) -> None:
        """The patient takes what lies on the tray."""
        if self.tray:
            self.taken.update(self.tray)
            self.tray = []
            self._step()
            self.do(self.machine.tray(False))

    def turn_door(self) -> None:
        """The door is opened, or closed."""
        self.door_open = not self.door_open
        self.do(self.machine.door(self.door_open))

    def refill(self, cartridge: int) -> None:
        """Somebody brings a cartridge; if the machine refuses it, the old one stays."""
        refused = self.machine.state["phase"] in (doses.MOVING, doses.UNSURE, doses.JAMMED)
        actions = self.machine.refill(cartridge, CAPACITY)
        refused = refused or (doses.REFUSE, doses.NOT_RECORDED) in actions
        if not refused and cartridge > self.cartridge:
            self.cartridge, self.compartments = cartridge, CAPACITY
        self.do(actions)

    def answer(self) -> None:
        """A person looks, and tells the truth."""
        self.do(self.machine.answer(self._moved()))

    def travel(self, offset: int) -> None:
        """The patient is in another zone; what counts is when the machine has heard of it."""
        self.do(self.machine.travel([[0, offset]]))

    def cut(self) -> None:
        """Power fails while nothing happens."""
        raise PowerCut

    # --- the machine's actions, and where power can fail among them ---

    def do(self, actions: "list[doses.Action]") -> None:
        """What the dispenser's app does with actions."""
        for action in actions:
            self._step()
            if action[0] == doses.SAVE:
                self.saved = json.dumps(self.machine.state)
                self._step()
            elif action[0] == doses.MOVE:
                self._move()
            elif action[0] == doses.REPORT and self.journal_works:
                for report in self.machine.reports():
                    self._record(report)
                    self._step()
                    self.do(self.machine.reported(report["number"]))

    def _step(self) -> None:
        self.steps += 1
        if self.cut_at is not None:
            self.cut_at -= 1
            if self.cut_at < 0:
                self.cut_at = None
                raise PowerCut

    def _move(self) -> None:
        if self.motor == STUCK:
            self._step()
            self.do(self.machine.stopped(self._sensed()))
            return
        self._drop()
        self._step()
        self.do(self.machine.tray(True))
        self._step()
        self.do(self.machine.dropped() if self.motor == SEEN else self.machine.stopped(self._sensed()))

    def _drop(self) -> None:
        occurrence = self.machine.state["dose"][0]
        due_s = self.seen_s.get(occurrence)
        if self.tray or occurrence in self.drops or self.now_s < self.last_drop_s + self.plan.least_gap_s:
            self.complaints.append(("double", occurrence))
        if due_s is None or not due_s <= self.now_s < due_s + self.plan.window_s:
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
            self.machine = doses.Doses(self.plan, json.loads(self.saved))
            self.do(self.machine.started(self._sensed(), tray_full=bool(self.tray), door_open=self.door_open))
            self.do(self.machine.refill(self.cartridge, CAPACITY))
            self.tick()
        except PowerCut:
            self._come_back()

    def _moved(self) -> bool:
        return bool(self.compartments != self.machine.state["remaining"])

    def _sensed(self) -> "bool | None":
        return self._moved() if self.wheel_readable else None

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
            if any(entry.minute == minute % 1440 for entry in self.plan.entries):
                self.seen_s[minute] = self.now_s
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
            self.do([(doses.REPORT,)])
        held = self.machine.state["dose"][0] if self.machine.state["dose"] else None
        over = sorted([key for key, seen_s in self.seen_s.items() if seen_s + self.plan.window_s < self.now_s])
        settled = set(self.reports.get(doses.TAKEN, ()))
        for first, last in self.reports.get(doses.MISSED, {}).items():
            settled.update([key for key in self.seen_s if first <= key <= last])
        for occurrence in over:
            if occurrence not in settled and occurrence != held:
                self.complaints.append(("missed", occurrence))
        for key in over:
            if key in settled:
                del self.seen_s[key]
