"""What every page has: style and script, language and theme, and the top line."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import Request
from nicegui import ui

from hub.page.header import Header
from hub.page.texts import language_of

REFRESH_S = 1.0

_HERE = Path(__file__).parent
_STYLE = "".join((_HERE / f"{name}.css").read_text(encoding="utf-8") for name in ("style", "alarms", "custody"))
_SCRIPT = (_HERE / "page.js").read_text(encoding="utf-8")
_THEMES = {"dark": True, "light": False}  # else as the person's system has it


@contextmanager
def frame(request: Request, here: str) -> Iterator[Header]:
    """A page of this name, to be filled; its header knows the language. It is the person's, who may have chosen it."""
    language = language_of(request.headers.get("accept-language", ""), request.cookies.get("language"))
    # Style and script travel in the page itself; the clock of the hub goes with them, since a browser's may differ.
    settings = json.dumps({"language": language, "now": time.time_ns() // 1_000_000})
    ui.add_head_html(f"<style>{_STYLE}</style><script>const KERB = {settings};\n{_SCRIPT}</script>")
    ui.dark_mode(_THEMES.get(request.cookies.get("theme", "")))
    with ui.element("main").classes("page"):
        yield Header(language, here)
