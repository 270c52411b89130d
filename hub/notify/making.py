"""Of an event, what is to be told to whom: pure, so that whoever is killed makes the same of it again."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hub.notify.directory import Directory, Person
from hub.notify.texts import written
from hub.store.alarm_book import AlarmNow
from hub.store.events import ALARM, ESCALATION, Event
from protocols.alarm import ACTIVE, Identity
from protocols.reading import to_text


class Draft(NamedTuple):
    """One notice that is to be. key: the same for the same thing said to the same person in the same way, and no other.

    channel: empty if there is none, since nobody has the name.
    """

    key: str
    alarm: Identity
    person: str
    channel: str
    body: Mapping[str, Any]


def unheard(alarm: Identity) -> AlarmNow:
    """An alarm of which no change has come yet: an escalation may overtake them. It is told as if it were urgent."""
    name = {"en": alarm.rule, "zh": alarm.rule}
    return AlarmNow(
        *alarm, name, origin="", state=ACTIVE, priority="high", version=0, changed_ms=0, metric="", value=None
    )


def drafts(
    event: Event, directory: Directory, alarm: AlarmNow, *, thing_name: Mapping[str, str], told: Iterable[str]
) -> Iterator[Draft]:
    """What to tell of an event about an alarm. alarm: as it is now; told: who was told of it before."""
    said = event.content
    identity = Identity(alarm.rule, alarm.thing, alarm.onset_ms)
    key = ".".join(map(str, identity))
    if event.kind == ESCALATION:
        key += f".escalation-{said['step']}-{said['time_ms']}"
        names = list(said["to"])
        for name in names:
            if not directory.named(name):
                yield Draft(f"{key}.{name}", identity, name, "", {"type": event.kind, "to": name, **said})
    else:
        key += f".change-{said['number']}-{said['state']}"
        names = [name for name, person in directory.people.items() if person.all]
        if said["state"] != ACTIVE:  # that is what the escalation is for
            names += told
    people = dict.fromkeys(person for name in names for person in directory.named(name))
    for name in people:
        person = directory.people[name]
        if alarm.priority in person.priorities:
            body = _body(event, alarm, thing_name, person) | {"to": name}
            for channel in person.channels:
                yield Draft(f"{key}.{name}.{channel}", identity, name, channel, body)


def test_body(name: str, person: Person, now_ms: int) -> dict[str, Any]:
    """What is told by way of a test."""
    subject, text = written("test", person.language, {"time": _time(now_ms, person.timezone)})
    return {"type": "test", "to": name, "time_ms": now_ms, "subject": subject, "text": text}


def _body(event: Event, alarm: AlarmNow, thing_name: Mapping[str, str], person: Person) -> dict[str, Any]:
    said, language, zone = event.content, person.language, person.timezone
    what = said["state"] if event.kind == ALARM else "escalated" if said["step"] else "raised"
    fields = {
        "rule": alarm.name[language],
        "thing": thing_name[language],
        "thing_id": alarm.thing,
        "who": str(said.get("who", "")),
        "priority": alarm.priority,
        "reading": f"{alarm.metric} {to_text(alarm.value)}" if alarm.metric else "",
        "since": _time(alarm.onset_ms, zone),
        "time": _time(said["time_ms"], zone),
        "now": alarm.state,
    }
    subject, text = written(what, language, fields)
    return {
        "type": event.kind,
        **said,
        "state": said.get("state", alarm.state),
        "priority": alarm.priority,
        "metric": alarm.metric,
        "value": alarm.value,
        "rule_name": dict(alarm.name),
        "thing_name": dict(thing_name),
        "subject": subject,
        "text": text,
    }


def _time(time_ms: int, zone: str) -> str:
    at = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S} {zone}"
