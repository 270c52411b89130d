"""The row of figures below the top line."""

from collections.abc import Mapping, Sequence

from nicegui import ui

from hub.page.numbers import number, span
from hub.page.snapshot import Snapshot
from hub.page.texts import word

LIVE = ("things", "stored", "duplicates", "lost", "delay")
CUSTODY = ("read", "suppressed", "stored", "buffered", "declared_lost", "missing", "twice")
_BAD = frozenset({"duplicates", "lost", "declared_lost", "missing", "twice"})  # worth a look unless 0


class Figures:
    """One figure a key."""

    def __init__(self, keys: Sequence[str], language: str):
        with ui.element("section").classes("figures"):
            self._values = {key: self._figure(key, language) for key in keys}

    def show(self, figures: Mapping[str, int | str]) -> None:
        """Bring them up to date."""
        for key, value in self._values.items():
            figure = figures[key]
            value.text = figure if isinstance(figure, str) else f"{figure:,}"
            value.classes(**({"add": "alert"} if figure and key in _BAD else {"remove": "alert"}))

    @staticmethod
    def _figure(key: str, language: str) -> ui.label:
        with ui.element("div").classes(f"figure figure-{key}"):
            value = ui.label("–").classes("figure-value")
            ui.label(word(f"figure_{key}", language)).classes("figure-name")
        return value


def live(snapshot: Snapshot, language: str) -> dict[str, int | str]:
    """The figures of the live page."""
    delays = sorted(one.p50_ms for one in snapshot.custody if one.p50_ms is not None)
    return {
        "things": len(snapshot.things),
        "stored": snapshot.stored,
        "duplicates": sum(one.duplicates for one in snapshot.custody),
        "lost": sum(one.declared_lost for one in snapshot.custody),
        "delay": _delay(delays[len(delays) // 2], language) if delays else "–",
    }


def _delay(ms: float, language: str) -> str:
    return f"{number(ms, 0)} ms" if ms < 10_000 else span(ms, language)


def custody(snapshot: Snapshot) -> dict[str, int | str]:
    """The equation over all gateways."""
    return {term: sum(getattr(account, term) for account in snapshot.accounts) for term in CUSTODY}
