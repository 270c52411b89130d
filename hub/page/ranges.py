"""The buttons that choose how much of the past a chart shows."""

from collections.abc import Awaitable, Callable, Iterable

from nicegui import ui

from hub.page.texts import word


class Ranges:
    """One button a range; `now` is the chosen one's name. `changed` is called when a person chooses another."""

    def __init__(self, names: Iterable[str], now: str, language: str, changed: Callable[[], Awaitable[None]]):
        self.now = now
        self._changed = changed
        with ui.element("div").classes("ranges"):
            self._buttons = {name: self._button(name, language) for name in names}

    def _button(self, name: str, language: str) -> ui.element:
        button = ui.element("button").classes("range")
        button.props(f"type=button data-range={name} aria-pressed={'true' if name == self.now else 'false'}")
        with button:
            ui.label(word(f"range_{name}", language))

        async def chosen() -> None:
            self.now = name
            for other, one in self._buttons.items():
                one.props(f"aria-pressed={'true' if other == name else 'false'}")
            await self._changed()

        return button.on("click", chosen)
