"""kerb hub notify {check, test}: says what keeps people from being told, or tells one of them, now."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from hub import alarm_rules
from hub.errors import SetupError
from hub.notify import directory as directories
from hub.notify.directory import FILE, Directory
from hub.notify.errors import DeliveryError
from hub.notify.making import test_body
from hub.notify.sending import send
from hub.store.writing import now_ms


def _loaded(data: Path) -> Directory:
    found = directories.load(data)
    if found is None:
        raise SetupError(f"there is no {data / FILE}: nobody is told of alarms")
    return found


def check(data: Path) -> tuple[list[str], list[str]]:
    """Who is told, and how; and what is wrong. Raises SetupError if the file, or the hub's rules, cannot be used."""
    directory = _loaded(data)
    lines = [f"{name}: {', '.join(person.channels)}" for name, person in directory.people.items()]
    return lines, list(directory.problems(_names(data)))


def _names(data: Path) -> Iterator[str]:
    named = {name for rule in alarm_rules.load(data) for step in rule.escalation for name in step["to"]}
    return iter(sorted(named))


async def test(data: Path, name: str) -> AsyncIterator[tuple[str, str, str]]:
    """Tell a person or a group, once: person, channel, and what went wrong, or empty. Raises SetupError."""
    directory = _loaded(data)
    people = directory.named(name)
    if not people:
        raise SetupError(f"{name}: there is no such person or group in {data / FILE}")
    for person in people:
        for channel in directory.people[person].channels:
            body = json.dumps(test_body(person, directory.people[person], now_ms()), ensure_ascii=False)
            key = f"test.{secrets.token_hex(8)}.{person}.{channel}"
            try:
                await send(directory, person, channel, key, body, now_ms=now_ms())
            except DeliveryError as error:
                yield person, channel, error.reason
            else:
                yield person, channel, ""
