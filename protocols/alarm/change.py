"""What an alarm is and what becomes of it: its identity, its states, its changes, and how these travel as text."""

import json
from collections import namedtuple

from ..errors import DecodeError
from ..topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

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

METRIC = "alarm_change"  # of a thing: each reading is one of the texts below

MAX_TEXT = 2000
_MAX_NUMBER = 1 << 53
_MAX_TOLD = 16
_SUBJECT = "alarm change"


def encode_following(following: "Change | Escalation") -> str:
    """A change, or an escalation, as text: JSON; its thing and time travel beside it."""
    item = {"rule": following.identity.rule, "onset_ms": following.identity.onset_ms}
    if isinstance(following, Escalation):
        item.update({"step": following.step, "to": list(following.to)})
    else:
        for name in ("number", "state", "priority", "version", "by", "metric", "value"):
            item[name] = getattr(following, name)
    return json.dumps(item)


def decode_following(thing: str, time_ms: int, text: str) -> "Change | Escalation":
    """The change or escalation of an alarm of this thing, at this time. Raises DecodeError."""
    item = _object(text)
    _check_numbers(item, ("onset_ms",))
    _check_ids(item, ("rule",))
    identity = Identity(item["rule"], thing, item["onset_ms"])
    if "step" in item:
        _check_numbers(item, ("step",))
        to = item.get("to")
        if not isinstance(to, list) or len(to) > _MAX_TOLD or not all([_is_id(each) for each in to]):
            raise DecodeError(_SUBJECT, f"to is no list of at most {_MAX_TOLD} ids")
        return Escalation(identity, item["step"], tuple(to), time_ms)
    _check_numbers(item, ("number", "version"))
    _check_ids(item, [name for name in ("by", "metric") if item.get(name) != ""])
    if item.get("state") not in OPEN + (CLEARED,) or item.get("priority") not in PRIORITIES:
        raise DecodeError(_SUBJECT, "state or priority is none that there is")
    value = item.get("value")
    if not (value is None or isinstance(value, (bool, int, float, str))):
        raise DecodeError(_SUBJECT, "value is neither number nor text")
    told = [item[name] for name in ("priority", "version", "by", "metric")]
    return Change(identity, item["number"], item["state"], time_ms, *told, value)  # type: ignore[call-arg]


def _object(text: str) -> "dict[str, Any]":
    if len(text) > MAX_TEXT:
        raise DecodeError(_SUBJECT, f"{len(text)} characters are too many")
    try:
        item = json.loads(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply, on MicroPython too
        raise DecodeError(_SUBJECT, "is not JSON") from None
    if not isinstance(item, dict):
        raise DecodeError(_SUBJECT, "is not a JSON object")
    return item


def _check_numbers(item: "dict[str, Any]", names: "Sequence[str]") -> None:
    for name in names:
        if type(item.get(name)) is not int or not 0 <= item[name] < _MAX_NUMBER:
            raise DecodeError(_SUBJECT, f"{name} is no whole number, or out of range")


def _check_ids(item: "dict[str, Any]", names: "Sequence[str]") -> None:
    for name in names:
        if not _is_id(item.get(name)):
            raise DecodeError(_SUBJECT, f"{name} is not 1 to 64 of A-Z a-z 0-9 _ -")


def _is_id(item: object) -> bool:
    return isinstance(item, str) and is_id(item)
