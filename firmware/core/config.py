"""The device's config: one JSON file in its storage, written at provisioning.

{"device": "wearable-1", "app": "wearable",
 "broker": {"host": "...", "port": 8884},
 "board": {"i2c": [{"bus": 0, "scl": 5, "sda": 4, "freq_hz": 400000}],
 "chips": [{"chip": "max30102", "bus": 0, "address": 87, "int_pin": 6}],
 "pins": [{"name": "door", "pin": 14, "use": "input", "pull": "up"}]}, "settings": {what the app lets one set}}
"""

import json

from firmware.core import files
from firmware.errors import ConfigError
from protocols.topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
_MOST_BYTES = 8192
_BROKER = (("host", str), ("port", int))


class Config:
    """What the file says, checked. `broker` and `settings` are maps; the board's parts are asked for by their names."""

    def __init__(self, content: "dict[str, Any]"):
        self.device: str = _entry(content, "device", str)
        self.app: str = _entry(content, "app", str)
        self.broker: "dict[str, Any]" = _entry(content, "broker", dict)
        self._board: "dict[str, Any]" = _entry(content, "board", dict)
        self.settings: "dict[str, Any]" = content.get("settings", {})
        if not isinstance(self.settings, dict):
            raise ConfigError("settings", "is not a table")
        if not is_id(self.device):
            raise ConfigError("device", "may hold A-Z a-z 0-9 _ - only, at most 64")
        for name, kind in _BROKER:
            _entry(self.broker, name, kind, "broker.")
        if not 0 < self.broker["port"] < 65536:
            raise ConfigError("broker.port", "is no port")

    def entries(self, table: str) -> "list[dict[str, Any]]":
        """All that the board has of "chips", "pins" or "serial"; none if it says nothing of them."""
        return self._board.get(table, [])  # type: ignore[no-any-return]

    def pin(self, name: str, use: str) -> "dict[str, Any]":
        """The pin of this name, which is for "input" or "output". Raises ConfigError if the board has none."""
        found = self._find("pins", "name", name)
        if found["use"] != use:
            raise ConfigError("board.pins", f"{name} is no {use}")
        return found

    def serial(self, name: str) -> "dict[str, Any]":
        """The serial port of this name. Raises ConfigError if the board has none."""
        return self._find("serial", "name", name)

    def chip(self, name: str) -> "dict[str, Any]":
        """Where the board has this chip: bus, address, int_pin. Raises ConfigError if it has none."""
        return self._find("chips", "chip", name)

    def bus(self, number: int) -> "dict[str, Any]":
        """The pins and speed of an I2C bus. Raises ConfigError if the board has no such bus."""
        return self._find("i2c", "bus", number)

    def _find(self, table: str, key: str, wanted: object) -> "dict[str, Any]":
        for entry in _entry(self._board, table, list, "board."):
            if entry.get(key) == wanted:
                return entry  # type: ignore[no-any-return]
        raise ConfigError("board." + table, f"has no {key} {wanted}")


def load(directory: str) -> Config:
    """The config in this directory. Raises ConfigError."""
    data = files.read(directory + "/" + NAME)
    if data is None or len(data) > _MOST_BYTES:
        raise ConfigError(NAME, "is missing" if data is None else "is too long")
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ConfigError(NAME, "is not JSON") from error
    if not isinstance(content, dict):
        raise ConfigError(NAME, "is not a JSON object")
    return Config(content)


def _entry(table: "dict[str, Any]", key: str, kind: type, prefix: str = "") -> "Any":
    if not isinstance(table.get(key), kind):
        raise ConfigError(prefix + key, f"is missing or not of type {kind.__name__}")
    return table[key]
