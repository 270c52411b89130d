"""Rules as documents: what is wrong is named by its key, and the published schema accepts what is accepted."""

import copy
import json
import re
import tomllib
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.alarm import covers, json_schema, read_rule, read_rules
from protocols.errors import RuleError
from runtime.rule_schema import SCHEMA, text
from tests.protocols.test_alarm_model import HEAD, RULES

PAGES = [SCHEMA.parent / "alarms.md", SCHEMA.parent / "alarms.zh.md"]
ABOVE = {"metric": "temperature", "unit": "Cel", "above": 38.5}
WHOLE = HEAD | {
    "at": "hub",
    "things": ["wearable-*", "cuff-1"],
    "kinds": ["wearable"],
    "when": {"at_least": 1, "within_s": 60, "of": [ABOVE | {"hysteresis": 0.3}, {"metric": "sos", "equals": True}]},
    "inhibit": {
        "all": [{"calendar": {"between": ["22:00", "06:00"], "days": ["sat"], "dates": ["2030-05-01", "12-25"]}}]
    },
    "latched": True,
    "timezone": "Asia/Shanghai",
    "wait_s": 1,
    "lateness_s": 600,
    "escalation": [{"after_s": 0, "to": ["nurse"]}, {"after_s": 120.5, "to": ["doctor", "nurse"]}],
    "commands": [{"thing": "siren-1", "command": "switch_relay_1", "on": 1, "off": 0}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The whole rule with one key changed, or, by `...`, taken away."""
    rule = copy.deepcopy(WHOLE)
    place: Any = rule
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return rule


@pytest.mark.parametrize(
    ("path", "value", "key", "reason"),
    [
        ("id", "a b", "id", "A-Z"),
        ("id", ..., "id", "required"),
        ("version", True, "version", "whole number"),
        ("version", 0, "version", "from 1"),
        ("name", {"en": "Fever"}, "name.zh", "required"),
        ("name.zh", 5, "name.zh", "text"),
        ("priority", "urgent", "priority", "high, medium, low"),
        ("at", "cloud", "at", "gateway, hub"),
        ("colour", "red", "colour", "no such key"),
        ("things", [], "things", "list of 1"),
        ("things.1", "*cuff", "things.1", "beginning"),
        ("when", 5, "when", "table"),
        ("when.of", ..., "when.of", "required"),
        ("when.at_least", 3, "when.at_least", "more than the 2"),
        ("when.of.0.unit", ..., "when.of.0.unit", "required"),
        ("when.of.0.above", "hot", "when.of.0.above", "a number"),
        ("when.of.0.above", float("nan"), "when.of.0.above", "a number"),
        ("when.of.0.hysteresis", -1, "when.of.0.hysteresis", "negative"),
        ("when.of.0.below", 3, "when.of.0", "both above and below"),
        ("when.of.0", {"metric": "x"}, "when.of.0", "says nothing"),
        ("when.of.1", ABOVE | {"hold": 1}, "when.of.1.hold", "no such key"),
        ("when.of.1", {"metric": "x", "equals": []}, "when.of.1.equals", "list of 1"),
        ("when.of.1", {"metric": "x", "silent_s": 0}, "when.of.1.silent_s", "greater than 0"),
        ("when.of.1", {"metric": "x", "silent_s": 1e9}, "when.of.1.silent_s", "seconds"),
        ("when.of.1", ABOVE | {"delay_on_s": -1}, "when.of.1.delay_on_s", "seconds"),
        ("inhibit.all.0.calendar.between", ["22:00"], "inhibit.all.0.calendar.between", "list of 2"),
        ("inhibit.all.0.calendar.between.1", "6:00", "inhibit.all.0.calendar.between.1", "22:30"),
        ("inhibit.all.0.calendar.between.1", "23:60", "inhibit.all.0.calendar.between.1", "23:59"),
        ("inhibit.all.0.calendar.days.0", "Sat", "inhibit.all.0.calendar.days.0", "mon"),
        ("inhibit.all.0.calendar.dates.1", "13-01", "inhibit.all.0.calendar.dates.1", "no such date"),
        ("inhibit.all.0.calendar.dates.1", "5-1", "inhibit.all.0.calendar.dates.1", "2030-05-01"),
        ("latched", 1, "latched", "true or false"),
        ("wait_s", 601, "wait_s", "longer than lateness_s"),
        ("escalation.1.to", [], "escalation.1.to", "list of 1"),
        ("escalation.0.after_s", 500, "escalation", "order"),
        ("commands.0.on", None, "commands.0.on", "number"),
    ],
)
def test_a_mistake_is_named_by_its_key(path, value, key, reason):
    read_rule(WHOLE)
    with pytest.raises(RuleError, match=reason) as caught:
        read_rules({"rules": [WHOLE | {"id": "other"}, changed(path, value)]})
    assert caught.value.key == f"rules.1.{key}"


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], ""),
        ({"rules": {}}, ""),
        ({"rules": [], "more": 1}, ""),
        ({"rules": [5]}, "rules.0"),
        ({"rules": [WHOLE, WHOLE]}, "rules.1.id"),
        ({"rules": [WHOLE] * 2001}, "rules"),
    ],
)
def test_a_document_is_a_list_of_different_rules(document, key):
    with pytest.raises(RuleError) as caught:
        read_rules(document)
    assert caught.value.key == key


def test_nesting_and_number_of_conditions_are_bounded():
    deep: dict[str, Any] = ABOVE
    for _ in range(8):
        deep = {"all": [deep]}
    read_rules({"rules": [HEAD | {"when": deep}]})
    with pytest.raises(RuleError, match="nested"):
        read_rules({"rules": [HEAD | {"when": {"all": [deep]}}]})
    with pytest.raises(RuleError, match="64 conditions"):
        read_rules({"rules": [HEAD | {"when": {"all": [{"any": [ABOVE] * 16}] * 4}}]})


def test_what_is_left_out_has_a_default_and_seconds_are_kept_as_milliseconds():
    rule = read_rule(HEAD | {"when": ABOVE | {"delay_on_s": 0.25}})
    assert (rule.at, rule.things, rule.kinds, rule.latched, rule.timezone) == ("gateway", ("*",), (), False, "UTC")
    assert (rule.wait_ms, rule.lateness_ms, rule.when["delay_on_s"]) == (0, 300_000, 250)
    assert rule.document["when"]["delay_on_s"] == 0.25


@pytest.mark.parametrize(
    ("things", "kinds", "thing", "kind", "so"),
    [
        (["*"], [], "cuff-1", "cuff", True),
        (["cuff-*"], [], "cuff-1", "cuff", True),
        (["cuff-*"], [], "cuf", "cuff", False),
        (["cuff-1"], [], "cuff-12", "cuff", False),
        (["x", "cuff-1"], ["wearable"], "cuff-1", "cuff", False),
        (["*"], ["wearable", "cuff"], "cuff-1", "cuff", True),
    ],
)
def test_which_things_a_rule_is_for(things, kinds, thing, kind, so):
    said = HEAD | {"when": ABOVE, "things": things} | ({"kinds": kinds} if kinds else {})
    assert covers(read_rule(said), thing, kind) is so


def test_the_examples_of_both_pages_are_rules():
    english, chinese = [
        re.findall(r"```toml\n(\[\[rules\]\].*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for page in PAGES
    ]
    assert english == chinese
    assert [rule.id for block in english for rule in read_rules(tomllib.loads(block))] == [
        "fever",
        "front-door-at-night",
        "sos",
        "fall",
    ]


def test_both_pages_name_every_key():
    keys = set(re.findall(r'"(\w+)": \{', text())) - {"properties", "items", "rules", "rule", "condition"}
    for page in PAGES:
        assert keys - set(re.findall(r"\w+", page.read_text(encoding="utf-8"))) == set()


def test_the_published_schema_is_that_of_the_code():
    assert SCHEMA.read_text(encoding="utf-8") == text(), "run ./kerb docs"
    jsonschema.Draft202012Validator.check_schema(json_schema())


def refusal(document: Any) -> str | None:
    try:
        read_rules(document)
    except RuleError as error:
        return error.reason
    return None


def paths(item: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of everything within."""
    inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    return [path] + [found for key, value in inner for found in paths(value, (*path, key))]


VALIDATOR = jsonschema.Draft202012Validator(json_schema())
ODD = st.sampled_from([..., None, True, -1, 0, 2.5, "", "above", "12:30", "a*", [], [1, 0], {}, {"all": []}, 10**12])
# What the schema cannot say: between parts that are each right.
BEYOND = ("order", "more than", "greater than its second", "longer than", "nested", "is the id of", "first number")


@settings(max_examples=300, deadline=None)
@given(st.one_of(RULES.map(lambda said: json.loads(json.dumps(HEAD | said))), st.just(WHOLE)), st.data())
def test_the_schema_accepts_what_is_accepted(rule, data):
    document = {"rules": [copy.deepcopy(rule)]}
    assert refusal(document) is None
    assert VALIDATOR.is_valid(document)
    *way, last = data.draw(st.sampled_from(paths(document)[1:]))
    value = data.draw(ODD)
    place: Any = document
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    reason = refusal(document)
    if reason is None or not any(beyond in reason for beyond in BEYOND):
        assert VALIDATOR.is_valid(document) is (reason is None), reason
