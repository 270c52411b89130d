"""Where one record of a TLS stream ends and the next begins (RFC 5246, 6.2.1), though nobody can read them."""

_HEAD = 5  # type, version, length
_APPLICATION_DATA = 23


class Answers:
    """Lets so many records of application data pass, with all that is before them, and nothing that comes after."""

    def __init__(self, most: int):
        self._left = most
        self._head = b""
        self._body = 0  # bytes of the present record that are still to come

    def passed(self, data: bytes) -> bytes:
        """What passes of the next bytes of the stream."""
        at = 0
        while at < len(data):
            if self._body:
                step = min(self._body, len(data) - at)
                self._body -= step
                at += step
                continue
            part = data[at : at + _HEAD - len(self._head)]
            self._head += part
            at += len(part)
            if len(self._head) == _HEAD:
                if self._head[0] == _APPLICATION_DATA:
                    if not self._left:
                        return data[: max(0, at - _HEAD)]
                    self._left -= 1
                self._body = int.from_bytes(self._head[3:], "big")
                self._head = b""
        return data
