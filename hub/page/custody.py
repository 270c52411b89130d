"""The page at /custody: where each gateway's readings are, and what it held when; refreshed each second."""

from fastapi import Request
from nicegui import ui

from hub.page import figures
from hub.page.accounts import Accounts
from hub.page.backlog_panel import BacklogPanel
from hub.page.figures import Figures
from hub.page.frame import REFRESH_S, frame
from hub.page.restored import Restored
from hub.page.snapshot import Snapshots
from hub.store.querying import Querying


def install(store: Querying, snapshots: Snapshots) -> None:
    """Register the page with NiceGUI."""

    @ui.page("/custody")
    async def custody(request: Request) -> None:
        wanted = request.query_params.get("gateway", "")  # as page.js keeps it in the address
        with frame(request, "custody") as header:
            restored = Restored(header.language)
            numbers = Figures(figures.CUSTODY, header.language)
            # "auto": nobody has chosen a gateway yet. A phone then shows no chart.
            with ui.element("div").classes("body" if wanted else "body auto") as body:
                panel = BacklogPanel(store, header.language)
                accounts = Accounts(header.language, panel.choose)
            body.on("click", lambda: body.classes(remove="auto"))
            panel.on_close(accounts.unmark)

        async def refresh() -> None:
            snapshot = await snapshots.get()
            header.show(snapshot, snapshots.failure)
            if snapshot is not None:
                restored.show(snapshot)
                numbers.show(figures.custody(snapshot))
                accounts.show(snapshot)
                if panel.untouched:
                    await accounts.choose_first(wanted)
                await panel.show(snapshot)

        await refresh()
        ui.timer(REFRESH_S, refresh, immediate=False)
