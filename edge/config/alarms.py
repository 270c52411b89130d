"""Alarm rules in the gateway's config, and whether they fit its things."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.commands import value_problem
from edge.config.table import Table
from hardware.catalogue import DeviceModel
from protocols.alarm import GATEWAY, Rule, covers, measured

THING = "alarms"  # that commands to the gateway's alarms go to
Models = Mapping[str, DeviceModel]  # by thing


class AlarmRules(Table):
    """`rules`: a file of alarm rules, TOML or JSON, or a folder of such files."""

    rules: Path


def placed(rules: Sequence[Rule], models: Models) -> Iterator[tuple[Rule, str]]:
    """Each rule that a gateway evaluates, with each thing that it is for and that has all its metrics."""
    for rule in rules:
        for thing, model in models.items():
            if rule.at == GATEWAY and covers(rule, thing, model.device.kind):
                own = {said["metric"] for said in measured(rule) if not said["thing"]}
                if own <= model.metrics.keys():
                    yield rule, thing


def rule_problem(rule: Rule, models: Models) -> str | None:
    """Why a rule cannot be evaluated on a gateway with these things."""
    if rule.at != GATEWAY:
        return None
    for said in measured(rule):
        if said["thing"] and said["thing"] not in models:
            return f"there is no thing {said['thing']} here"
        named = [said["thing"]] if said["thing"] else [thing for thing in rule.things if thing in models]
        for thing in named:
            if said["metric"] not in models[thing].metrics:
                return f"{thing} has no metric {said['metric']}; it has {', '.join(models[thing].metrics)}"
        for thing in named or [thing for _, thing in placed([rule], models)]:
            unit = models[thing].metrics[said["metric"]].unit
            if said.get("unit", unit) != unit:
                return f"{said['metric']} of {thing} is in {unit!r}, not in {said['unit']!r}"
    return next((problem for said in rule.commands if (problem := _command_problem(said, models))), None)


def _command_problem(said: Mapping[str, Any], models: Models) -> str | None:
    thing, command = said["thing"], said["command"]
    if thing not in models:
        return f"there is no thing {thing} here"
    commands = models[thing].commands
    if command not in commands:
        return f"{thing} has no command {command}; it has {', '.join(commands) or 'none'}"
    values = [said["on"]] + ([said["off"]] if said["off"] is not None else [])
    return next((problem for value in values if (problem := value_problem(commands[command], value))), None)
