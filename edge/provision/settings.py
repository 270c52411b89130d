"""What a device is told, from its board, the gateway's config and the command line; and the gateway's block for it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from edge.config import Config, MqttLink
from edge.errors import ConfigError
from edge.provision.words import word
from hardware.boards import Board
from hardware.catalogue import catalogue, with_own

_HERE_ONLY = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::")
_NEW_HOST = "0.0.0.0"  # of a link that the config does not have yet


class Place(NamedTuple):
    """Where devices reach the gateway's broker."""

    host: str
    port: int


class Wifi(NamedTuple):
    """The network that the device shall use."""

    ssid: str
    password: str


def place_of(config: Config, host: str | None) -> Place:
    """Where the config's own broker is, for others than this machine. Raises ConfigError."""
    link = next((link for link in config.links if isinstance(link, MqttLink)), None)
    listens, port = (link.host, link.port) if link else (_NEW_HOST, MqttLink.model_fields["port"].default)
    if host is None and listens in _HERE_ONLY + _EVERYWHERE:
        raise ConfigError(word("host", listens))
    return Place(host or listens, port)


def device_config(
    board: Board, device: str, place: Place, wifi: Wifi | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """A device's config as firmware/core/config.py wants it."""
    made: dict[str, Any] = {
        "device": device,
        "app": board.board.app,
        "broker": place._asdict(),
        "board": board.configured(),
        "settings": settings,
    }
    if wifi is not None:
        made["wifi"] = wifi._asdict()
    return made


def block(config: Config, device: str, board: str) -> str:
    """What the gateway's config lacks for this device, as TOML; empty if it is in there."""
    if any(each.thing == device for _, each in config.devices()):
        return ""
    lines = [f"# {word('head')}", ""]
    if not any(isinstance(link, MqttLink) for link in config.links):
        lines += ["[[links]]", 'name = "devices"', 'kind = "mqtt"', f'host = "{_NEW_HOST}"', ""]
    known = with_own(config.path(config.gateway.models)) if config.gateway.models else catalogue()
    model = board if board in known else ""
    lines += ["[[links.devices]]", f"thing = {json.dumps(device)}", f"model = {json.dumps(model)}"]
    if not model:
        lines[-1] += f"  # {word('model')}"
    return "\n".join(lines) + "\n"
