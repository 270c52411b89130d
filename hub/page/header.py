"""The top line: where one is, the gateways' states, and what a person must see before anything else."""

from nicegui import ui

from hub.page.snapshot import Snapshot
from hub.page.texts import word

_PAGES = {"live": "/", "custody": "/custody"}
_NAMED = 3  # gateways; more are counted


class Header:
    """The top line of one open page; `here` is the page's name."""

    def __init__(self, language: str, here: str):
        self.language = language
        with ui.element("header").classes("top"):
            with ui.element("div").classes("brand"):
                ui.element("span").classes("mark")
                ui.label(word("title", language)).classes("brand-name")
            with ui.element("nav").classes("pages"):
                for name, path in _PAGES.items():
                    link = ui.link(word(f"page_{name}", language), path).classes("tool")
                    link.props(f"aria-current={'page' if name == here else 'false'}")
            with ui.element("div").classes("gateways"):
                self._dot = ui.element("span").classes("dot")
                self._gateways = ui.label()
            self._tools()
        self._alarm = ui.label().classes("alarm").props("role=alert")
        self._alarm.set_visibility(False)

    def show(self, snapshot: Snapshot | None, failure: str) -> None:
        """Bring the line up to date; None: the store cannot be read, for the reason that `failure` gives."""
        if snapshot is None:
            self._gateways.text = word("no_store", self.language).format(word(failure, self.language))
            self._dot.classes(replace="dot offline")
            return
        self._gateways.text = self._summary(snapshot) or word("no_gateway", self.language)
        states = {gateway.state for gateway in snapshot.gateways}
        self._dot.classes(replace=f"dot {'offline' if 'offline' in states else 'online' if states else 'waiting'}")
        reason = word(snapshot.failure, self.language)
        self._alarm.text = word("no_storing", self.language).format(reason)
        self._alarm.set_visibility(bool(snapshot.failure))

    def _summary(self, snapshot: Snapshot) -> str:
        gateways = snapshot.gateways
        if len(gateways) > _NAMED:
            online = sum(gateway.state == "online" for gateway in gateways)
            return word("gateways_online", self.language).format(f"{online:,}", f"{len(gateways):,}")
        return ",  ".join(f"{g.name[self.language]} · {word(g.state, self.language)}" for g in gateways)

    def _tools(self) -> None:
        language = self.language
        with ui.element("div").classes("tools"):
            ui.link(word("api", language), "/docs").classes("tool")
            other = "zh" if language == "en" else "en"
            switch = ui.element("button").classes("tool language")
            switch.props(f'type=button lang={other} aria-label="{word("language", language)}"')
            with switch:
                ui.label(word("language", language))
            switch.on("click", js_handler=f'() => choose("language", "{other}")')
            theme = ui.element("button").classes("tool theme")
            theme.props(f'type=button aria-label="{word("theme", language)}"')
            with theme:
                ui.icon("contrast")
            theme.on("click", js_handler="() => chooseTheme()")
