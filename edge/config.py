"""The gateway's config: one TOML file; every mistake is named with its key and line."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hardware.catalogue import DeviceModel, Name, catalogue
from runtime.toml import TomlFileError, line_of, load_toml

_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gateway(_Table):
    """Who this gateway is and where it keeps its files (relative to the config file)."""

    id: _Id
    name: Name
    data: Path = Path("data")


class Uplink(_Table):
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


class OutboxLimits(_Table):
    """How much is kept, and how much a power cut may take from links that cannot send again (commit_ms)."""

    max_mb: int = Field(default=512, ge=1)
    commit_ms: int = Field(default=250, ge=10, le=10_000)


class Page(_Table):
    """The local page for a technician."""

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=1, le=65535)


class Device(_Table):
    """A device on a link: its id as a thing, its model (a file in hardware/devices), its address on the link."""

    thing: _Id
    model: str
    address: str = ""
    password_file: Path | None = None

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str) -> str:
        if model not in catalogue():
            raise ValueError(f"no such model; there are {', '.join(catalogue())}")
        return model

    @property
    def declared(self) -> DeviceModel:
        """What the model's file declares."""
        return catalogue()[self.model]


def _check_apart(devices: tuple[Device, ...]) -> None:
    addresses = [device.address.upper() for device in devices]
    for device, address in zip(devices, addresses, strict=True):
        if addresses.count(address) > 1:
            raise ValueError(f"the address {device.address} of {device.thing} is given to another device too")


class _Link(_Table):
    name: _Id
    devices: tuple[Device, ...] = Field(min_length=1)


class ModbusLink(_Link):
    """Modbus TCP: one connection, devices by unit id."""

    kind: Literal["modbus"]
    host: str
    port: int = Field(default=502, ge=1, le=65535)

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"{self.host}:{self.port}"

    @model_validator(mode="after")
    def _check_addresses(self) -> "ModbusLink":
        for device in self.devices:
            if not device.address.isdigit() or not 0 <= int(device.address) <= 255:
                raise ValueError(f"the address of {device.thing} must be its unit id, 0 to 255")
        _check_apart(self.devices)
        return self


class BleLink(_Link):
    """Bluetooth: `bluez`, or `hci:` and a transport such as usb:0 or tcp-client:HOST:PORT. Devices by address."""

    kind: Literal["ble"]
    adapter: str = Field(default="bluez", pattern=r"^(bluez|hci:.+)$")

    @model_validator(mode="after")
    def _check_addresses(self) -> "BleLink":
        for device in self.devices:
            if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", device.address):
                raise ValueError(f"the address of {device.thing} must be six bytes such as C0:12:34:56:78:9A")
        _check_apart(self.devices)
        return self

    @property
    def where(self) -> str:
        """The place, for people."""
        return self.adapter


class SerialLink(_Link):
    """One serial port with one device; give the port by its stable name in /dev/serial/by-id."""

    kind: Literal["serial"]
    port: str
    devices: tuple[Device, ...] = Field(min_length=1, max_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        return self.port


class MqttLink(_Link):
    """Our own broker for devices that speak MQTT, each with its password."""

    kind: Literal["mqtt"]
    host: str = "127.0.0.1"
    port: int = Field(default=1884, ge=1, le=65535)

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"own broker at {self.host}:{self.port}"

    @model_validator(mode="after")
    def _check_passwords(self) -> "MqttLink":
        for device in self.devices:
            if device.password_file is None:
                raise ValueError(f"{device.thing} needs password_file")
        return self


AnyLink = Annotated[ModbusLink | BleLink | SerialLink | MqttLink, Field(discriminator="kind")]


class Config(_Table):
    """The whole file. `directory` is where it lies: relative paths start there."""

    gateway: Gateway
    uplink: Uplink
    outbox: OutboxLimits = OutboxLimits()
    page: Page = Page()
    links: tuple[AnyLink, ...] = Field(min_length=1)
    directory: Path = Path()

    def path(self, path: Path) -> Path:
        """A path of the file, made absolute."""
        return (self.directory / path).absolute()

    def devices(self) -> Iterator[tuple[AnyLink, Device]]:
        """Every device with its link."""
        for link in self.links:
            for device in link.devices:
                yield link, device


def load_config(path: Path) -> Config:
    """The config in the file. Raises TomlFileError with file, line, key and reason."""
    config = load_toml(path, Config).model_copy(update={"directory": path.parent.absolute()})
    text = path.read_text(encoding="utf-8")
    for location, reason in _conflicts(config):
        raise TomlFileError(path, line_of(text, location), ".".join(map(str, location)), reason)
    return config


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
            if device.thing in things:
                yield here, f"{device.thing} is another device's thing too"
            things.add(device.thing)
            kind = device.declared.device.link
            if kind != link.kind:
                yield here, f"{device.thing}: {device.model} is a {kind} device, the link is {link.kind}"
            yield from _missing(config, here, device.password_file)
    for key in ("password_file", "ca", "certificate", "key"):
        yield from _missing(config, ("uplink", key), getattr(config.uplink, key))


def _missing(
    config: Config, location: tuple[str | int, ...], file: Path | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if file is not None and not config.path(file).is_file():
        yield location, f"there is no such file: {config.path(file)}"
