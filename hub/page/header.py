"""The top line: the gateway's state, and how much is stored."""

from nicegui import ui

from hub.page.numbers import number
from hub.page.snapshot import Snapshot
from hub.page.texts import word


class Header:
    """The top line of one open page."""

    def __init__(self, language: str):
        self._language = language
        with ui.element("header").classes("top"):
            with ui.element("div").classes("brand"):
                ui.element("span").classes("mark")
                ui.label(word("title", language)).classes("brand-name")
            with ui.element("div").classes("gateways"):
                self._dot = ui.element("span").classes("dot")
                self._gateways = ui.label()
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
        with ui.element("section").classes("figures"):
            self._figures = {key: self._figure(key) for key in ("things", "stored", "duplicates", "lost", "delay")}

    def _figure(self, key: str) -> ui.label:
        with ui.element("div").classes(f"figure figure-{key}"):
            value = ui.label("–").classes("figure-value")
            ui.label(word(key, self._language)).classes("figure-name")
        return value

    def show(self, snapshot: Snapshot | None) -> None:
        """Bring the line up to date; None: the store cannot be read."""
        if snapshot is None:
            self._gateways.text = word("no_store", self._language)
            self._dot.classes(replace="dot offline")
            return
        texts = [f"{g.name[self._language]} · {word(g.state, self._language)}" for g in snapshot.gateways]
        self._gateways.text = ",  ".join(texts) or word("no_gateway", self._language)
        states = {gateway.state for gateway in snapshot.gateways}
        self._dot.classes(replace=f"dot {'offline' if 'offline' in states else 'online' if states else 'waiting'}")
        duplicates = sum(one.duplicates for one in snapshot.custody)
        lost = sum(one.declared_lost for one in snapshot.custody)
        delays = sorted(one.p50_ms for one in snapshot.custody if one.p50_ms is not None)
        self._figures["things"].text = str(len(snapshot.things))
        self._figures["stored"].text = f"{snapshot.stored:,}"
        self._figures["duplicates"].text = f"{duplicates:,}"
        self._figures["lost"].text = f"{lost:,}"
        self._figures["delay"].text = f"{number(delays[len(delays) // 2], 0)} ms" if delays else "–"
        for key, bad in (("duplicates", duplicates), ("lost", lost)):
            self._figures[key].classes(**({"add": "alert"} if bad else {"remove": "alert"}))
