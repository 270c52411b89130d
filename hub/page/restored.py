"""The line that says that a store was restored from a backup, and what is known to be missing since."""

from collections.abc import Sequence
from datetime import datetime

from nicegui import ui

from hub.page.snapshot import Snapshot
from hub.page.texts import word
from hub.store.querying import Restore


class Restored:
    """Shown for as long as the store stands: nothing brings back what is missing."""

    def __init__(self, language: str):
        self._language = language
        self._line = ui.label().classes("restored")
        self._line.set_visibility(False)

    def show(self, snapshot: Snapshot) -> None:
        """Bring it up to date."""
        self._line.set_visibility(bool(snapshot.restores))
        if snapshot.restores:
            self._line.text = text(snapshot.restores, snapshot.skipped, self._language)


def text(restores: Sequence[Restore], skipped: int, language: str) -> str:
    """What is to be said of the last restore; skipped: packs that gateways have handed over and that are not here."""
    last = restores[-1]
    times = (datetime.fromtimestamp(ms / 1000).astimezone() for ms in (last.restored_ms, last.backup_ms))
    return word("restored", language).format(*(f"{time:%Y-%m-%d %H:%M}" for time in times), f"{skipped:,}")
