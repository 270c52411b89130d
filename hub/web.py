"""The program that serves the web API, its documentation and the live page.

It only reads the store; what people do it writes down for ingest.
"""

import asyncio
import logging
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from fastapi_offline import FastAPIOffline
from nicegui import ui
from pydantic import BaseModel

from hub import (
    alarm_route,
    api,
    enrol_route,
    feed_route,
    gateway_route,
    ingest_metrics,
    metrics,
    notify_route,
    problems,
)
from hub.deeds import Deeds
from hub.errors import SetupError
from hub.feed import Feed
from hub.notify.outbox import Outbox
from hub.page import custody, live
from hub.page.snapshot import Snapshots
from hub.problems import ProblemError
from hub.store.alarm_book import AlarmBook
from hub.store.querying import Querying
from hub.store.schema import prepare_if_possible
from runtime.metrics import CONTENT_TYPE
from runtime.process import port_in_use

_DESCRIPTION = "Things, their streams of readings, and where each reading is. Times are Unix milliseconds, UTC."

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 22 22"><rect width="22" height="22" rx="7" fill="#0b7d6e"/>'
    '<path d="M7 6v7a3 3 0 0 0 3 3h2a3 3 0 0 0 3-3V6" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)


class Health(BaseModel):
    """The hub stores what gateways send, and its store can be read."""

    status: str
    things: int


def make_app(data: Path) -> FastAPI:
    """The whole application. /docs needs no other host: its assets are served from here."""
    store, feed = Querying(data), Feed(data)
    app = FastAPIOffline(
        title="Kerb hub",
        version="1",
        description=_DESCRIPTION,
        redoc_url=None,
        static_url="/docs-assets",
        lifespan=feed.running,
    )
    problems.install(app)
    app.include_router(enrol_route.make_router(data))  # before the rest, which ends with an answer to every other path
    app.include_router(gateway_route.make_router(store))
    deeds, outbox = Deeds(data), Outbox(data)
    app.include_router(alarm_route.make_router(AlarmBook(data), deeds, outbox))
    app.include_router(feed_route.make_router(feed))
    app.include_router(notify_route.make_router(outbox))
    app.include_router(api.make_router(store))

    @app.get("/healthz", tags=["health"])
    async def health() -> Health:
        """200 while all is well; 503 while the store cannot be read or written, or ingest is away."""
        ingest = await ingest_metrics.ask(data)
        if ingest.failure:
            raise ProblemError(503, "Nothing can be stored now", "ingest", ingest.failure)
        return Health(status="ok", things=len(await asyncio.to_thread(store.things)))

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def figures() -> Response:
        """The hub's figures for Prometheus, those of ingest with them."""
        return Response(await metrics.exposition(store, outbox, feed, data), media_type=CONTENT_TYPE)

    snapshots = Snapshots(store, data)
    live.install(store, snapshots, deeds)
    custody.install(store, snapshots)
    ui.run_with(app, title="Kerb", favicon=_ICON, dark=None, show_welcome_message=False, tailwind=False)
    return app


def run(data: Path, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises SetupError if the port is taken."""
    prepare_if_possible(data)
    if port_in_use(host, port):
        raise SetupError(f"port {port} on {host} is in use; choose another one with --port")
    logging.getLogger("nicegui").setLevel(logging.WARNING)
    # Open pages hold their connections for as long as they live; they find us again after a restart.
    uvicorn.run(
        make_app(data), host=host, port=port, access_log=False, log_level="warning", timeout_graceful_shutdown=1
    )
