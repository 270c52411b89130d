"""What runs on this device, and whether it is on trial: what of updates is needed at every start, in little memory."""

import json

from firmware.boot import slots
from firmware.core import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def running(root: str) -> "dict[str, Any]":
    """`board`, `app` and `version` of what runs; nothing if it did not come as an image."""
    record = slots.load(root)
    data = files.read(root + "/" + (record.get("trial") or record["good"]) + "/" + slots.MANIFEST)
    if data is None:
        return {}
    manifest = json.loads(data)
    return {name: manifest[name] for name in ("board", "app", "version")}


def is_on(root: str) -> bool:
    """Whether what runs has still to be confirmed."""
    return bool(slots.load(root).get("trial"))


def failed(root: str) -> int:
    """The version that has not passed its trial here; 0 if there is none."""
    return int(slots.load(root).get("failed", 0))


def confirm(root: str) -> None:
    """The app that runs has passed its test of itself: it is the good one from now on."""
    record = slots.load(root)
    if record.get("trial"):
        slots.save(root, {"good": record["trial"]})
