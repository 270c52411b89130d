"""Alarm rules: documents of {"rules": [...]}, from TOML or JSON alike; checked with the key that is wrong.

The keys of a rule and of each kind of condition stand in tables, of which both the check and the JSON Schema are made.
"""

from collections import namedtuple

from ..errors import RuleError
from .change import PRIORITIES
from .keys import (
    CLOCK,
    DATE,
    DAYS,
    FLAG,
    ID,
    MARGIN,
    NAME,
    NUMBER,
    PATTERN,
    RANGE,
    REQUIRED,
    SPAN,
    STEP,
    TEXT,
    VALUE,
    VALUES,
    WINDOW,
    Key,
    Kind,
    join,
    list_of,
    one_of,
    read_table,
    table_of,
    table_schema,
    whole,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    class Rule(NamedTuple):
        """One rule, checked. Conditions are tables with their `kind`; all that was seconds is milliseconds.

        things: ids, or their beginnings and *; kinds: of things, all if empty. at: who evaluates it. latched: it stays
        active until acknowledged, also when its condition is over. wait_ms: how long an evaluation waits for readings
        that overtook each other. lateness_ms: how old a reading may be and still be news. document: as it was given.
        """

        id: str
        version: int
        name: "dict[str, str]"
        priority: str
        at: str
        things: "tuple[str, ...]"
        kinds: "tuple[str, ...]"
        when: "dict[str, Any]"
        inhibit: "dict[str, Any] | None"
        latched: bool
        timezone: str
        wait_ms: int
        lateness_ms: int
        escalation: "tuple[dict[str, Any], ...]"
        commands: "tuple[dict[str, Any], ...]"
        document: "dict[str, Any]"

else:
    Rule = namedtuple(
        "Rule",
        (
            "id", "version", "name", "priority", "at", "things", "kinds", "when", "inhibit", "latched", "timezone",
            "wait_ms", "lateness_ms", "escalation", "commands", "document",
        ),
    )  # fmt: skip

GATEWAY = "gateway"
HUB = "hub"

_MOST_RULES = 2000
_MOST_OPERANDS = 16
_MOST_CONDITIONS = 64  # of one rule, all levels together
_MOST_LEVELS = 8
_MOST_STEPS = 8


def measured(rule: "Rule") -> "list[dict[str, Any]]":
    """Its conditions that are about a metric, `inhibit` included."""
    found = []
    left = [condition for condition in (rule.when, rule.inhibit) if condition]
    while left:
        condition = left.pop()
        left += operands(condition)
        if "metric" in condition:
            found.append(condition)
    return found


def _check_condition(item: "Any", key: str) -> "dict[str, Any]":
    return _condition(item, key)  # which needs the tables below, which need this


CONDITION = Kind(_check_condition, {"$ref": "#/$defs/condition"})
_OPERANDS = list_of(CONDITION, 1, _MOST_OPERANDS)
_CALENDAR = {
    "between": Key(list_of(CLOCK, 2, 2), (0, 86_400)),
    "days": Key(list_of(one_of(DAYS), 1, 7), DAYS),
    "dates": Key(list_of(DATE, 1, 400), ()),
    "not_dates": Key(list_of(DATE, 1, 400), ()),
}

_DELAYS = {"delay_on_s": Key(SPAN, 0), "delay_off_s": Key(SPAN, 0)}
_SOURCE = {"thing": Key(ID, ""), "metric": Key(ID, REQUIRED)}
# A number says nothing without its unit: what comes in another one is not compared.
_NUMERIC = dict([("unit", Key(TEXT, REQUIRED)), ("hysteresis", Key(MARGIN, 0))] + list(_SOURCE.items()))
_CHANGE = dict([("within_s", Key(WINDOW, REQUIRED))] + list(_NUMERIC.items()))

# The key that tells a condition's kind -> its value, and the other keys.
_CONDITIONS = {
    "above": (NUMBER, _NUMERIC),
    "below": (NUMBER, _NUMERIC),
    "outside": (RANGE, _NUMERIC),
    "inside": (RANGE, _NUMERIC),
    "equals": (VALUES, _SOURCE),
    "rises": (STEP, _CHANGE),
    "falls": (STEP, _CHANGE),
    "changes": (STEP, _CHANGE),
    "silent_s": (WINDOW, _SOURCE),
    "all": (_OPERANDS, {}),
    "any": (_OPERANDS, {}),
    "none": (_OPERANDS, {}),
    "at_least": (whole(1, _MOST_OPERANDS), {"of": Key(_OPERANDS, REQUIRED), "within_s": Key(SPAN, 0)}),
    "calendar": (table_of(_CALENDAR), {}),
}

_STEPS = list_of(table_of({"after_s": Key(SPAN, REQUIRED), "to": Key(list_of(ID, 1, 16), REQUIRED)}), 1, _MOST_STEPS)
_COMMAND = {
    "thing": Key(ID, REQUIRED),
    "command": Key(ID, REQUIRED),
    "on": Key(VALUE, REQUIRED),
    "off": Key(VALUE, None),
}

_RULE = {
    "id": Key(ID, REQUIRED),
    "version": Key(whole(1, 1_000_000_000), REQUIRED),
    "name": Key(NAME, REQUIRED),
    "priority": Key(one_of(PRIORITIES), REQUIRED),
    "at": Key(one_of((GATEWAY, HUB)), GATEWAY),
    "things": Key(list_of(PATTERN, 1, 1000), ("*",)),
    "kinds": Key(list_of(ID, 1, 64), ()),
    "when": Key(CONDITION, REQUIRED),
    "inhibit": Key(CONDITION, None),
    "latched": Key(FLAG, False),
    "timezone": Key(TEXT, "UTC"),
    "wait_s": Key(SPAN, 0),
    "lateness_s": Key(SPAN, 300_000),
    "escalation": Key(_STEPS, ()),
    "commands": Key(list_of(table_of(_COMMAND), 1, 16), ()),
}


def _keys_of(kind: str) -> "dict[str, Key]":
    value, others = _CONDITIONS[kind]
    return dict([(kind, Key(value, REQUIRED))] + list(others.items()) + list(_DELAYS.items()))


_KEYS = {kind: _keys_of(kind) for kind in _CONDITIONS}


def read_rules(document: "Any") -> "list[Rule]":
    """The rules of a document. Raises RuleError with the key that is wrong."""
    if not isinstance(document, dict) or list(document) != ["rules"] or not isinstance(document["rules"], list):
        raise RuleError("", "must be a table with nothing but a list of rules")
    if len(document["rules"]) > _MOST_RULES:
        raise RuleError("rules", f"{len(document['rules'])} are too many; {_MOST_RULES} is the most")
    rules = []
    seen: "dict[str, int]" = {}
    for number, item in enumerate(document["rules"]):
        rule = read_rule(item, f"rules.{number}")
        if rule.id in seen:
            raise RuleError(f"rules.{number}.id", f"{rule.id} is the id of rules.{seen[rule.id]} too")
        seen[rule.id] = number
        rules.append(rule)
    return rules


def read_rule(item: "Any", key: str = "") -> "Rule":
    """One rule. Raises RuleError with the key that is wrong."""
    found = read_table(item, key, _RULE)
    if found["wait_s"] > found["lateness_s"]:
        raise RuleError(join(key, "wait_s"), "is longer than lateness_s: what is waited for would be too late")
    for name in ("when", "inhibit"):
        if found[name] and _count(found[name]) > _MOST_CONDITIONS:
            raise RuleError(join(key, name), f"has more than {_MOST_CONDITIONS} conditions")
    delays = [step["after_s"] for step in found["escalation"]]
    if delays != sorted(delays):
        raise RuleError(join(key, "escalation"), "its steps must be in the order of their after_s")
    named = {"wait_ms": found.pop("wait_s"), "lateness_ms": found.pop("lateness_s")}
    return Rule(document=item, **named, **found)


def json_schema() -> "dict[str, Any]":
    """The JSON Schema (draft 2020-12) of a document. What it cannot say, `read_rules` checks in addition."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Kerb alarm rules",
        "type": "object",
        "properties": {
            "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}, "maxItems": _MOST_RULES},
        },
        "required": ["rules"],
        "additionalProperties": False,
        "$defs": {
            "rule": table_schema(_RULE),
            "condition": {"oneOf": [table_schema(keys) for keys in _KEYS.values()]},
        },
    }


def operands(condition: "Mapping[str, Any]") -> "tuple[dict[str, Any], ...]":
    """The conditions of which this one is made."""
    kind = condition["kind"]
    return condition["of"] if kind == "at_least" else condition[kind] if kind in ("all", "any", "none") else ()


def _condition(item: "Any", key: str) -> "dict[str, Any]":
    if not isinstance(item, dict):
        raise RuleError(key, "must be a table")
    if key.count(".") > 3 + 2 * _MOST_LEVELS:  # "rules.0.when", and two more a level
        raise RuleError(key, f"conditions are nested more than {_MOST_LEVELS} deep")
    kinds = [kind for kind in _CONDITIONS if kind in item]
    if len(kinds) != 1:
        there = "has both " + " and ".join(kinds[:2]) if kinds else "says nothing"
        raise RuleError(key, f"{there}; a condition has one of " + ", ".join(sorted(_CONDITIONS)))
    found = read_table(item, key, _KEYS[kinds[0]])
    if kinds[0] == "at_least" and found["at_least"] > len(found["of"]):
        raise RuleError(join(key, "at_least"), f"is more than the {len(found['of'])} conditions of it")
    found["kind"] = kinds[0]
    return found


def _count(condition: "Mapping[str, Any]") -> int:
    return 1 + sum([_count(operand) for operand in operands(condition)])
