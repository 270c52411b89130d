"""Writes docs/alarm-rules.schema.json, the JSON Schema of alarm rules. `python -m runtime.rule_schema`."""

import json
from pathlib import Path

from protocols.alarm import json_schema

SCHEMA = Path(__file__).parent.parent / "docs" / "alarm-rules.schema.json"


def text() -> str:
    """The file's content."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
