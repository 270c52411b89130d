"""The alarms that there are, for the local page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from protocols.alarm import ACTIVE, PRIORITIES, Change, Rule
from protocols.reading import to_text

_TEXTS = {
    "active": {"en": "active", "zh": "激活"},
    "acknowledged": {"en": "acknowledged", "zh": "已确认"},
    "inhibited": {"en": "inhibited", "zh": "已抑制"},
    "shelved": {"en": "shelved", "zh": "已搁置"},
    "high": {"en": "high", "zh": "高"},
    "medium": {"en": "medium", "zh": "中"},
    "low": {"en": "low", "zh": "低"},
    "since": {"en": "since", "zh": "始于"},
}


def rows(present: Sequence[tuple[Rule, Change]]) -> list[dict[str, Any]]:
    """A row each for the page and its JSON, what needs somebody first."""
    return [
        {
            "rule": rule.id,
            "name": rule.name,
            "thing": change.identity.thing,
            "onset_ms": change.identity.onset_ms,
            "state": change.state,
            "priority": change.priority,
            "metric": change.metric,
            "text": to_text(change.value),
        }
        for rule, change in sorted(present, key=_urgency)
    ]


def _urgency(each: tuple[Rule, Change]) -> tuple[bool, int, int]:
    change = each[1]
    return change.state != ACTIVE, PRIORITIES.index(change.priority), change.identity.onset_ms


def html(alarms: Sequence[dict[str, Any]], languages: Sequence[str]) -> str:
    """A paragraph each, in one language or in both; times are UTC."""

    def say(key: str) -> str:
        return " ".join(_TEXTS[key][language] for language in languages)

    paragraphs = []
    for row in alarms:
        since = datetime.fromtimestamp(row["onset_ms"] / 1000, UTC)
        name = " ".join(row["name"][language] for language in languages)
        value = f"{row['metric']} {row['text']}" if row["metric"] else ""
        paragraphs.append(
            f'<p class="alarm"><b class="{"offline" if row["state"] == ACTIVE else "waiting"}">{escape(name)}</b> · '
            f"{escape(row['thing'])} · {say(row['state'])} · {say(row['priority'])} · "
            f"{say('since')} <time>{since:%Y-%m-%d %H:%M:%S}Z</time> {escape(value)}</p>"
        )
    return "".join(paragraphs)
