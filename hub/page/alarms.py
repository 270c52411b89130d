"""The alarms that there are, above all else on the live page: what needs somebody first."""

import asyncio
from functools import partial

from nicegui import ui

from hub.deeds import ACKNOWLEDGE, SHELVE, Deeds
from hub.errors import StoreError
from hub.page.numbers import shown
from hub.page.snapshot import Snapshot
from hub.page.texts import unit_text, word
from hub.store.alarm_book import AlarmNow
from hub.store.querying import Point
from hub.store.writing import now_ms
from protocols.reading import GOOD, to_text

SHELF_S = 1800
WHO = "console"  # whoever sits before it: there are no people yet who could sign in
_SHOWN = 20  # rows; more are counted


class AlarmList:
    """The list of one open page; built anew when an alarm has changed. Nothing is shown where there is none."""

    def __init__(self, deeds: Deeds, language: str):
        self._deeds = deeds
        self._language = language
        self._built: object = None
        self._box = ui.element("section").classes("alarms").props("aria-live=polite")
        self._box.set_visibility(False)

    def show(self, snapshot: Snapshot) -> None:
        """Bring the list up to date."""
        alarms = list(snapshot.alarms)
        if alarms == self._built:
            return
        self._built = alarms
        self._box.clear()
        self._box.set_visibility(bool(alarms))
        with self._box:
            text = word("one_alarm" if len(alarms) == 1 else "alarms", self._language)
            ui.label(text.format(len(alarms))).classes("alarms-title")
            for alarm in alarms[:_SHOWN]:
                self._row(alarm, snapshot)
            if len(alarms) > _SHOWN:
                ui.label(word("more_alarms", self._language).format(len(alarms) - _SHOWN)).classes("alarms-more")

    def _row(self, alarm: AlarmNow, snapshot: Snapshot) -> None:
        language = self._language
        names = {thing.id: thing.name[language] for thing in snapshot.things}
        row = ui.element("article").classes(f"alarm-row {alarm.priority} {alarm.state}")
        with row.props(f"data-alarm={alarm.rule}.{alarm.thing}"):
            ui.label(word(alarm.priority, language)).classes("alarm-priority")
            with ui.element("div").classes("alarm-text"):
                ui.label(alarm.name[language]).classes("alarm-name")
                ui.label(f"{names.get(alarm.thing, alarm.thing)} · {alarm.thing}").classes("alarm-thing")
            ui.label(self._cause(alarm, snapshot)).classes("alarm-cause")
            ui.element("span").classes("age").props(f"data-at={alarm.onset_ms} data-interval=0")
            ui.label(word(alarm.state, language)).classes("alarm-state")
            with ui.element("div").classes("alarm-deeds") as box:
                if alarm.state == "active":
                    self._button(alarm, ACKNOWLEDGE, 0, box)
                if alarm.state == "shelved":
                    self._button(alarm, "unshelve", 0, box)
                else:
                    self._button(alarm, SHELVE, SHELF_S, box)

    def _button(self, alarm: AlarmNow, name: str, seconds: int, box: ui.element) -> None:
        """Writes the deed down; until the alarm has changed by it, it is told that it is under way."""
        what = ACKNOWLEDGE if name == ACKNOWLEDGE else SHELVE
        key = (alarm.rule, alarm.thing, alarm.onset_ms)

        async def clicked() -> None:
            add = partial(self._deeds.add, what, key, who=WHO, time_ms=now_ms(), seconds=seconds)
            try:
                await asyncio.to_thread(add)
                told = word("under_way", self._language)
            except StoreError as error:
                told = word("no_storing", self._language).format(word(error.reason, self._language))
            box.clear()
            with box:
                ui.label(told).classes("alarm-told")

        button = ui.element("button").classes("alarm-button").props(f"type=button data-deed={name}")
        with button.on("click", clicked):
            ui.label(word(name, self._language))

    def _cause(self, alarm: AlarmNow, snapshot: Snapshot) -> str:
        """The reading with which it began."""
        if not alarm.metric:
            return ""
        streams = snapshot.streams.get(alarm.thing, [])
        stream = next((stream for stream in streams if stream.metric == alarm.metric), None)
        if stream is None:
            return f"{alarm.metric} {to_text(alarm.value)}".rstrip()
        began = stream._replace(latest=Point(alarm.onset_ms, alarm.value, None, GOOD, False))
        unit = unit_text(stream.unit, self._language)
        return f"{stream.name[self._language]} {shown(began, self._language)} {unit}".rstrip()
