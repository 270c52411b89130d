"""The web API, version 1: things, their streams, latest values, history, custody. Documented at /docs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StringConstraints

from hub.problems import Problem, ProblemError
from hub.store.querying import MAX_ROWS, Point, Querying, StreamNow
from hub.store.writing import now_ms
from hub.values import exact_text, plain
from protocols.reading import quality_name

_HOUR_MS = 3_600_000
_LAST_MS = (1 << 53) - 1

_MOST_THINGS = 1000  # in one request
_ID = r"^[A-Za-z0-9_-]{1,64}$"
Id = Annotated[str, Path(pattern=_ID)]
_ThingId = Annotated[str, StringConstraints(pattern=_ID)]
Time = Annotated[int | None, Query(ge=0, le=_LAST_MS)]


class Name(BaseModel):
    """What people call it, in the two languages."""

    en: str
    zh: str


class Reading(BaseModel):
    """One reading. `text` is the value with exactly the decimals that the instrument claims."""

    time_ms: int = Field(description="when it was made, Unix milliseconds UTC")
    value: bool | int | float | str | None = Field(description="null: there is none, and `quality` says why")
    text: str
    quality: int = Field(description="below 16 the value may be used; 128 is added if the time was estimated")
    quality_name: str
    backfill: bool = Field(description="it came late, from a buffer: history, no current value")


class Stream(BaseModel):
    """The readings of one metric of one thing."""

    thing: str
    metric: str
    unit: str = Field(description="a UCUM code")
    name: Name
    states: dict[int, Name] = Field(description="what the codes of an enumeration mean; empty for all else")
    stored: int = Field(description="readings stored")
    latest: Reading | None


class Thing(BaseModel):
    """A device, as its gateway describes it."""

    id: str
    gateway: str
    kind: str
    model: str
    maker: str
    name: Name
    state: Literal["online", "offline", "waiting"]
    reason: str


class ThingWithStreams(Thing):
    """A thing and its streams with their latest values."""

    streams: list[Stream]


class StepRow(BaseModel):
    """The usable numbers of one step, which begins at `time_ms`."""

    time_ms: int
    min: float
    mean: float
    max: float
    last: float
    count: int


class Loss(BaseModel):
    """So many readings of a thing, of any of its metrics, made from one time to the other, that are lost."""

    count: int
    from_ms: int
    to_ms: int


class History(BaseModel):
    """Readings with from <= time < to, or their summary per step."""

    thing: str
    metric: str
    unit: str
    from_ms: int
    to_ms: int
    step_ms: int | None
    losses: list[Loss] = Field(description="readings of this thing that had to give way before they were stored")
    truncated: bool = Field(description=f"only the newest {MAX_ROWS} readings are here; ask for less or with a step")
    readings: list[Reading] | None = None
    steps: list[StepRow] | None = None


class Custody(BaseModel):
    """Where a thing's readings are: read = suppressed + stored + declared_lost + what is still under way."""

    thing: str
    read: int
    suppressed: int
    stored: int
    declared_lost: int
    duplicates: int = Field(description="readings stored beyond what the tallies of their packs count")
    p50_ms: float | None = Field(description="from made to stored, of readings that were not buffered")
    p99_ms: float | None


class Restore(BaseModel):
    """This store was restored from a backup: what was stored from `backup_ms` to `restored_ms` may be missing."""

    backup_ms: int
    restored_ms: int


class Skip(BaseModel):
    """Packs, the first to the last of an epoch, that a gateway has handed over and let go of, and that are not here."""

    gateway: str
    lane: str
    epoch: int
    first: int
    last: int
    found_ms: int


class Restores(BaseModel):
    """What is known to be missing since a store that was here before is no more."""

    restores: list[Restore]
    skips: list[Skip]


def _reading(point: Point) -> Reading:
    return Reading(
        time_ms=point.time_ms,
        value=plain(point.value),
        text=exact_text(point.value, point.exponent),
        quality=point.quality,
        quality_name=quality_name(point.quality),
        backfill=point.backfill,
    )


def _stream(stream: StreamNow) -> Stream:
    return Stream(
        thing=stream.thing,
        metric=stream.metric,
        unit=stream.unit,
        name=Name(**stream.name),
        states={code: Name(**names) for code, names in stream.states.items()},
        stored=stream.stored,
        latest=_reading(stream.latest) if stream.latest else None,
    )


def make_router(store: Querying) -> APIRouter:
    """The routes, over this store."""
    problem: dict[int | str, dict[str, object]] = {
        "4XX": {"model": Problem, "description": "RFC 9457: what is wrong, and with which field"},
        422: {"model": Problem, "description": "a field is not valid"},
    }
    router = APIRouter(prefix="/api/v1", responses=problem)

    @router.get("/things", tags=["things"])
    def things() -> list[Thing]:
        """Every thing."""
        return [Thing(**vars(thing)) for thing in store.things()]

    @router.get("/things/{thing}", tags=["things"])
    def thing(thing: Id) -> ThingWithStreams:
        """One thing with its streams and their latest values."""
        found = next((one for one in store.things() if one.id == thing), None)
        if found is None:
            raise ProblemError(404, "There is no such thing", "thing", f"{thing} is not known")
        return ThingWithStreams(**vars(found), streams=[_stream(stream) for stream in store.streams(thing)])

    @router.get("/latest", tags=["readings"])
    def latest(thing: Annotated[list[_ThingId] | None, Query(max_length=_MOST_THINGS)] = None) -> list[Stream]:
        """The newest value of every stream, of all things or of those that are given."""
        if thing and (unknown := set(thing).difference(one.id for one in store.things())):
            raise ProblemError(404, "There is no such thing", "thing", f"{', '.join(sorted(unknown))}: not known")
        return [_stream(stream) for stream in store.streams(*(thing or ()))]

    @router.get("/things/{thing}/streams/{metric}/history", tags=["readings"])
    def history(
        thing: Id,
        metric: Id,
        from_ms: Annotated[Time, Query(alias="from", description="default: an hour before `to`")] = None,
        to_ms: Annotated[Time, Query(alias="to", description="default: now")] = None,
        step: Annotated[int | None, Query(ge=1, le=_LAST_MS, description="milliseconds; none: raw readings")] = None,
    ) -> History:
        """A stream's readings from `from` up to, not including, `to` (Unix milliseconds)."""
        stream = next((one for one in store.streams(thing) if one.metric == metric), None)
        if stream is None:
            raise ProblemError(404, "There is no such stream", "metric", f"{thing} has no {metric}")
        end = now_ms() if to_ms is None else to_ms
        begin = max(0, end - _HOUR_MS) if from_ms is None else from_ms
        if begin > end:
            raise ProblemError(422, "The request is not valid", "from", f"{begin} is after to, {end}")
        if step is not None and (end - begin) // step >= MAX_ROWS:
            raise ProblemError(
                422, "The request is not valid", "step", f"makes more than {MAX_ROWS} rows; take a longer one"
            )
        answer = History(
            thing=thing, metric=metric, unit=stream.unit, from_ms=begin, to_ms=end, step_ms=step, truncated=False,
            losses=[Loss(**vars(one)) for one in store.losses(thing, begin, end)],
        )  # fmt: skip
        if step is None:
            points, answer.truncated = store.history(stream.id, begin, end)
            answer.readings = [_reading(point) for point in points]
        else:
            answer.steps = [StepRow(**vars(one)) for one in store.steps(stream.id, begin, end, step)]
        return answer

    @router.get("/custody", tags=["custody"])
    def custody() -> list[Custody]:
        """Per thing, what the hub knows of the whereabouts of its readings."""
        return [Custody(**vars(one)) for one in store.custody()]

    @router.get("/restores", tags=["custody"])
    def restores() -> Restores:
        """Restores from backups, and what gateways cannot send again after them."""
        return Restores(
            restores=[Restore(**vars(one)) for one in store.restores()],
            skips=[Skip(**vars(one)) for one in store.skips()],
        )

    @router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def nothing(path: str) -> None:
        """Without this, the live page's application would answer, with a page."""
        raise ProblemError(404, "There is no such path, or not with this method", "path", f"/api/v1/{path}"[:200])

    return router
