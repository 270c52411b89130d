"""The web API's notifications: who was told of alarms, who is still to be, and whom it was given up to tell."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hub.notify.outbox import Notice, Outbox
from hub.problems import Problem

_MOST = 1000
_LAST = (1 << 63) - 1


class Notification(BaseModel):
    """Something said to one person, of one change or escalation of an alarm, in one way."""

    id: int
    key: str = Field(description="the same whenever it is sent: webhook-id of a webhook")
    person: str
    channel: Literal["email", "webhook", ""] = Field(description="empty: nobody has the name")
    rule: str
    thing: str
    onset_ms: int
    made_ms: int
    until_ms: int = Field(description="until when it is tried")
    state: Literal["waiting", "sent", "given_up"]
    tries: int
    ended_ms: int = Field(description="0 while it waits")
    reason: str = Field(description="why it was given up, or why the last try failed")


def notification(notice: Notice) -> Notification:
    """As the API shows it: without what was said."""
    return Notification(**{name: getattr(notice, name) for name in Notification.model_fields})


def make_router(outbox: Outbox) -> APIRouter:
    """The routes, over this outbox."""
    problem: dict[int | str, dict[str, object]] = {
        422: {"model": Problem, "description": "a field is not valid"},
    }
    router = APIRouter(prefix="/api/v1/notifications", tags=["alarms"], responses=problem)

    @router.get("")
    def notifications(
        state: Annotated[Literal["waiting", "sent", "given_up"] | None, Query()] = None,
        before: Annotated[int, Query(ge=0, le=_LAST, description="an id; for the next page")] = _LAST,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
    ) -> list[Notification]:
        """All, or those of one state, the newest first."""
        return [notification(each) for each in outbox.newest(state=state, before=before, limit=limit)]

    return router
