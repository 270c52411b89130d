"""`kerb edge provision`: the label, what is said on stderr, and the gateway's config block on stdout."""

import argparse
import asyncio
import getpass
import json
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from edge.config import Config
from edge.device_authority import DeviceAuthority
from edge.errors import ConfigError
from edge.provision.ble_line import ble_line
from edge.provision.conversation import Line, provision
from edge.provision.serial_line import serial_line
from edge.provision.settings import Wifi, block, device_config, place_of
from edge.provision.words import word
from hardware.boards import BoardError, find
from protocols.provisioning.content import Description, Provision
from runtime.label import Label, LabelError


def run(options: argparse.Namespace, config: Config) -> int:
    """Provision one device; 0, or an error is raised."""
    label = _label(options.label_file)
    began_s = time.monotonic()
    description = asyncio.run(_provision(options, config, label))
    _say(word("took", label.device, time.monotonic() - began_s))
    print(block(config, label.device, description.board), end="")
    return 0


async def _provision(options: argparse.Namespace, config: Config, label: Label) -> Description:
    authority = DeviceAuthority(config.path(config.gateway.data))
    place, wifi, settings = place_of(config, options.host), _wifi(options), _settings(options.settings)

    def prepare(description: Description) -> Provision:
        try:
            board = find(description.board)
        except BoardError as error:
            raise ConfigError(str(error)) from error
        admission = authority.admit(label.device, description.key)
        made = device_config(board, label.device, place, wifi, settings)
        return Provision(made, admission.certificate, admission.ca)

    opening: AbstractAsyncContextManager[Line]
    opening = serial_line(options.serial) if options.serial else ble_line(options.ble, label.device)
    _say(word("reaching", label.device, options.serial or options.ble))
    async with opening as line:
        return await provision(line, label, prepare, _say)


def _label(file: Path | None) -> Label:
    """The label, from its file or as a hand scanner types it; never shown. Raises ConfigError."""
    try:
        if file is not None:
            text = file.read_text(encoding="utf-8")
        elif sys.stdin.isatty():
            text = getpass.getpass(word("scan"))
        else:
            text = sys.stdin.readline()
        if not text.strip():
            raise ConfigError(word("no label"))
        return Label.parse(text)
    except (OSError, UnicodeError, LabelError) as error:
        raise ConfigError(str(error)) from error


def _wifi(options: argparse.Namespace) -> Wifi | None:
    if options.wifi is None:
        return None
    if options.wifi_password_file is None:
        return Wifi(options.wifi, "")
    try:
        return Wifi(options.wifi, options.wifi_password_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--wifi-password-file: {error}") from error


def _settings(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--settings {file}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"--settings {file}: must hold a JSON object")
    return content


def _say(text: str) -> None:
    print(text, file=sys.stderr)
