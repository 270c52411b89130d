"""The secrets that the Bluetooth stack has us keep: keys of bonded centrals, their subscriptions, our own identity.

The stack hands them over, and asks for them, in interrupts: there they are only noted. `save` writes them to flash.
"""

import json
from binascii import hexlify, unhexlify

from firmware.core import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = "/bonds"
_MOST = 32  # secrets; then the one that was set longest ago gives way, and its central has to bond anew


class Bonds:
    """Secrets by kind and key, oldest first. What a loss of power keeps from flash, its central makes anew."""

    def __init__(self, directory: str):
        self._path = directory + _NAME
        self._secrets: "list[tuple[int, bytes, bytes]]" = []
        self.unsaved = False
        stored = files.read(self._path)
        try:
            for kind, key, value in json.loads(stored) if stored else ():
                self._secrets.append((kind, unhexlify(key), unhexlify(value)))
        except (ValueError, TypeError) as error:
            print("bonds: none can be read:", error)

    def get(self, kind: int, index: int, key: "bytes | None") -> "bytes | None":
        """The secret of this key, or without a key the index-th of its kind; None if there is none."""
        found = [value for each, other, value in self._secrets if each == kind and (key is None or other == key)]
        place = index if key is None else 0
        return found[place] if place < len(found) else None

    def set(self, kind: int, key: bytes, value: "bytes | None") -> bool:
        """Note a secret, or with None that it is to be forgotten; False if there was nothing to forget."""
        left = [each for each in self._secrets if each[0] != kind or each[1] != key]
        if value is None and len(left) == len(self._secrets):
            return False
        if value is not None:
            left = left[-(_MOST - 1) :] + [(kind, key, value)]
        self._secrets = left
        self.unsaved = True
        return True

    def save(self) -> None:
        """Write what has changed to flash."""
        if self.unsaved:
            self.unsaved = False
            rows: "list[list[Any]]" = [
                [kind, hexlify(key).decode(), hexlify(value).decode()] for kind, key, value in self._secrets
            ]
            files.write(self._path, json.dumps(rows).encode())
