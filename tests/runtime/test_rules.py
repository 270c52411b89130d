"""Rules from files: each mistake with its file, line, key and reason."""

import json

import pytest

from runtime.rules import load_rules, offset_s
from runtime.toml import TomlFileError

FEVER = """
[[rules]]
id = "fever"
version = 1
name = { en = "Fever", zh = "发热" }
priority = "high"
escalation = [{ after_s = 0, to = ["nurse"] }]

[rules.when]
metric = "temperature"
unit = "Cel"
above = 38.5
"""
MORE = """
[[rules]]
id = "cold"
version = 1
name = { en = "Cold", zh = "低温" }
priority = "low"
timezone = "Asia/Shanghai"
[rules.when]
delay_on_s = 5
[[rules.when.all]]
metric = "temperature"
unit = "Cel"
below = 35
[[rules.when.all]]
metric = "worn"
equals = true
"""


def test_a_file_and_a_folder_of_toml_and_json(tmp_path):
    (tmp_path / "b.toml").write_text(FEVER + MORE)
    said = {"id": "sos", "version": 1, "name": {"en": "SOS", "zh": "求救"}, "priority": "high"}
    (tmp_path / "a.json").write_text(json.dumps({"rules": [said | {"when": {"metric": "sos", "equals": True}}]}))
    (tmp_path / "notes.txt").write_text("not a rule")
    assert [rule.id for rule in load_rules(tmp_path)] == ["sos", "fever", "cold"]
    assert [rule.id for rule in load_rules(tmp_path / "b.toml")] == ["fever", "cold"]


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "reason"),
    [
        ("above = 38.5", 'above = "hot"', 12, "rules.0.when.above", "a number"),
        ('to = ["nurse"]', "to = []", 7, "rules.0.escalation.0.to", "list of 1"),
        ("equals = true", "equal = true", 26, "rules.1.when.all.1", "says nothing"),
        ("below = 35", "below = true", 25, "rules.1.when.all.0.below", "a number"),
        ("delay_on_s = 5", "delay_on_s = -5", 21, "rules.1.when.delay_on_s", "seconds"),
        ("Asia/Shanghai", "Shanghai", 19, "rules.1.timezone", "no time zone"),
        ('priority = "low"\n', "", 14, "rules.1.priority", "required"),
        ('id = "cold"', 'id = "fever"', 15, "rules.1.id", "too"),
        ("version = 1", "version 1", 4, "", "not TOML"),
    ],
)
def test_a_mistake_names_its_line(tmp_path, old, new, line, key, reason):
    file = tmp_path / "rules.toml"
    file.write_text((FEVER + MORE).replace(old, new, 1))
    with pytest.raises(TomlFileError, match=reason) as caught:
        load_rules(file)
    assert (caught.value.path, caught.value.line, caught.value.key) == (file, line, key)


def test_json_that_is_none_names_its_line_and_a_rule_of_two_files_both(tmp_path):
    (tmp_path / "a.json").write_text('{"rules":\n [}')
    with pytest.raises(TomlFileError, match="not JSON") as caught:
        load_rules(tmp_path)
    assert caught.value.line == 2
    (tmp_path / "a.json").unlink()
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(FEVER)
    with pytest.raises(TomlFileError, match=r"fever is in a\.toml too"):
        load_rules(tmp_path)
    with pytest.raises(TomlFileError, match="no such file"):
        load_rules(tmp_path / "c.toml")


def test_offsets_follow_the_zone_and_the_season():
    assert offset_s("Asia/Shanghai", 1_900_000_000_000) == 28_800
    assert [offset_s("Europe/Berlin", time_ms) for time_ms in (1_893_456_000_000, 1_909_353_600_000)] == [3600, 7200]
