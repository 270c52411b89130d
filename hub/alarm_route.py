"""The web API's alarms: those that there are, those that were, and what became of each."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from hub import deeds as people
from hub.api import Id, Name
from hub.deeds import ACKNOWLEDGE, COMMENT, SHELVE, Deeds
from hub.notify.outbox import Outbox
from hub.notify_route import Notification, notification
from hub.problems import Problem, ProblemError
from hub.store.alarm_book import MAX_ALARMS, AlarmBook, AlarmNow
from hub.store.writing import now_ms

_LAST_MS = (1 << 53) - 1

Onset = Annotated[int, Path(ge=0, le=_LAST_MS, description="the alarm's onset, Unix milliseconds")]


class Alarm(BaseModel):
    """An alarm. What tells it from every other is its rule, its thing and its onset."""

    rule: str
    thing: str
    onset_ms: int = Field(description="the time of the reading, or the end of the silence, with which it began")
    name: Name = Field(description="its rule's")
    origin: str = Field(description="the gateway that evaluates the rule; empty: the hub")
    state: Literal["active", "acknowledged", "inhibited", "shelved", "cleared"]
    priority: Literal["high", "medium", "low"] = Field(description="as in IEC 60601-1-8")
    version: int = Field(description="of the rule")
    changed_ms: int
    metric: str = Field(description="of the reading with which it began; empty if it began without one")
    value: bool | int | float | str | None


class AlarmChange(BaseModel):
    """One change of an alarm."""

    state: str
    time_ms: int
    who: str = Field(description="who did it; empty if nobody")


class AlarmEscalation(BaseModel):
    """These were to be told, since nobody had acknowledged it."""

    step: int
    time_ms: int
    to: list[str]


class Deed(BaseModel):
    """What somebody did about an alarm. It is queued until the gateway, or the hub, has done it."""

    id: int
    what: Literal["acknowledge", "shelve", "comment"]
    who: str
    time_ms: int
    seconds: int = Field(description="how long to shelve it; 0 ends that")
    comment: str
    state: Literal["queued", "done", "refused", "expired", "failed"]
    reason: str


class AlarmStory(Alarm):
    """An alarm and all that became of it, in order."""

    changes: list[AlarmChange]
    escalations: list[AlarmEscalation]
    deeds: list[Deed]
    notifications: list[Notification]


class Doing(BaseModel):
    """Who does it, and what there is to say about it."""

    who: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["wang"])
    comment: str = Field(default="", max_length=1000)


class Shelving(Doing):
    """For how long the rule is put aside for the thing; 0: no longer."""

    seconds: int = Field(ge=0, le=86_400, examples=[1800])


class Comment(Doing):
    """What there is to say."""

    comment: str = Field(min_length=1, max_length=1000)


def make_router(book: AlarmBook, deeds: Deeds, outbox: Outbox) -> APIRouter:
    """The routes, over this store, what people did and what they were told."""
    problem: dict[int | str, dict[str, object]] = {
        "4XX": {"model": Problem, "description": "RFC 9457: what is wrong, and with which field"},
        422: {"model": Problem, "description": "a field is not valid"},
    }
    router = APIRouter(prefix="/api/v1/alarms", tags=["alarms"], responses=problem)

    @router.get("")
    def open_alarms() -> list[Alarm]:
        """The alarms that there are: active ones first, by priority, the oldest first."""
        return [_alarm(alarm) for alarm in book.open()]

    @router.get("/history")
    def history(
        thing: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
        before: Annotated[int, Query(ge=0, le=_LAST_MS, description="began before; for the next page")] = _LAST_MS,
        limit: Annotated[int, Query(ge=1, le=MAX_ALARMS)] = 100,
    ) -> list[Alarm]:
        """All alarms, those that there are included, the newest first."""
        return [_alarm(alarm) for alarm in book.all(thing=thing, before_ms=before, limit=limit)]

    @router.get("/{rule}/{thing}/{onset_ms}")
    def one(rule: Id, thing: Id, onset_ms: Onset) -> AlarmStory:
        """An alarm and all that became of it."""
        found = book.one(rule, thing, onset_ms)
        if found is None:
            raise ProblemError(404, "There is no such alarm", "onset_ms", f"{rule} of {thing} had none at {onset_ms}")
        alarm, changes, escalations = found
        done = deeds.about(rule, thing, onset_ms)
        return AlarmStory(
            **vars(alarm),
            changes=[AlarmChange(**vars(change)) for change in changes],
            escalations=[AlarmEscalation(**vars(each)) for each in escalations],
            deeds=[_deed(each) for each in done],
            notifications=[notification(each) for each in outbox.about(rule, thing, onset_ms)],
        )

    def add(what: str, alarm: tuple[str, str, int], doing: Doing, seconds: int = 0) -> Deed:
        if book.one(*alarm) is None:
            raise ProblemError(404, "There is no such alarm", "onset_ms", f"{alarm[0]} of {alarm[1]} had none then")
        made = deeds.add(what, alarm, who=doing.who, time_ms=now_ms(), seconds=seconds, comment=doing.comment)
        return _deed(made)

    @router.post("/{rule}/{thing}/{onset_ms}/acknowledge", status_code=202)
    def acknowledge(rule: Id, thing: Id, onset_ms: Onset, doing: Doing) -> Deed:
        """Somebody has seen the alarm. It is acknowledged once the deed is done."""
        return add(ACKNOWLEDGE, (rule, thing, onset_ms), doing)

    @router.post("/{rule}/{thing}/{onset_ms}/shelve", status_code=202)
    def shelve(rule: Id, thing: Id, onset_ms: Onset, doing: Shelving) -> Deed:
        """Put the alarm's rule aside for its thing, or take it back with 0 seconds. At most a day."""
        return add(SHELVE, (rule, thing, onset_ms), doing, doing.seconds)

    @router.post("/{rule}/{thing}/{onset_ms}/comment", status_code=201)
    def comment(rule: Id, thing: Id, onset_ms: Onset, doing: Comment) -> Deed:
        """Say something about the alarm."""
        return add(COMMENT, (rule, thing, onset_ms), doing)

    return router


def _deed(deed: people.Deed) -> Deed:
    return Deed(**{name: value for name, value in deed._asdict().items() if name in Deed.model_fields})


def _alarm(alarm: AlarmNow) -> Alarm:
    return Alarm(**vars(alarm))
