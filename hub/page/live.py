"""The live page at /: assembled from the header, the cards and the chart, and refreshed each second."""

import json
import time
from pathlib import Path

from fastapi import Request
from nicegui import ui

from hub.page.cards import Cards
from hub.page.header import Header
from hub.page.panel import Panel
from hub.page.snapshot import Snapshots
from hub.page.texts import language_of
from hub.store.querying import Querying

_HERE = Path(__file__).parent
_STYLE = (_HERE / "style.css").read_text(encoding="utf-8")
_SCRIPT = (_HERE / "ages.js").read_text(encoding="utf-8")
_REFRESH_S = 1.0
_THEMES = {"dark": True, "light": False}  # else as the person's system has it


def install(store: Querying) -> None:
    """Register the page with NiceGUI."""
    snapshots = Snapshots(store)

    @ui.page("/")
    async def live(request: Request) -> None:
        language = language_of(request.headers.get("accept-language", ""), request.cookies.get("language"))
        _head(language)
        ui.dark_mode(_THEMES.get(request.cookies.get("theme", "")))
        page = ui.element("main").classes("page")
        with page:
            header = Header(language)
            # "auto": nobody has chosen a stream yet. A phone then shows no chart.
            with ui.element("div").classes("body auto") as body:
                panel = Panel(store, language)
                cards = Cards(language, panel.choose)
            body.on("click", lambda: body.classes(remove="auto"))
            panel.on_close(cards.unmark)

        async def refresh() -> None:
            snapshot = await snapshots.get()
            header.show(snapshot)
            if snapshot is not None:
                cards.show(snapshot)
                if panel.untouched:
                    await cards.choose_first(snapshot)
                await panel.show(snapshot)

        await refresh()
        ui.timer(_REFRESH_S, refresh, immediate=False)


def _head(language: str) -> None:
    """Style and script travel in the page itself; the clock of the hub goes with them, since a browser's may differ."""
    settings = json.dumps({"language": language, "now": time.time_ns() // 1_000_000})
    ui.add_head_html(f"<style>{_STYLE}</style><script>const KERB = {settings};\n{_SCRIPT}</script>")
