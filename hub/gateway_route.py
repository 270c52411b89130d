"""The web API of gateways: where the readings of each are, and what it held when."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from hub.api import Id, Name, Time
from hub.problems import Problem, ProblemError
from hub.store.accounts import BACKLOG_STEP_MS, Account, Heard
from hub.store.querying import MAX_ROWS, GatewayNow, Querying
from hub.store.writing import now_ms

_DAY_MS = 86_400_000


class Status(BaseModel):
    """What the gateway said last. While it is offline this is the least that it holds."""

    heard_ms: int = Field(description="when it came, by the hub's clock")
    oldest_age_ms: int | None = Field(description="age of the oldest reading held; null: none is known to be held")
    held: dict[str, int] = Field(description="readings by lane: urgent, bulk")
    outbox_bytes: int
    outbox_limit_bytes: int
    failure: str = Field(description="why its outbox cannot be written; empty: it can")


class Equation(BaseModel):
    """read + twice = suppressed + stored + buffered + declared_lost + missing."""

    read: int
    suppressed: int
    stored: int
    buffered: int
    declared_lost: int
    missing: int = Field(description="readings that are nowhere: 0 unless something is wrong")
    twice: int = Field(description="readings stored beyond what was read: 0 unless something is wrong")


class Gateway(BaseModel):
    """A gateway, and where its readings are."""

    id: str
    name: Name
    state: Literal["online", "offline"]
    since_ms: int = Field(description="when it went on or off line")
    equation: Equation
    packs_set_aside: int = Field(description="packs that came but cannot be read; what they hold is missing")
    packs_skipped: int = Field(description="packs that a store acknowledged which was lost, or restored from a backup")
    status: Status | None


class BacklogRow(BaseModel):
    """The most that was held within one step, which begins at `time_ms`."""

    time_ms: int
    readings: int
    age_ms: int = Field(description="the greatest age of the oldest reading that was held")


def _gateway(named: GatewayNow, account: Account) -> Gateway:
    terms = {term: getattr(account, term) for term in Equation.model_fields}
    return Gateway(
        id=account.gateway,
        name=Name(**named.name),
        state="online" if account.online else "offline",
        since_ms=account.since_ms,
        equation=Equation(**terms),
        packs_set_aside=account.set_aside,
        packs_skipped=account.skipped,
        status=_status(account, account.heard) if account.heard else None,
    )


def _status(account: Account, heard: Heard) -> Status:
    said = heard.status
    return Status(
        heard_ms=heard.heard_ms,
        oldest_age_ms=account.oldest_age_ms(now_ms()),
        held={name: lane.readings for name, lane in said.lanes.items()},
        outbox_bytes=said.bytes_held,
        outbox_limit_bytes=said.max_bytes,
        failure=said.failure,
    )


def make_router(store: Querying) -> APIRouter:
    """The routes, over this store."""
    problem: dict[int | str, dict[str, object]] = {
        "4XX": {"model": Problem, "description": "RFC 9457: what is wrong, and with which field"},
        422: {"model": Problem, "description": "a field is not valid"},
    }
    router = APIRouter(prefix="/api/v1/gateways", tags=["custody"], responses=problem)

    @router.get("")
    def gateways() -> list[Gateway]:
        """Every gateway, and where its readings are."""
        named = {one.id: one for one in store.gateways()}
        return [_gateway(named[one.gateway], one) for one in store.accounts() if one.gateway in named]

    @router.get("/{gateway}/backlog")
    def backlog(
        gateway: Id,
        from_ms: Annotated[Time, Query(alias="from", description="default: a day before `to`")] = None,
        to_ms: Annotated[Time, Query(alias="to", description="default: now")] = None,
        step: Annotated[int, Query(ge=BACKLOG_STEP_MS, description="milliseconds")] = BACKLOG_STEP_MS,
    ) -> list[BacklogRow]:
        """What a gateway held from `from` up to, not including, `to`; two days are kept."""
        if all(one.id != gateway for one in store.gateways()):
            raise ProblemError(404, "There is no such gateway", "gateway", f"{gateway} is not known")
        end = now_ms() if to_ms is None else to_ms
        begin = max(0, end - _DAY_MS) if from_ms is None else from_ms
        if begin > end:
            raise ProblemError(422, "The request is not valid", "from", f"{begin} is after to, {end}")
        return [BacklogRow(**vars(one)) for one in store.backlog(gateway, begin, end, step)[-MAX_ROWS:]]

    return router
