"""The web API's event feed: server-sent events (WHATWG HTML, 9.2) that begin where a client left off."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints
from starlette.types import Message, Send

from hub.feed import MAX_CLIENTS, Feed
from hub.problems import Problem, ProblemError

logger = logging.getLogger(__name__)

_MOST_THINGS = 1000
_SEND_S = 15.0  # for which a client may leave what was sent to it unread
_ThingId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

# Event, whether it has an id, its data.
_EVENTS = (
    (
        "begin",
        "yes",
        "`missed`: whether something since the client's last event may be gone; look at `/api/v1/alarms/history`",
    ),
    (
        "alarm",
        "yes",
        "a change of an alarm: `rule`, `thing`, `onset_ms`, `number` (of two, the greater is the later), `state`,"
        " `time_ms`, `priority`, `version`, `metric`, `value`, `who`, `origin`",
    ),
    (
        "escalation",
        "yes",
        "nobody has acknowledged an alarm: `rule`, `thing`, `onset_ms`, `step`, `to`, `time_ms`",
    ),
    ("gateway", "yes", "a gateway has come on line or gone: `gateway`, `state`, `time_ms`"),
    (
        "reading",
        "no",
        "the newest value of a stream of the chosen things: `thing`, `metric`, `unit`, `time_ms`, `value`, `text`,"
        " `quality`, `quality_name`, `backfill`; at the beginning, and when it has changed, at most four times a"
        " second; it may be told twice",
    ),
    ("end", "no", "`reason` for which the hub lets the client go"),
)
_DESCRIPTION = f"""Server-sent events, for as long as the client listens. Each has a name and JSON:

| event | id | data |
|---|---|---|
{chr(10).join(f"| `{name}` | {has_id} | {data} |" for name, has_id, data in _EVENTS)}

With the header `Last-Event-ID`, which browsers send by themselves, all events since then come first, for a week; each
comes once. A comment every 15 s shows that the line is alive.
"""


class EventStream(StreamingResponse):
    """Server-sent events; a client that does not read them is let go."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, messages: AsyncGenerator[bytes, None]):
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # nor may a proxy keep them
        super().__init__(messages, headers=headers)
        self._feed = feed
        self._messages = messages

    async def stream_response(self, send: Send) -> None:
        """Send them all; each must be taken in time."""

        async def limited(part: Message) -> None:
            async with asyncio.timeout(_SEND_S):
                await send(part)

        try:
            await super().stream_response(limited)
        except TimeoutError:
            self._feed.let_go += 1
            logger.warning("a client of the event feed has read nothing for %.0f s, and is let go", _SEND_S)
        finally:
            await self._messages.aclose()


def make_router(feed: Feed) -> APIRouter:
    """The route, over this feed."""
    responses: dict[int | str, dict[str, object]] = {
        200: {"description": "events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        422: {"model": Problem, "description": "a field is not valid"},
        503: {"model": Problem, "description": "too many listen, or the store cannot be read"},
    }
    router = APIRouter(prefix="/api/v1", tags=["events"])

    @router.get("/events", description=_DESCRIPTION, responses=responses, response_class=Response)
    async def events(
        thing: Annotated[
            list[_ThingId] | None,
            Query(max_length=_MOST_THINGS, description="only of these things, or gateways, and their values, too"),
        ] = None,
        last_event_id: Annotated[
            int | None, Header(ge=0, le=(1 << 63) - 1, description="the id of the last event that was heard")
        ] = None,
    ) -> Response:
        if feed.clients >= MAX_CLIENTS:
            raise ProblemError(503, "Too many listen", "events", f"{MAX_CLIENTS} clients do already")
        await feed.ready()
        return EventStream(feed, feed.listen(thing or (), last_event_id))

    return router
