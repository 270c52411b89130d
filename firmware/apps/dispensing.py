"""The dispenser's state machine at work: it saves, turns, reports and alerts as the machine says, in its order.

What it needs is handed to it: a file to save to, the cabinet, and a journal for reports. Nothing here waits: the
cabinet begins a turn and says later how it ended.
"""

import json

from firmware.apps import doses
from firmware.apps.doses import Doses, new_state
from firmware.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from firmware.apps.doses import Action
    from protocols.schedule import Plan

    class Cabinet(Protocol):
        """What the machine needs of the cabinet."""

        def turn(self) -> None:
            """Begin to turn the wheel by one compartment."""

        def parity(self) -> "int | None":
            """Whether the wheel stands at an even (0) or odd (1) compartment, or between two (None)."""

        def alert(self, level: int) -> None:
            """From now on call for attention at this level."""

        def tray_full(self) -> bool:
            """Whether something lies on the tray."""

        def door_open(self) -> bool:
            """Whether the door to the cartridge is open."""


NOT_IN_PLACE = "not in place"


def first_state(plan: "Plan", zone: "tuple[tuple[int, int], ...]", unix_s: int) -> bytes:
    """What is saved of a dispenser that begins now."""
    return json.dumps(new_state(plan, zone, unix_s)).encode()


class Dispensing:
    """One dispenser that follows a plan.

    saved: what was saved last. `save` must not return before it is durable; `record` keeps a report in the journal, or
    raises JournalError. `refused` is why the last event was refused, `unrecorded` why the journal lacks reports; empty
    if it was not, or does not.
    """

    def __init__(
        self,
        plan: "Plan",
        saved: bytes,
        *,
        save: "Callable[[bytes], None]",
        record: "Callable[[dict[str, Any]], None]",
        cabinet: "Cabinet",
    ):
        self.machine = Doses(plan, json.loads(saved))
        self.refused = ""
        self.unrecorded = ""
        self._save = save
        self._record = record
        self._cabinet = cabinet

    def start(self) -> None:
        """Power is back; to be called first. The wheel's parity tells whether a turn that was meant has been done."""
        cabinet = self._cabinet
        self._do(self.machine.started(self._moved(), tray_full=cabinet.tray_full(), door_open=cabinet.door_open()))

    def tick(self, unix_s: "int | None") -> None:
        """Time goes on, every few seconds. Reports that the journal did not take are tried again."""
        self._do(self.machine.tick(unix_s) + [(doses.REPORT,)])

    def button(self) -> None:
        """Somebody asks for the dose."""
        self._do(self.machine.button())

    def dropped(self) -> None:
        """The drop sensor has seen the dose fall."""
        self._do(self.machine.dropped())

    def stopped(self) -> None:
        """The turn is over, and nothing was seen to fall."""
        self._do(self.machine.stopped(self._moved()))

    def look(self) -> None:
        """Tray or door may have changed."""
        if self._cabinet.tray_full() != self.machine.tray_full:
            self._do(self.machine.tray(self._cabinet.tray_full()))
        if self._cabinet.door_open() != self.machine.door_open:
            self._do(self.machine.door(self._cabinet.door_open()))

    def answer(self, moved: bool) -> None:
        """A person has looked whether the dose came out."""
        self._do(self.machine.answer(moved))

    def refill(self, cartridge: int, count: int) -> None:
        """A new cartridge of so many doses is in, its first compartment at the chute."""
        if self._cabinet.parity() != 0:
            self.refused = NOT_IN_PLACE
        else:
            self._do(self.machine.refill(cartridge, count))

    def trust(self, unix_s: int) -> None:
        """A person vouches for this time."""
        self._do(self.machine.trust(unix_s))

    def change(self, plan: "Plan", zone: "tuple[tuple[int, int], ...]") -> None:
        """Follow another plan, and the zone that it says, from now on; what is refused changes nothing."""
        self._do(self.machine.change(plan, zone))

    def _moved(self) -> "bool | None":
        parity = self._cabinet.parity()
        return None if parity is None else parity != self.machine.opened() & 1

    def _do(self, actions: "list[Action]") -> None:
        self.refused = ""
        for action in actions:
            if action[0] == doses.SAVE:
                self._save(json.dumps(self.machine.state).encode())
            elif action[0] == doses.MOVE:
                self._cabinet.turn()
            elif action[0] == doses.ALERT:
                self._cabinet.alert(action[1])
            elif action[0] == doses.REFUSE:
                self.refused = action[1]
            elif action[0] == doses.REPORT:
                self._report()

    def _report(self) -> None:
        """Hand all reports to the journal; what it does not take stays in the state."""
        self.unrecorded = ""
        for report in self.machine.reports():
            try:
                self._record(report)
            except JournalError as error:
                self.unrecorded = error.reason
                return
            for action in self.machine.reported(report["number"]):
                if action[0] == doses.SAVE:
                    self._save(json.dumps(self.machine.state).encode())
