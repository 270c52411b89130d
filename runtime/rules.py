"""Alarm rules from files, TOML or JSON: every mistake is named with its file, line, key and reason."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocols.alarm import Rule, read_rules
from protocols.errors import RuleError
from runtime.toml import TomlFileError, line_of, parse_toml, read_text

_SUFFIXES = (".toml", ".json")


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, or of all files of a folder. Raises TomlFileError for the first thing that is wrong."""
    files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES) if path.is_dir() else [path]
    found: dict[str, tuple[Path, Rule]] = {}
    for file in files:
        for number, rule in enumerate(_load(file)):
            if rule.id in found:
                raise TomlFileError(file, None, f"rules.{number}.id", f"{rule.id} is in {found[rule.id][0].name} too")
            found[rule.id] = (file, rule)
    return tuple(rule for _, rule in found.values())


def check_zones(rules: list[Rule]) -> None:
    """Raises RuleError for a rule whose time zone is none that there is."""
    for number, rule in enumerate(rules):
        try:
            _zone(rule.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            reason = f"{rule.timezone} is no time zone; one is Asia/Shanghai"
            raise RuleError(f"rules.{number}.timezone", reason) from None


def offset_s(zone: str, time_ms: int) -> int:
    """How many seconds the clocks of a time zone are ahead of UTC at this time."""
    offset = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(_zone(zone)).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _load(path: Path) -> list[Rule]:
    text = read_text(path)
    try:
        rules = read_rules(_parse(path, text))
        check_zones(rules)
    except RuleError as error:
        location = tuple(int(part) if part.isdigit() else part for part in error.key.split("."))
        line = line_of(text, location) if path.suffix == ".toml" else None
        raise TomlFileError(path, line, error.key, error.reason) from error
    return rules


def _parse(path: Path, text: str) -> Any:
    if path.suffix != ".json":
        return parse_toml(path, text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise TomlFileError(path, line, "", f"not JSON: {error}") from error


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
