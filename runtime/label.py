"""A device's label: its id, and the secret by which a technician who reads it proves to stand before the device.

Its QR code carries a text: `kerb-label-1:wearable-7:` and 32 letters of base32, the secret and a check sum.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field

from protocols.provisioning import SECRET_BYTES
from protocols.topics import is_id

_PREFIX = "kerb-label-1"
_CHECK_BYTES = 4  # so that a letter that was missed is not taken for another device's secret


class LabelError(Exception):
    """A text that is no label: `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Label:
    """The device's id, and its secret, which is never shown but by `text`."""

    device: str
    secret: bytes = field(repr=False)

    @classmethod
    def make(cls, device: str) -> "Label":
        """A new one. Raises LabelError if this cannot be a device's id."""
        if not is_id(device):
            raise LabelError(f"{device!r} cannot name a device: 1 to 64 of A-Z a-z 0-9 _ -")
        return cls(device, secrets.token_bytes(SECRET_BYTES))

    def text(self) -> str:
        """What the QR code says. Whoever has it can provision the device."""
        code = base64.b32encode(self.secret + self._check()).decode()
        return f"{_PREFIX}:{self.device}:{code}"

    @classmethod
    def parse(cls, text: str) -> "Label":
        """The label of a text as a scanner types it. Raises LabelError, which tells nothing of the secret."""
        prefix, _, rest = text.strip().partition(":")
        device, _, code = rest.partition(":")
        if prefix != _PREFIX or not is_id(device):
            raise LabelError(f"it is no label of Kerb's: its QR code begins with {_PREFIX}: and the device's id")
        try:
            content = base64.b32decode(code.upper())
        except ValueError:
            content = b""
        label = cls(device, content[:SECRET_BYTES])
        if len(content) != SECRET_BYTES + _CHECK_BYTES or content[SECRET_BYTES:] != label._check():
            raise LabelError(f"the label of {device} was not read whole; scan it again")
        return label

    def _check(self) -> bytes:
        return hashlib.sha256(self.device.encode() + b":" + self.secret).digest()[:_CHECK_BYTES]
