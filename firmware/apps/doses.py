"""The dispenser's state machine, write-ahead and pure: events in, actions out; no motor, no flash, no clock.

A dose goes waiting -> due -> moving -> tray -> taken or missed. Each method returns actions, to be done in their order;
SAVE, where it comes, comes first and must be durable before the rest is done. So the intent to move is on flash before
the motor is, and what was sensed before anybody is told.

If power fails while a dose is moving, the wheel's position tells whether its compartment has been opened; if it does
not, the machine is unsure: it holds, asks a person, and dispenses nothing meanwhile. It never moves twice for one
occurrence, never without a button, never onto a tray that is not empty, never outside the window, never sooner after
the last dose than the plan allows.

Whatever becomes of a dose is reported. A report stays in the state until `reported` says that the journal has it.
"""

from protocols.schedule import instant, local_minute, next_after, travelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from protocols.schedule import Plan

    Action = tuple[Any, ...]

# Phases
WAITING, DUE, MOVING, TRAY, UNSURE, JAMMED = "waiting", "due", "moving", "tray", "unsure", "jammed"
# Actions: (SAVE,), (MOVE,), (ALERT, level), (REFUSE, reason), (REPORT,): there are reports for the journal
SAVE, MOVE, ALERT, REFUSE, REPORT = "save", "move", "alert", "refuse", "report"
# Levels of an alert
QUIET, PROMPT, REMIND, ESCALATE = 0, 1, 2, 3
# What is reported of a dose, and of the machine
DISPENSED, TAKEN, MISSED, REMOVED_LATE = "dispensed", "taken", "missed", "removed late"
EMPTY, REFILLED, TIME_LOST = "empty", "refilled", "time lost"
# Reasons of a refusal
NOT_DUE, TOO_SOON, NO_TIME, NO_DOSES, TRAY_FULL, DOOR_OPEN, HELD, NOT_RECORDED, USED_CARTRIDGE, PLAN_ENDED = (
    "not due",
    "too soon",
    "no time",
    "no doses",
    "tray full",
    "door open",
    "held",
    "not recorded",
    "used cartridge",
    "plan ended",
)
_MOST_REPORTS = 24
_ROOM = 6  # reports that a dose may still need; without so much room none is begun
_MOST_STEP_BACK = 1560  # minutes: a journey across all zones
_AT_ONCE = 8  # missed doses that one tick reports
_REMIND_PART = 2  # a reminder after this part of the window


def new_state(plan: "Plan", zone: "Sequence[Sequence[int]]", unix_s: int) -> "dict[str, Any]":
    """The state of a machine that begins now, without a cartridge. JSON can hold it."""
    return {
        "version": plan.version,  # of the plan that it follows
        "phase": WAITING,
        "zone": [list(entry) for entry in zone],
        "cursor": local_minute(zone, unix_s),  # the local minute of the occurrence that was begun or settled last
        "dose": None,  # [local minute, until when it may be taken] of the one that is under way
        "seen": False,  # whether it was seen to lie on the tray
        "left": None,  # the missed dose that still lies on the tray
        "remaining": 0,
        "capacity": 0,  # how many doses the cartridge held
        "cartridge": 0,
        "moved_s": None,  # when a dose was dispensed last
        "level": QUIET,
        "reports": [],
        "number": 0,
    }


class Doses:
    """The machine. `state` is what SAVE saves; `tray_full` and `door_open` are what sensors say now."""

    def __init__(self, plan: "Plan", state: "dict[str, Any]"):
        self._plan = plan
        self.state = state
        self.tray_full = False
        self.door_open = False
        self._now_s: "int | None" = None
        self._time_lost = False
        self._saving = False
        self._actions: "list[Action]" = []

    # --- events ---

    def started(self, moved: "bool | None", *, tray_full: bool, door_open: bool) -> "list[Action]":
        """Power is back. `moved`: whether the wheel has left the place it had before the last intent; None: unknown.

        To be called once, before all other events.
        """
        self.tray_full, self.door_open = tray_full, door_open
        if self.state["reports"]:
            self._actions.append((REPORT,))
        if self.state["phase"] == MOVING:
            self._settle(moved)
        self._look_at_tray()
        self._alert(self.state["level"])
        return self._done()

    def tick(self, unix_s: "int | None") -> "list[Action]":
        """Time goes on: Unix seconds, or None if nobody knows. To be called every few seconds.

        A clock that shows a day before the last dose is not believed until somebody says `trust`.
        """
        if unix_s is not None and local_minute(self.state["zone"], unix_s) < self.state["cursor"] - _MOST_STEP_BACK:
            unix_s = None
        self._now_s = unix_s
        if unix_s is not None:
            self._pass_time(unix_s)
        elif not self._time_lost:
            self._report(TIME_LOST, None)
            self._alert(ESCALATE)
        self._time_lost = unix_s is None
        return self._done()

    def trust(self, unix_s: int) -> "list[Action]":
        """A person says that this is the time, and the plan goes on from it: no dose from before is due any more."""
        state = self.state
        state["cursor"] = local_minute(state["zone"], unix_s)
        if state["moved_s"] is not None:
            state["moved_s"] = min(state["moved_s"], unix_s)
        self._saving = True
        return self.tick(unix_s)

    def button(self) -> "list[Action]":
        """Somebody asks for the dose."""
        reason = self._objection()
        if reason:
            self._actions.append((REFUSE, reason))
        else:
            self._phase(MOVING)
            self._actions.append((MOVE,))
        return self._done()

    def dropped(self) -> "list[Action]":
        """The drop sensor has seen the dose fall."""
        if self.state["phase"] == MOVING:
            self._dispensed()
        return self._done()

    def stopped(self, moved: "bool | None") -> "list[Action]":
        """The motor has stopped, in its place or jammed, and nothing was seen to fall."""
        if self.state["phase"] == MOVING:
            if moved is False:
                self._hold(JAMMED)
            else:
                self._hold(UNSURE)
        return self._done()

    def tray(self, full: bool) -> "list[Action]":
        """The tray's sensor has changed."""
        self.tray_full = full
        self._look_at_tray()
        return self._done()

    def door(self, is_open: bool) -> "list[Action]":
        """The door to the cartridge was opened or closed. Whoever opens it while a dose moves makes it unsure."""
        self.door_open = is_open
        if is_open and self.state["phase"] == MOVING:
            self._hold(UNSURE)
        return self._done()

    def refill(self, cartridge: int, doses: int) -> "list[Action]":
        """A cartridge is in: its number, by its label, and how many doses a new one holds. Numbers grow."""
        state = self.state
        if state["phase"] in (MOVING, UNSURE, JAMMED):
            self._actions.append((REFUSE, HELD))
        elif cartridge < state["cartridge"]:
            self._actions.append((REFUSE, USED_CARTRIDGE))
        elif not self._has_room():
            self._actions.append((REFUSE, NOT_RECORDED))
        elif cartridge > state["cartridge"]:
            state["cartridge"], state["remaining"], state["capacity"] = cartridge, doses, doses
            self._report(REFILLED, None)
            if state["phase"] == DUE:
                self._alert(PROMPT)
        return self._done()

    def answer(self, moved: bool) -> "list[Action]":
        """A person, asked while the machine is unsure or jammed, has looked: whether the compartment was opened."""
        if self.state["phase"] in (UNSURE, JAMMED):
            self._settle(moved)
        return self._done()

    def change(self, plan: "Plan", zone: "Sequence[Sequence[int]]") -> "list[Action]":
        """Follow another plan, and its zone, from now on: what was due before is the old one's.

        A dose that is under way goes on. While one is in doubt, or another waits behind it, no plan can be changed.
        """
        now_s = self._now_s
        if now_s is None:
            self._actions.append((REFUSE, NO_TIME))
        elif self.state["phase"] in (MOVING, UNSURE, JAMMED) or self._has_due(now_s):
            self._actions.append((REFUSE, HELD))
        else:
            state = self.state
            self._plan = plan
            state["version"] = plan.version
            state["cursor"] = max(state["cursor"], local_minute(state["zone"], now_s))
            state["zone"] = travelled(state["zone"], now_s, zone)
            self._saving = True
        return self._done()

    def reports(self) -> "list[dict[str, Any]]":
        """What the journal does not have yet, oldest first: number, event, dose (its local minute), last, unix_s.

        `last` is another minute than `dose` when all doses from the one to the other were missed. A report of the same
        event and dose as an earlier one takes its place.
        """
        return list(self.state["reports"])

    def reported(self, number: int) -> "list[Action]":
        """The journal has all reports up to this number."""
        self.state["reports"] = [report for report in self.state["reports"] if report["number"] > number]
        self._saving = True
        return self._done()

    # --- what a person may be told ---

    def remaining(self) -> "int | None":
        """How many doses are left, or None while that is not sure."""
        return None if self.state["phase"] in (MOVING, UNSURE) else int(self.state["remaining"])

    def opened(self) -> int:
        """How many compartments of the cartridge are open, if the dose that is under way has not been dispensed."""
        return int(self.state["capacity"] - self.state["remaining"])

    # --- time ---

    def _pass_time(self, now_s: int) -> None:
        state = self.state
        dose = state["dose"]
        self._look_at_tray()
        if dose is not None and state["phase"] in (DUE, TRAY) and now_s >= dose[1]:
            if state["phase"] == TRAY and self.tray_full:
                state["left"] = dose[0]
            self._miss(dose[0])
            self._finish(ESCALATE)
        for _ in range(_AT_ONCE):
            occurrence = next_after(self._plan, state["cursor"])
            if occurrence is None or instant(state["zone"], occurrence) > now_s:
                break
            until_s = instant(state["zone"], occurrence) + self._plan.window_s
            if now_s >= until_s:
                state["cursor"] = occurrence
                self._miss(occurrence)
            elif state["dose"] is None:
                state["cursor"] = occurrence
                state["dose"] = [occurrence, until_s]
                self._phase(DUE)
                self._prompt()
            else:
                break  # the dose before is still under way: this one is begun, or missed, after it
        if state["phase"] == DUE and now_s >= state["dose"][1] - self._plan.window_s // _REMIND_PART:
            self._alert(max(state["level"], REMIND))

    def _has_due(self, now_s: int) -> bool:
        """Whether a dose is due that cannot be begun yet; all others that are due are begun or missed now."""
        before = None
        while self.state["cursor"] != before:
            before = self.state["cursor"]
            self._pass_time(now_s)
        occurrence = next_after(self._plan, before)
        return occurrence is not None and instant(self.state["zone"], occurrence) <= now_s

    def _prompt(self) -> None:
        if self.state["remaining"]:
            self._alert(PROMPT)
        else:
            self._report(EMPTY, self.state["dose"][0])
            self._alert(ESCALATE)

    def _miss(self, occurrence: int) -> None:
        self._report(MISSED, occurrence)
        self._alert(ESCALATE)

    # --- the dose ---

    def _objection(self) -> str:
        """Why no dose may be dispensed now; empty if one may."""
        state = self.state
        now_s = self._now_s or 0
        last_s = state["moved_s"]
        objections = (
            (state["phase"] in (MOVING, UNSURE, JAMMED), HELD),
            (self._now_s is None, NO_TIME),
            (now_s >= self._plan.until_s, PLAN_ENDED),
            (state["phase"] != DUE or now_s >= state["dose"][1], NOT_DUE),
            (last_s is not None and now_s < last_s + self._plan.least_gap_s, TOO_SOON),
            (self.door_open, DOOR_OPEN),
            (self.tray_full or state["left"] is not None, TRAY_FULL),
            (not state["remaining"], NO_DOSES),
            (not self._has_room(), NOT_RECORDED),
        )
        for applies, reason in objections:
            if applies:
                return reason
        return ""

    def _look_at_tray(self) -> None:
        state = self.state
        if state["phase"] == TRAY:
            if self.tray_full and not state["seen"]:
                state["seen"] = self._saving = True
            elif state["seen"] and not self.tray_full:
                self._report(TAKEN, state["dose"][0])
                self._finish(QUIET)
        elif state["left"] is not None and not self.tray_full and self._has_room():
            self._report(REMOVED_LATE, state["left"])
            state["left"] = None

    def _settle(self, moved: "bool | None") -> None:
        """Somebody or something knows whether the compartment was opened, or nobody does."""
        if moved is None:
            self._hold(UNSURE)
        elif moved:
            self._dispensed()
        else:
            self._phase(DUE)  # it asks again; if its time is over, the next tick finds it missed
            self._alert(PROMPT)

    def _dispensed(self) -> None:
        state = self.state
        state["remaining"] -= 1
        state["moved_s"] = self._now_s if self._now_s is not None else state["dose"][1]
        self._report(DISPENSED, state["dose"][0])
        state["seen"] = self.tray_full
        self._phase(TRAY)
        self._alert(PROMPT)

    def _hold(self, phase: str) -> None:
        self._report(phase, self.state["dose"][0])
        self._phase(phase)
        self._alert(ESCALATE)

    def _finish(self, level: int) -> None:
        """The dose is settled; what was escalated stays so until the next one."""
        self.state["dose"] = None
        self._phase(WAITING)
        self._alert(level)

    # --- actions ---

    def _phase(self, phase: str) -> None:
        self.state["phase"] = phase
        self._saving = True

    def _alert(self, level: int) -> None:
        if level != self.state["level"]:
            self.state["level"] = level
            self._saving = True
        if (ALERT, level) not in self._actions:
            self._actions.append((ALERT, level))

    def _has_room(self) -> bool:
        """Whether the journal has taken enough reports for another dose to be begun, and reported in all its steps."""
        return len(self.state["reports"]) <= _MOST_REPORTS - _ROOM

    def _report(self, event: str, occurrence: "int | None") -> None:
        """Keep a report until the journal has it.

        Without room, doses missed in a row become one report, from the first to the last one. What happens to the
        machine and not to a dose is then not reported.
        """
        reports = self.state["reports"]
        report = {"event": event, "dose": occurrence, "last": occurrence, "unix_s": self._now_s}
        if not self._has_room():
            if event in (EMPTY, TIME_LOST):
                return
            before = reports[-1]
            if event == before["event"] == MISSED and next_after(self._plan, before["last"]) == occurrence:
                report = reports.pop()
                report["last"] = occurrence
        self.state["number"] += 1
        report["number"] = self.state["number"]
        reports.append(report)
        self._saving = True
        if (REPORT,) not in self._actions:
            self._actions.append((REPORT,))

    def _done(self) -> "list[Action]":
        actions = self._actions
        if self._saving:
            actions = [(SAVE,)] + actions
        self._actions, self._saving = [], False
        return actions
