"""The chart panel: beside the cards on a wide screen, a sheet from below on a phone."""

import asyncio
import time
from collections.abc import Callable

from nicegui import ui

from hub.errors import DamagedBlockError, StoreError
from hub.page import chart
from hub.page.numbers import number, shown
from hub.page.ranges import Ranges
from hub.page.snapshot import Snapshot
from hub.page.texts import decimals, unit_text, word
from hub.store.querying import Querying, StreamNow, ThingNow
from hub.store.steps import Step
from hub.store.writing import now_ms

_EVERY_S = {"15m": 2.0, "1h": 5.0, "1d": 30.0}


class Panel:
    """The chart of one open page. `untouched`: no stream was ever chosen."""

    def __init__(self, store: Querying, language: str):
        self.untouched = True
        self._store = store
        self._language = language
        self._thing: ThingNow | None = None
        self._stream: StreamNow | None = None
        self._interval_ms = 0.0
        self._drawn_at = 0.0
        self._on_close: Callable[[], None] = lambda: None
        self._box = ui.element("aside").classes("panel empty")
        with self._box:
            with ui.element("div").classes("panel-head"):
                with ui.element("div").classes("panel-title"):
                    self._name = ui.label(word("choose", language)).classes("name")
                    self._owner = ui.label().classes("model")
                self._now = ui.label().classes("panel-now")
                close = ui.element("button").classes("close")
                close.props(f'type=button aria-label="{word("close", language)}"').on("click", self._close)
                with close:
                    ui.icon("close")
            self._ranges = Ranges(chart.RANGES, "15m", language, self._draw)
            self._chart = ui.echart({"series": []}).classes("chart")
            self._empty = ui.label(word("no_numbers", language)).classes("no-numbers")
            with ui.element("div").classes("summary"):
                self._summary = {key: self._figure(key) for key in ("least", "mean", "greatest")}

    def on_close(self, callback: Callable[[], None]) -> None:
        """Whom to tell when a person closes the chart."""
        self._on_close = callback

    async def choose(self, thing: ThingNow, stream: StreamNow) -> None:
        """Show this stream."""
        self.untouched = False
        self._thing, self._stream, self._interval_ms = thing, stream, 0.0
        self._box.classes(remove="empty")
        await self._draw()

    async def show(self, snapshot: Snapshot) -> None:
        """Bring the panel up to date."""
        if self._thing is None or self._stream is None:
            return
        streams = snapshot.streams.get(self._thing.id, [])
        found = next((stream for stream in streams if stream.metric == self._stream.metric), None)
        if found is None:
            self._close()
            return
        self._stream = found
        self._interval_ms = snapshot.intervals_ms.get(found.id, 0)
        self._show_now()
        if time.monotonic() - self._drawn_at >= _EVERY_S[self._ranges.now]:
            await self._draw()

    async def _draw(self) -> None:
        thing, stream = self._thing, self._stream
        if thing is None or stream is None:
            return
        self._drawn_at = time.monotonic()
        span_ms, step_ms = chart.RANGES[self._ranges.now]
        end = now_ms()
        steps: list[Step] = []
        nothing = "no_numbers"
        try:
            steps = await asyncio.to_thread(self._store.steps, stream.id, end - span_ms, end + 1, step_ms)
        except DamagedBlockError:
            nothing = "damaged"
        except StoreError:
            return  # the header says that the store cannot be read
        self._empty.text = word(nothing, self._language)
        self._name.text = stream.name[self._language]
        self._owner.text = thing.name[self._language]
        self._show_now()
        self._chart.options.clear()
        self._chart.options.update(
            chart.options(
                steps,
                name=stream.name[self._language],
                unit=unit_text(stream.unit, self._language),
                places=decimals(stream.metric, stream.unit),
                language=self._language,
                now_ms=end,
                range_name=self._ranges.now,
                interval_ms=self._interval_ms,
            )
        )
        self._chart.update()
        self._show_summary(steps, decimals(stream.metric, stream.unit))

    def _show_now(self) -> None:
        if self._stream and self._stream.latest:
            unit = unit_text(self._stream.unit, self._language)
            self._now.text = f"{shown(self._stream, self._language)} {unit}"

    def _show_summary(self, steps: list[Step], places: int | None) -> None:
        found = chart.summary(steps)
        self._empty.set_visibility(found is None)
        for key, value in zip(("least", "mean", "greatest"), found or (None, None, None), strict=True):
            self._summary[key].text = "–" if value is None else number(value, places)

    def _figure(self, key: str) -> ui.label:
        with ui.element("div").classes("summary-figure"):
            ui.label(word(key, self._language)).classes("summary-name")
            return ui.label("–").classes("summary-value")

    def _close(self) -> None:
        self._thing = self._stream = None
        self._box.classes(add="empty")
        self._on_close()
