"""How messages travel: as lines of text on a serial console, as values of a characteristic over Bluetooth."""

import binascii

from ..errors import DecodeError
from .wire import MOST_MESSAGE

SUBJECT = "provisioning frame"
_MARK = b"kerb:"
_MOST_LINE = len(_MARK) + 4 * (MOST_MESSAGE + 2) // 3 + 1  # and a carriage return
_SIZE_BYTES = 2


class Lines:
    """`kerb:` and the message in base64, a line each: a console may carry a log too, and mind control characters."""

    def __init__(self) -> None:
        self._line = bytearray()

    def encode(self, message: bytes) -> bytes:
        """The bytes to be sent; they begin a line, whatever was on the console before."""
        return b"\n" + _MARK + binascii.b2a_base64(message)

    def feed(self, data: bytes) -> "list[bytes]":
        """The messages that end within these bytes. All other lines are passed over, damaged ones among them."""
        found = []
        for place, piece in enumerate(data.split(b"\n")):
            if place:
                found.append(self._ended())
            self._line.extend(piece[: _MOST_LINE + 1 - len(self._line)])
        return [message for message in found if message]

    def _ended(self) -> bytes:
        """The message of the line that has ended; nothing if it holds none."""
        line, self._line = bytes(self._line), bytearray()
        if len(line) > _MOST_LINE or not line.startswith(_MARK):
            return b""
        try:
            return binascii.a2b_base64(line[len(_MARK) :])
        except ValueError:
            return b""


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
