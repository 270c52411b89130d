"""What a device is given at production: who it is, and the secret that its label shows.

`label.json` in its storage: {"device": "wearable-7", "board": "kerb-wearable", "secret": hex, "button": pin or null}.
"""

import json
import os

from firmware.core import config, files
from firmware.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "label.json"
IN_VAIN = "/waited"  # there while a button is held for which nobody came: it may be stuck, and there is work to do
STAGED = "/provision.json"  # what a technician has given, until it is in its places
_SECRET_BYTES = 16


class Label:
    """The file, checked. `button`: the pin of a button to ground; held at a start, the device is provisioned anew."""

    def __init__(self, directory: str):
        data = files.read(directory + "/" + NAME)
        if data is None:
            raise ConfigError(NAME, "is missing: the device was never given the secret that its label shows")
        try:
            label = json.loads(data)
            self.device: str = label["device"]
            self.board: str = label["board"]
            self.secret = bytes.fromhex(label["secret"])
            self.button: "int | None" = label["button"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(NAME, "is damaged") from error
        if len(self.secret) != _SECRET_BYTES:
            raise ConfigError(NAME, "has a secret of another size")


def wants_provisioning(hal: "Any") -> bool:
    """Whether the device is to be provisioned at this start: it never was, or not to the end, or its button is held."""
    storage = hal.storage()
    if files.read(storage + "/" + config.NAME) is None or files.read(storage + STAGED) is not None:
        return True
    if files.read(storage + "/" + NAME) is None:
        return False
    button = Label(storage).button
    held = button is not None and not hal.digital_in(button, pull="up").value()
    if files.read(storage + IN_VAIN) is None:
        return held
    if not held:
        os.unlink(storage + IN_VAIN)
    return False
