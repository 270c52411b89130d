"""The cards: one thing each, its values as tiles that can be tapped. Ages are counted in the browser (ages.js)."""

from collections.abc import Awaitable, Callable

from nicegui import ui

from hub.page.numbers import shown
from hub.page.snapshot import Snapshot
from hub.page.texts import DEFAULT_ICON, ICONS, VITALS, quality_text, unit_text, word
from hub.store.querying import StreamNow, ThingNow

Choose = Callable[[ThingNow, StreamNow], Awaitable[None]]


class _Tile:
    """One stream's name, value, unit, age and doubts."""

    def __init__(self, stream: StreamNow, language: str, *, large: bool):
        self._language = language
        self.button = ui.element("button").classes("tile large" if large else "tile")
        self.button.props(f"type=button aria-pressed=false data-stream={stream.thing}.{stream.metric}")
        with self.button:
            ui.label(stream.name[language]).classes("tile-name")
            with ui.element("div").classes("tile-value"):
                self._value = ui.label("–").classes("value")
                ui.label(unit_text(stream.unit, language)).classes("unit")
            with ui.element("div").classes("tile-foot"):
                self._age = ui.element("span").classes("age")
                self._note = ui.label().classes("note")

    def show(self, stream: StreamNow, interval_ms: float) -> None:
        latest = stream.latest
        if latest is None:
            self._note.text = word("no_value", self._language)
            return
        self._value.text = shown(stream, self._language)
        self._age.props(f"data-at={latest.time_ms} data-interval={round(interval_ms)}")
        notes = [word("backfill", self._language)] if latest.backfill else []
        notes.append(quality_text(latest.quality, self._language))
        self._note.text = " · ".join(note for note in notes if note)

    def mark(self, *, chosen: bool) -> None:
        self.button.props(f"aria-pressed={'true' if chosen else 'false'}")


class _Card:
    """One thing."""

    def __init__(self, thing: ThingNow, streams: list[StreamNow], language: str):
        self._language = language
        large = {s.metric for s in streams if s.metric in VITALS} or {s.metric for s in streams[:1]}
        self.tiles: dict[str, _Tile] = {}
        with ui.element("article").classes("card").props(f"data-thing={thing.id}"):
            with ui.element("div").classes("card-head"):
                with ui.element("span").classes("icon"):
                    ui.icon(ICONS.get(thing.kind, DEFAULT_ICON))
                with ui.element("div").classes("card-title"):
                    ui.label(thing.name[language]).classes("name")
                    ui.label(f"{thing.maker} · {thing.id}").classes("model")
                self._state = ui.label().classes("state")
            self._reason = ui.label().classes("reason")
            for name, size in (("vitals", True), ("others", False)):
                with ui.element("div").classes(f"tiles {name}"):
                    for stream in streams:
                        if (stream.metric in large) == size:
                            self.tiles[stream.metric] = _Tile(stream, language, large=size)

    def show(self, thing: ThingNow, streams: list[StreamNow], snapshot: Snapshot) -> None:
        self._state.text = word(thing.state, self._language)
        self._state.classes(replace=f"state {thing.state}")
        self._reason.text = word(thing.reason, self._language) if thing.state != "online" else ""
        self._reason.set_visibility(bool(self._reason.text))
        for stream in streams:
            self.tiles[stream.metric].show(stream, snapshot.intervals_ms.get(stream.id, 0))


def _told(thing: ThingNow, snapshot: Snapshot) -> list[StreamNow]:
    """The streams of a thing that have ever had a value; all, if none has.

    A model may declare more than this device of it has: a sensor node's sensors are those of its board.
    """
    streams = list(snapshot.streams.get(thing.id, []))
    return [stream for stream in streams if stream.latest] or streams


class Cards:
    """All cards of one open page. They are built anew when the things or their metrics change."""

    def __init__(self, language: str, choose: Choose):
        self._language = language
        self._choose = choose
        self._built: object = None
        self._cards: dict[str, _Card] = {}
        self._chosen: tuple[str, str] | None = None
        self._box = ui.element("section").classes("cards")

    def show(self, snapshot: Snapshot) -> None:
        """Bring every card up to date."""
        described = [
            (
                thing.id,
                thing.kind,
                thing.name[self._language],
                [s.metric + s.unit for s in _told(thing, snapshot)],
            )
            for thing in snapshot.things
        ]
        if described != self._built:
            self._build(snapshot)
            self._built = described
        for thing in snapshot.things:
            self._cards[thing.id].show(thing, _told(thing, snapshot), snapshot)

    async def choose_first(self, snapshot: Snapshot, wanted: str) -> None:
        """Choose the stream that is wanted ("thing.metric"), else the first vital there is, so that a wide screen has a
        chart from the start.
        """
        all_ = [(thing, stream) for thing in snapshot.things for stream in snapshot.streams.get(thing.id, [])]
        found = [(thing, stream) for thing, stream in all_ if f"{thing.id}.{stream.metric}" == wanted]
        found += [(thing, stream) for thing, stream in all_ if stream.metric in VITALS and stream.latest]
        for thing, stream in found[:1]:
            self._mark((thing.id, stream.metric))
            await self._choose(thing, stream)

    def unmark(self) -> None:
        """No stream is shown in the chart any more."""
        self._mark(None)

    def _build(self, snapshot: Snapshot) -> None:
        self._box.clear()
        self._cards.clear()
        with self._box:
            if not snapshot.things:
                ui.label(word("nothing", self._language)).classes("nothing")
            for thing in snapshot.things:
                streams = _told(thing, snapshot)
                self._cards[thing.id] = card = _Card(thing, streams, self._language)
                for stream in streams:
                    card.tiles[stream.metric].button.on("click", self._chooser(thing, stream))
        self._mark(self._chosen)

    def _chooser(self, thing: ThingNow, stream: StreamNow) -> Callable[[], Awaitable[None]]:
        async def chosen() -> None:
            self._mark((thing.id, stream.metric))
            await self._choose(thing, stream)

        return chosen

    def _mark(self, chosen: tuple[str, str] | None) -> None:
        for thing, metric in {self._chosen, chosen} - {None}:  # type: ignore[misc]
            if thing in self._cards and metric in self._cards[thing].tiles:
                self._cards[thing].tiles[metric].mark(chosen=(thing, metric) == chosen)
        self._chosen = chosen
