"""The gateway's config: one TOML file; every mistake is named with its key and line."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, field_validator, model_validator

from edge.config.alarms import THING, AlarmRules, placed, rule_problem
from edge.config.ble import BleLink
from edge.config.modbus import ModbusLink
from edge.config.mqtt import MqttLink
from edge.config.serial import SerialLink
from edge.config.table import Device, Id, Table
from hardware.catalogue import DeviceModel, Name, catalogue, with_own
from protocols.alarm import Rule
from runtime.rules import load_rules
from runtime.toml import TomlFileError, line_of, load_toml

__all__ = ["AnyLink", "BleLink", "Config", "Device", "ModbusLink", "MqttLink", "SerialLink", "load_config"]


class Gateway(Table):
    """Who this gateway is and where it keeps its files (relative to the config file).

    `models`: a folder with the site's own device files, beside those of Kerb.
    """

    id: Id
    name: Name
    data: Path = Path("data")
    models: Path | None = None


class Uplink(Table):
    """Where the readings go. `mqtts` needs the CA's certificate; the hub is reached by it alone, with a certificate and
    key of our own, which `kerb edge enrol` gets."""

    kind: Literal["hub", "mqtt"]
    url: str
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    prefix: str = "kerb"

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username or parts.path not in ("", "/"):
            raise ValueError("must be mqtts://HOST:PORT, or mqtt://HOST:PORT within one machine")
        if parts.scheme == "mqtt" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("mqtt:// is not encrypted and is for this machine only; use mqtts:// and give ca")
        return url

    @model_validator(mode="after")
    def _check_tls(self) -> "Uplink":
        if self.kind == "hub" and not self.url.startswith("mqtts:"):
            raise ValueError("kind hub needs mqtts:// in url; enrol the gateway with `kerb edge enrol`")
        if self.kind == "hub" and None in (self.ca, self.certificate, self.key):
            raise ValueError("kind hub needs ca, certificate and key: the files that `kerb edge enrol` writes")
        if self.kind == "hub" and (self.username, self.password_file) != (None, None):
            raise ValueError("username and password_file are for kind mqtt; the hub asks for the certificate alone")
        if self.url.startswith("mqtts:") and self.ca is None:
            raise ValueError("mqtts:// needs ca, the file of the CA's certificate")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    @property
    def host(self) -> str:
        """The host part of the url."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port part of the url, or the scheme's own."""
        return urlsplit(self.url).port or (8883 if self.url.startswith("mqtts:") else 1883)


class OutboxLimits(Table):
    """How much is kept, and how much a power cut may take from links that cannot send again (commit_ms)."""

    max_mb: int = Field(default=512, ge=1)
    commit_ms: int = Field(default=1000, ge=10, le=60_000)


class Page(Table):
    """The local page for a technician."""

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=1, le=65535)


AnyLink = Annotated[ModbusLink | BleLink | SerialLink | MqttLink, Field(discriminator="kind")]


class Config(Table):
    """The whole file. `directory` is where it lies: relative paths start there.

    rules: of the file or folder that `alarms.rules` names.
    """

    gateway: Gateway
    uplink: Uplink
    outbox: OutboxLimits = OutboxLimits()
    page: Page = Page()
    alarms: AlarmRules | None = None
    links: tuple[AnyLink, ...] = Field(min_length=1)
    directory: Path = Path()

    _rules: tuple[Rule, ...] = PrivateAttr(default=())

    def path(self, path: Path) -> Path:
        """A path of the file, made absolute."""
        return (self.directory / path).absolute()

    def devices(self) -> Iterator[tuple[AnyLink, Device]]:
        """Every device with its link."""
        for link in self.links:
            for device in link.devices:
                yield link, device

    def models(self) -> dict[str, DeviceModel]:
        """The model of each thing."""
        return {device.thing: device.declared for _, device in self.devices()}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The alarm rules."""
        return self._rules

    def placed_rules(self) -> list[tuple[Rule, str]]:
        """Each alarm rule with each thing that it is evaluated for here."""
        return list(placed(self._rules, self.models()))


def load_config(path: Path, *, whole: bool = True) -> Config:
    """The config in the file. Raises TomlFileError with file, line, key and reason.

    whole: the keys and certificates that it names must be there, as the gateway needs them to run.
    """
    config = load_toml(path, Config, context=lambda content: {"models": _models(path, content)})
    config = config.model_copy(update={"directory": path.parent.absolute()})
    text = path.read_text(encoding="utf-8")
    for location, reason in chain(_conflicts(config), _missing_files(config) if whole else ()):
        raise TomlFileError(path, line_of(text, location), ".".join(map(str, location)), reason)
    if config.alarms is not None:
        file = config.path(config.alarms.rules)
        config._rules = load_rules(file)
        for rule in config.rules:
            if problem := rule_problem(rule, config.models()):
                raise TomlFileError(file, None, f"rule {rule.id}", problem)
    return config


def _models(path: Path, content: Mapping[str, Any]) -> Mapping[str, DeviceModel]:
    """Kerb's models and those of the site's own folder. Raises TomlFileError."""
    gateway = content.get("gateway")
    folder = gateway.get("models") if isinstance(gateway, dict) else None
    if not isinstance(folder, str):
        return catalogue()
    if not (path.parent / folder).is_dir():
        raise TomlFileError(
            path, None, "gateway.models", f"there is no such folder: {(path.parent / folder).absolute()}"
        )
    return with_own(path.parent / folder)


def _conflicts(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong between parts of the file that are each right: where, and why."""
    things: set[str] = set()
    names: set[str] = set()
    for number, link in enumerate(config.links):
        if link.name in names:
            yield ("links", number, "name"), f"{link.name} is the name of another link too"
        names.add(link.name)
        for device in link.devices:
            here = ("links", number, "devices")
            if device.thing == THING:
                yield here, f"{THING} is what the gateway's own alarms are called"
            if device.thing in things:
                yield here, f"{device.thing} is another device's thing too"
            things.add(device.thing)
            kind = device.declared.device.link
            if kind != link.kind:
                yield here, f"{device.thing}: {device.model} is a {kind} device, the link is {link.kind}"


def _missing_files(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for number, link in enumerate(config.links):
        for file in (file for device in link.devices for file in device.files):
            yield from _missing(config, ("links", number, "devices"), file)
    for key in ("password_file", "ca", "certificate", "key"):
        yield from _missing(config, ("uplink", key), getattr(config.uplink, key))


def _missing(
    config: Config, location: tuple[str | int, ...], file: Path | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if file is not None and not config.path(file).is_file():
        yield location, f"there is no such file: {config.path(file)}"
