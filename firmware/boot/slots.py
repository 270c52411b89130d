"""Chooses which app starts: the good one, or one on trial for a few starts. Never updated over the air.

Two folders, `a` and `b`, hold an app each, beside it `manifest.json`, the last file that was written to it. The record
`slots.json`, replaced whole, says {"good": "a"} and, while an update is on trial, "trial": "b" and "tries": how many
starts it has left to be confirmed in; "failed" is the version that was not.
"""

import io
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SLOTS = ("a", "b")
MANIFEST = "manifest.json"
TRIES = 3
_RECORD = "/slots.json"
_CRASH = "/crash"
_MOST_CHARACTERS = 600


def load(root: str) -> "dict[str, Any]":
    """The record. Without a readable one the first slot with a whole app is the good one."""
    try:
        with open(root + _RECORD) as file:
            record: "dict[str, Any]" = json.load(file)
        if record["good"] in SLOTS:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"good": SLOTS[1] if not version(root, SLOTS[0]) and version(root, SLOTS[1]) else SLOTS[0]}


def save(root: str, record: "dict[str, Any]") -> None:
    """Put the record in the place of the one before; power may fail at any moment."""
    with open(root + _RECORD + ".new", "w") as file:
        json.dump(record, file)
    os.rename(root + _RECORD + ".new", root + _RECORD)


def version(root: str, slot: str) -> int:
    """The version of the app in this slot, 0 if there is no whole one."""
    try:
        with open(root + "/" + slot + "/" + MANIFEST) as file:
            return int(json.load(file)["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def choose(root: str) -> str:
    """The slot to start now. Counts the starts of a trial, and ends one that was not confirmed in time."""
    record = load(root)
    trial = record.get("trial")
    if trial and record["tries"] > 0:
        record["tries"] -= 1
        save(root, record)
        return str(trial)
    if trial:
        record = {"good": record["good"], "failed": version(root, trial)}
        save(root, record)
    return str(record["good"])


def start(root: str) -> None:
    """Run the chosen app; it is imported from its slot."""
    sys.path.insert(0, root + "/" + choose(root))
    __import__("firmware.main")
    sys.modules["firmware.main"].main()


def keep(root: str, error: Exception) -> None:
    """Keep why the app could not run, where firmware/core/crash.py finds it; what came first is the cause."""
    text = io.StringIO()
    sys.print_exception(error, text)  # type: ignore[attr-defined]  # MicroPython's
    print(text.getvalue())
    try:
        os.stat(root + _CRASH)
    except OSError:
        with open(root + _CRASH, "w") as file:
            file.write(text.getvalue()[-_MOST_CHARACTERS:])
