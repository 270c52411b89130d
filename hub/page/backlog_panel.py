"""The panel with a gateway's backlog over time: beside the cards on a wide screen, a sheet from below on a phone."""

import asyncio
import time
from collections.abc import Callable

from nicegui import ui

from hub.errors import StoreError
from hub.page import backlog
from hub.page.accounts import at_least, oldest_text
from hub.page.numbers import span
from hub.page.ranges import Ranges
from hub.page.snapshot import Snapshot
from hub.page.texts import word
from hub.store.accounts import Account, Backlog
from hub.store.querying import Querying
from hub.store.writing import now_ms

_EVERY_S = 5.0


class BacklogPanel:
    """The backlog of one gateway. `untouched`: none was ever chosen."""

    def __init__(self, store: Querying, language: str):
        self.untouched = True
        self._store = store
        self._language = language
        self._account: Account | None = None
        self._drawn_at = 0.0
        self._on_close: Callable[[], None] = lambda: None
        self._box = ui.element("aside").classes("panel empty")
        with self._box:
            with ui.element("div").classes("panel-head"):
                with ui.element("div").classes("panel-title"):
                    self._name = ui.label(word("choose_gateway", language)).classes("name")
                    ui.label(word("backlog", language)).classes("model")
                self._now = ui.label().classes("panel-now")
                close = ui.element("button").classes("close")
                close.props(f'type=button aria-label="{word("close", language)}"').on("click", self._close)
                with close:
                    ui.icon("close")
            self._ranges = Ranges(backlog.RANGES, "1h", language, self._draw)
            self._chart = ui.echart({"series": []}).classes("chart")
            with ui.element("div").classes("summary"):
                self._most, self._longest, self._oldest = (
                    self._figure(key) for key in ("most_held", "longest_held", "oldest_now")
                )

    def on_close(self, callback: Callable[[], None]) -> None:
        """Whom to tell when a person closes the chart."""
        self._on_close = callback

    async def choose(self, account: Account) -> None:
        """Show this gateway."""
        self.untouched = False
        self._account = account
        self._box.classes(remove="empty")
        await self._draw()

    async def show(self, snapshot: Snapshot) -> None:
        """Bring the panel up to date."""
        if self._account is None:
            return
        account = next((one for one in snapshot.accounts if one.gateway == self._account.gateway), None)
        if account is None:
            self._close()
            return
        self._account = account
        names = {gateway.id: gateway.name[self._language] for gateway in snapshot.gateways}
        self._name.text = names.get(account.gateway, account.gateway)
        self._now.text = at_least(f"{self._account.buffered:,}", self._account)
        self._oldest.text = oldest_text(self._account, self._language)
        if time.monotonic() - self._drawn_at >= _EVERY_S:
            await self._draw()

    async def _draw(self) -> None:
        account = self._account
        if account is None:
            return
        self._drawn_at = time.monotonic()
        span_ms, step_ms = backlog.RANGES[self._ranges.now]
        end = now_ms()
        try:
            rows = await asyncio.to_thread(self._store.backlog, account.gateway, end - span_ms, end + 1, step_ms)
        except StoreError:
            return  # the header says that the store cannot be read
        self._chart.options.clear()
        self._chart.options.update(
            backlog.options(
                rows,
                buffered=account.buffered,
                heard_ms=account.heard.heard_ms if account.heard else end,
                online=account.online,
                language=self._language,
                now_ms=end,
                range_name=self._ranges.now,
            )
        )
        self._chart.update()
        self._show_summary(rows)

    def _show_summary(self, rows: list[Backlog]) -> None:
        self._most.text = f"{max((row.readings for row in rows), default=0):,}"
        longest_ms = max((row.age_ms for row in rows), default=0)
        self._longest.text = span(longest_ms, self._language) if longest_ms else "–"

    def _close(self) -> None:
        self._account = None
        self._box.classes(add="empty")
        self._on_close()

    def _figure(self, key: str) -> ui.label:
        with ui.element("div").classes("summary-figure"):
            ui.label(word(key, self._language)).classes("summary-name")
            return ui.label("–").classes("summary-value")
