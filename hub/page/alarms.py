"""The alarms that there are, above all else on the live page: what needs somebody first."""

from nicegui import ui

from hub.page.numbers import shown
from hub.page.snapshot import Snapshot
from hub.page.texts import unit_text, word
from hub.store.alarm_book import AlarmNow
from hub.store.querying import Point
from protocols.reading import GOOD, to_text

_SHOWN = 20  # rows; more are counted


class AlarmList:
    """The list of one open page; built anew when an alarm has changed. Nothing is shown where there is none."""

    def __init__(self, language: str):
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
