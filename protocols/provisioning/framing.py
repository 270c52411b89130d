"""How messages travel: as lines of text on a serial console, as values of a characteristic over Bluetooth."""

import binascii

from ..errors import DecodeError
from .wire import MOST_MESSAGE

SUBJECT = "provisioning frame"
# The GATT service, where a technician's pieces are written, and where the device's are indicated.
SERVICE = "4b500001-5e32-438e-b190-7b812591caad"
REQUEST = "4b500002-5e32-438e-b190-7b812591caad"
ANSWER = "4b500003-5e32-438e-b190-7b812591caad"
_MARK = b"kerb:"
_OTHER = b"-" * len(_MARK)  # what no line of ours begins with
_SIZE_BYTES = 2


class Lines:
    """`kerb:` and the message in base64, a line each: a console may carry a log too, and mind control characters."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._text = b""  # of the line: its begin, then what is not decoded yet
        self._message: "bytearray | None" = None  # decoded as it comes, since a device has little memory

    def encode(self, message: bytes) -> bytes:
        """The bytes to be sent; they begin a line, whatever was on the console before."""
        return b"\n" + _MARK + binascii.b2a_base64(message)

    def feed(self, data: bytes) -> "list[bytes]":
        """The messages that end within these bytes. All other lines are passed over, damaged ones among them."""
        found = []
        for place, piece in enumerate(data.split(b"\n")):
            if place:
                if self._message and not self._text.strip():
                    found.append(bytes(self._message))
                self._begin()
            self._add(piece)
        return found

    def _add(self, piece: bytes) -> None:
        """Take more of the line."""
        self._text += piece
        if self._message is None:
            if not self._text.startswith(_MARK):
                self._text = self._text[: len(_MARK)]  # another line, or too little to tell
                return
            self._text = self._text[len(_MARK) :]
            self._message = bytearray()
        whole = len(self._text) // 4 * 4
        try:
            self._message.extend(binascii.a2b_base64(self._text[:whole]))
        except ValueError:
            self._message.extend(bytes(MOST_MESSAGE))  # as if it were too long
        self._text = self._text[whole:]
        if len(self._message) > MOST_MESSAGE:
            self._message = None
            self._text = _OTHER


class Values:
    """Two bytes for the message's size, then the message, cut into values as they come. One for each connection."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def encode(self, message: bytes) -> bytes:
        """The bytes to be sent, in values of any size."""
        return len(message).to_bytes(_SIZE_BYTES, "big") + message

    def feed(self, data: bytes) -> "list[bytes]":
        """The messages that end within these bytes. Raises DecodeError for a size that no message has."""
        self._waiting.extend(data)
        found = []
        while len(self._waiting) >= _SIZE_BYTES:
            size = int.from_bytes(self._waiting[:_SIZE_BYTES], "big")
            if not 0 < size <= MOST_MESSAGE:
                self._waiting = bytearray()
                raise DecodeError(SUBJECT, f"says it has {size} bytes, not 1 to {MOST_MESSAGE}")
            if len(self._waiting) < _SIZE_BYTES + size:
                break
            found.append(bytes(self._waiting[_SIZE_BYTES : _SIZE_BYTES + size]))
            self._waiting = self._waiting[_SIZE_BYTES + size :]
        return found
