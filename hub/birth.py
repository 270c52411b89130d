"""A gateway's birth message: who it is, its things, and which stream each alias of its packs stands for."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.errors import BirthError
from protocols.custody import INCARNATION_BITS
from protocols.deflated import inflate_json
from protocols.errors import DecodeError

MAX_BYTES = 1_000_000  # as it travels
MAX_JSON_BYTES = 8_000_000

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[str, Field(max_length=200)]


class _Message(BaseModel):
    # A newer gateway may say more than this hub knows.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Name(_Message):
    """What people call it, in the two languages."""

    en: Text
    zh: Text


class Thing(_Message):
    """A device behind the gateway, and how it is."""

    id: Id
    kind: Id
    model: Text
    maker: Text
    name: Name
    state: Literal["online", "offline", "waiting"]
    reason: Text = ""


class Stream(_Message):
    """What an alias stands for: one metric of one thing. `states` names the codes that an enumeration may have."""

    alias: int = Field(ge=0, lt=1 << 31)
    thing: Id
    metric: Id
    unit: Text
    name: Name
    states: dict[int, Name] = Field(default={}, max_length=256)


class AlarmRule(_Message):
    """An alarm rule that the gateway evaluates."""

    id: Id
    version: int = Field(gt=0, lt=1 << 31)
    priority: Literal["high", "medium", "low"]
    name: Name


class OpenAlarm(_Message):
    """An alarm that there is."""

    rule: Id
    thing: Id
    onset_ms: int = Field(ge=0, lt=1 << 53)


class Birth(_Message):
    """The whole message of a gateway that is online."""

    state: Literal["online"]
    gateway: Id
    incarnation: int = Field(gt=0, lt=1 << INCARNATION_BITS)
    instance: Id  # drawn anew at each start of its program
    name: Name
    time_ms: int = Field(ge=0, lt=1 << 53)
    things: tuple[Thing, ...] = Field(max_length=2_000)
    streams: tuple[Stream, ...] = Field(max_length=20_000)  # also of removed things: packs held may speak of them
    rules: tuple[AlarmRule, ...] = Field(default=(), max_length=2_000)
    alarms: tuple[OpenAlarm, ...] = Field(default=(), max_length=20_000)


class Death(_Message):
    """The will, or what a gateway says when it is ended in order."""

    state: Literal["offline"]


def parse(gateway: str, payload: bytes) -> Birth | Death:
    """The message on `g/<gateway>/birth`; empty (the retained one was deleted) it is a death. Raises BirthError."""
    if not payload:
        return Death(state="offline")
    if len(payload) > MAX_BYTES:
        raise BirthError(gateway, f"{len(payload)} bytes are too many")
    try:
        payload = inflate_json(payload, max_bytes=MAX_JSON_BYTES)
    except DecodeError as error:
        raise BirthError(gateway, f"is neither JSON nor {error}") from error
    try:
        head = _Head.model_validate_json(payload)
        if head.state == "offline":
            return Death(state="offline")
        birth = Birth.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BirthError(gateway, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if birth.gateway != gateway:
        raise BirthError(gateway, f"gateway: is {birth.gateway}, but the topic says {gateway}")
    return birth


class _Head(_Message):
    state: Literal["online", "offline"]
