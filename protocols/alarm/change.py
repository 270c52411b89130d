"""What an alarm is and what becomes of it: its identity, its states, its changes, and how these travel as text."""

import json
from collections import namedtuple

from ..errors import DecodeError
from ..topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Identity(NamedTuple):
        """What tells one alarm from every other, wherever it was raised."""

        rule: str
        thing: str
        onset_ms: int

    class Change(NamedTuple):
        """An alarm has come into a state. `number` counts an alarm's changes: of two, the greater one is the later.

        version: of the rule. by: who did it; empty if nobody. metric, value: of the reading with which it began; empty
        and None if it began without one.
        """

        identity: "Identity"
        number: int
        state: str
        time_ms: int
        priority: str
        version: int
        by: str
        metric: str
        value: "bool | int | float | str | None"

    class Escalation(NamedTuple):
        """Nobody has acknowledged the alarm: tell these. `step` counts from 0."""

        identity: "Identity"
        step: int
        to: "tuple[str, ...]"
        time_ms: int

    Following = list[Change | Escalation]
else:
    Identity = namedtuple("Identity", ("rule", "thing", "onset_ms"))
    Change = namedtuple(
        "Change", ("identity", "number", "state", "time_ms", "priority", "version", "by", "metric", "value")
    )
    Escalation = namedtuple("Escalation", ("identity", "step", "to", "time_ms"))

NORMAL = "normal"
PENDING = "pending"  # the condition is met, but not for long enough
ACTIVE = "active"
ACKNOWLEDGED = "acknowledged"
CLEARED = "cleared"
INHIBITED = "inhibited"  # it would be active, but another condition says that it means nothing now
SHELVED = "shelved"  # somebody has put it aside for a time
OPEN = (ACTIVE, ACKNOWLEDGED, INHIBITED, SHELVED)

# As in IEC 60601-1-8: how soon somebody has to do something.
HIGH = "high"
MEDIUM = "medium"
LOW = "low"
PRIORITIES = (HIGH, MEDIUM, LOW)

MAX_TEXT = 2000
_MAX_NUMBER = 1 << 53
_SUBJECT = "alarm change"


def encode_change(change: "Change") -> str:
    """The change as text: JSON of rule, onset, number, state and so on; thing and time travel beside it."""
    return json.dumps(
        {
            "rule": change.identity.rule,
            "onset_ms": change.identity.onset_ms,
            "number": change.number,
            "state": change.state,
            "priority": change.priority,
            "version": change.version,
            "by": change.by,
            "metric": change.metric,
            "value": change.value,
        }
    )


def decode_change(thing: str, time_ms: int, text: str) -> "Change":
    """The change of an alarm of this thing, at this time. Raises DecodeError."""
    if len(text) > MAX_TEXT:
        raise DecodeError(_SUBJECT, f"{len(text)} characters are too many")
    try:
        item = json.loads(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply, on MicroPython too
        raise DecodeError(_SUBJECT, "is not JSON") from None
    if not isinstance(item, dict):
        raise DecodeError(_SUBJECT, "is not a JSON object")
    for name in ("onset_ms", "number", "version"):
        if type(item.get(name)) is not int or not 0 <= item[name] < _MAX_NUMBER:
            raise DecodeError(_SUBJECT, f"{name} is no whole number, or out of range")
    for name, may_lack in (("rule", False), ("metric", True), ("by", True)):
        named = item.get(name)
        if not isinstance(named, str) or not (is_id(named) or (may_lack and not named)):
            raise DecodeError(_SUBJECT, f"{name} is not 1 to 64 of A-Z a-z 0-9 _ -")
    if item.get("state") not in OPEN + (CLEARED,) or item.get("priority") not in PRIORITIES:
        raise DecodeError(_SUBJECT, "state or priority is none that there is")
    value = item.get("value")
    if not (value is None or isinstance(value, (bool, int, float, str))):
        raise DecodeError(_SUBJECT, "value is neither number nor text")
    identity = Identity(item["rule"], thing, item["onset_ms"])
    told = [item[name] for name in ("priority", "version", "by", "metric")]
    return Change(identity, item["number"], item["state"], time_ms, *told, value)  # type: ignore[call-arg]
