"""Who is told of alarms, and how: the file notify.toml in the hub's data. A mistake is named with its line and key."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from hub.errors import SetupError
from runtime.tls import client_tls
from runtime.toml import TomlFileError, load_toml

FILE = "notify.toml"

EMAIL = "email"
WEBHOOK = "webhook"

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError("must be https://HOST/PATH")
    if parts.port == 0:  # one that is too large raises ValueError by being asked for
        raise ValueError("port 0 is none")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be https; http is for localhost only")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("must have no user, password or fragment: whoever is told knows us by the signature")
    return url


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone; one is Asia/Shanghai") from None
    return name


_Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,190}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Webhook(_Part):
    """A program that is told. secret_file: of the key that it knows us by; ca: trusted in place of the system's."""

    url: Annotated[str, Field(max_length=2000), AfterValidator(_checked_url)]
    secret_file: str
    ca: str | None = None


class Server(_Part):
    """The mail server that takes our mails. security: `none` is for localhost only."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: _Address
    username: str | None = None
    password_file: str | None = None
    ca: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.security == "none" and self.host not in _LOOPBACK:
            raise ValueError('security "none" is for localhost only; it must be "starttls" or "tls"')
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        return self


class Person(_Part):
    """Somebody who is told, or a program. priorities: of the alarms that they are told of. all: of every change of
    every alarm; else when a rule's escalation names them, and then how it went on."""

    language: Literal["en", "zh"] = "en"
    timezone: Annotated[str, AfterValidator(_checked_zone)] = "UTC"
    email: _Address | None = None
    webhook: Webhook | None = None
    priorities: tuple[Literal["high", "medium", "low"], ...] = ("high", "medium", "low")
    all: bool = False

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.channels:
            raise ValueError("has neither email nor webhook")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """How they are told."""
        ways = ((EMAIL, self.email), (WEBHOOK, self.webhook))
        return tuple(name for name, way in ways if way)


class Directory(_Part):
    """The whole file. give_up_minutes: for how long it is tried to tell somebody."""

    give_up_minutes: int = Field(default=60, ge=1, le=1440)
    server: Server | None = None
    people: dict[Id, Person] = Field(min_length=1, max_length=1000)
    groups: dict[Id, tuple[Id, ...]] = {}
    _data: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, members in self.groups.items():
            if name in self.people:
                raise ValueError(f"{name} is both a person and a group")
            if unknown := set(members) - self.people.keys():
                raise ValueError(f"group {name}: {', '.join(sorted(unknown))}: there is no such person")
        if self.server is None and any(person.email for person in self.people.values()):
            raise ValueError("there is no [server] for the people who have an email")
        return self

    def named(self, name: str) -> tuple[str, ...]:
        """The people whom a name in an escalation means; none if nobody has it."""
        return self.groups.get(name, (name,) if name in self.people else ())

    def secret(self, file: str) -> str:
        """What a secret's file holds, from the hub's data. Raises SetupError if others can read it, too."""
        path = self._data / file
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{path} cannot be read: {error}") from None
        if mode & 0o077:
            raise SetupError(f"{path} can be read by others; chmod 600 {path}")
        if not text:
            raise SetupError(f"{path} is empty")
        return text

    def tls(self, ca: str | None) -> ssl.SSLContext:
        """Trusts the system's CAs, or this file's alone. Raises SetupError."""
        if ca is None:
            return ssl.create_default_context()
        try:
            return client_tls(ca=self._data / ca)
        except OSError as error:
            raise SetupError(f"{self._data / ca}: {error.strerror or error}") from None

    def problems(self, names: Iterator[str]) -> Iterator[str]:
        """What would keep anybody from being told: files that cannot be used, names that nobody has."""
        files = [("server", self.server.password_file, self.server.ca)] if self.server else []
        for name, person in self.people.items():
            if person.webhook:
                files.append((f"people.{name}", person.webhook.secret_file, person.webhook.ca))
        for where, secret, ca in files:
            try:
                if secret is not None:
                    self.secret(secret)
                self.tls(ca)
            except SetupError as error:
                yield f"{where}: {error.reason}"
        yield from (
            f"{name}: rules name it, but there is no such person or group" for name in names if not self.named(name)
        )


def load(data: Path) -> Directory | None:
    """The directory of this hub; None if it has none. Raises SetupError for the first thing that is wrong."""
    path = data / FILE
    if not path.exists():
        return None
    try:
        made = load_toml(path, Directory)
    except TomlFileError as error:
        raise SetupError(str(error)) from error
    made._data = data
    return made


def signature(data: Path) -> Any:
    """What changes when the file does."""
    path = data / FILE
    if not path.exists():
        return None
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
