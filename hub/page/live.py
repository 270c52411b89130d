"""The live page at /: every thing with its last values, and a chart of one stream; refreshed each second."""

from fastapi import Request
from nicegui import ui

from hub.deeds import Deeds
from hub.page import figures
from hub.page.alarms import AlarmList
from hub.page.cards import Cards
from hub.page.figures import Figures
from hub.page.frame import REFRESH_S, frame
from hub.page.panel import Panel
from hub.page.snapshot import Snapshots
from hub.store.querying import Querying


def install(store: Querying, snapshots: Snapshots, deeds: Deeds) -> None:
    """Register the page with NiceGUI."""

    @ui.page("/")
    async def live(request: Request) -> None:
        wanted = request.query_params.get("stream", "")  # as page.js keeps it in the address
        with frame(request, "live") as header:
            numbers = Figures(figures.LIVE, header.language)
            alarms = AlarmList(deeds, header.language)
            # "auto": nobody has chosen a stream yet. A phone then shows no chart.
            with ui.element("div").classes("body" if wanted else "body auto") as body:
                panel = Panel(store, header.language)
                cards = Cards(header.language, panel.choose)
            body.on("click", lambda: body.classes(remove="auto"))
            panel.on_close(cards.unmark)

        async def refresh() -> None:
            snapshot = await snapshots.get()
            header.show(snapshot, snapshots.failure)
            if snapshot is not None:
                numbers.show(figures.live(snapshot, header.language))
                alarms.show(snapshot)
                cards.show(snapshot)
                if panel.untouched:
                    await cards.choose_first(snapshot, wanted)
                await panel.show(snapshot)

        await refresh()
        ui.timer(REFRESH_S, refresh, immediate=False)
