"""The inputs that a sensor node can have, by the names that boards give their pins."""

from firmware.drivers.contact import Contact, SupervisedLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from firmware.hal import Port

# Name -> how long it must be active, and quiet, to be believed: contacts bounce; who sits still is in the room; smoke
# that lasts for half a second is smoke.
_TIMES_MS = {"motion": (0, 10000), "smoke": (500, 5000), "tamper": (50, 1000)}
_OTHERS_MS = (50, 50)


_URGENT = ("smoke", "tamper")  # and every supervised loop: nobody lays one for what can wait


class Input:
    """One input: its states by their metrics, which are the pin's name, and for a supervised loop its tamper too.

    `urgent`: its changes must not wait.
    """

    def __init__(self, name: str, contact: "Contact | SupervisedLoop"):
        self.urgent = name in _URGENT or isinstance(contact, SupervisedLoop)
        self._name = name
        self._contact = contact

    def look(self, now_ms: int) -> bool:
        """To be called every few milliseconds; whether something has changed."""
        return self._contact.look(now_ms)

    def states(self) -> "list[tuple[str, bool]]":
        """(metric, whether it is active)."""
        found = [(self._name, self._contact.active)]
        if isinstance(self._contact, SupervisedLoop):
            found.append((self._name + "_tamper", self._contact.tampered))
        return found


def make_inputs(pins: "Sequence[dict[str, Any]]", hal: "Port") -> "list[Input]":
    """An input for each of the board's pins that are for one."""
    made = []
    for pin in pins:
        on_ms, off_ms = _TIMES_MS.get(pin["name"], _OTHERS_MS)
        if pin["use"] == "analog":
            made.append(Input(pin["name"], SupervisedLoop(hal.analog_in(pin["pin"]), on_ms=on_ms, off_ms=off_ms)))
        elif pin["use"] == "input":
            line = hal.digital_in(pin["pin"], pull=pin["pull"])
            made.append(Input(pin["name"], Contact(line, on_ms=on_ms, off_ms=off_ms)))
    return made
