"""How long readings are kept: a policy per metric, set by `kerb hub retention` and carried out by ingest.

Without a policy everything is kept for ever. A policy deletes what is older than so many days; if it says so, steps are
kept in its place, themselves for so many days.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hub.errors import SetupError
from hub.locked_json import locked_json
from protocols.topics import is_id

FILE = "retention.json"
ALL = "*"  # the policy of every metric that has none of its own
_DAY_MINUTES = 1440


class Policy(BaseModel):
    """days: readings are kept so long; step_minutes: then steps of this length, for step_days; None: for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(ge=1, le=36_500)
    step_minutes: int | None = Field(default=None, ge=1, le=_DAY_MINUTES)
    step_days: int | None = Field(default=None, ge=1, le=36_500)

    @model_validator(mode="after")
    def _fits(self) -> "Policy":
        if self.step_minutes is None and self.step_days is not None:
            raise ValueError("step_days is of no use without step_minutes")
        if self.step_minutes is not None and _DAY_MINUTES % self.step_minutes:
            raise ValueError(f"step_minutes: {self.step_minutes} minutes do not divide a day")
        if self.step_days is not None and self.step_days <= self.days:
            raise ValueError(f"step_days: {self.step_days} days are no longer than the {self.days} of the readings")
        return self

    def __str__(self) -> str:
        if self.step_minutes is None:
            return f"{self.days} days"
        end = f"{self.step_days} days" if self.step_days else "for ever"
        return f"{self.days} days, then steps of {self.step_minutes} min: {end}"


def policy_of(metric: str, policies: Mapping[str, Policy]) -> Policy | None:
    """The metric's own policy, or that of all; None: it is kept for ever."""
    return policies.get(metric, policies.get(ALL))


def policies(data: Path) -> dict[str, Policy]:
    """The policy of each metric that has one. Raises SetupError if the file is damaged."""
    with locked_json(data / FILE) as content:
        return {metric: _policy(data, metric, fields) for metric, fields in content.items()}


def set_policy(data: Path, metric: str, policy: Policy | None) -> None:
    """Give a metric, or all others, a policy; None: it has none any more. Raises SetupError."""
    if metric != ALL and not is_id(metric):
        raise SetupError(f"{metric!r} is no metric: 1 to 64 of A-Z a-z 0-9 _ -, or * for all that have no policy")
    with locked_json(data / FILE) as content:
        content.pop(metric, None)
        if policy is not None:
            content[metric] = policy.model_dump(exclude_none=True)


def make_policy(fields: Mapping[str, int]) -> Policy:
    """A policy of these fields. Raises SetupError."""
    try:
        return Policy.model_validate(fields)
    except ValidationError as error:
        raise SetupError(_first(error)) from error


def _policy(data: Path, metric: str, fields: object) -> Policy:
    try:
        return Policy.model_validate(fields)
    except ValidationError as error:
        raise SetupError(f"{data / FILE} is damaged: {metric}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")
