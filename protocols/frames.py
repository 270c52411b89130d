"""Frames of serial devices, as their files describe them: found in a stream of bytes, checked, and read field by field.

A frame is `fixed`, of one length, or `delimited`, up to its end. What does not check is no frame: one byte is dropped
and the search goes on behind it, so that a good frame that begins within a bad one is found.
Sources of the checks: MODBUS over Serial Line V1.02 (6.2.2); CRC catalogue (CRC-16/IBM-3740, called CCITT-FALSE, and
CRC-16/XMODEM, both of polynomial 0x1021).
"""

from collections import namedtuple

from .errors import DecodeError
from .modbus.registers import scaled
from .rtu import crc16

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NamedTuple

    class FrameFormat(NamedTuple):
        """How frames look.

        start, end: what each begins and ends with; `end` may be empty where `length` is given. length: of a fixed
        frame with all its parts, 0 for a delimited one. most: bytes of the longest delimited frame. check: a name of
        CHECKS or empty; it stands right before `end` and covers what is between `check_from` and itself; check_order:
        of its bytes, "big" or "little".
        """

        start: bytes
        end: bytes
        length: int
        most: int
        check: str
        check_from: int
        check_order: Literal["big", "little"]

else:
    FrameFormat = namedtuple("FrameFormat", ("start", "end", "length", "most", "check", "check_from", "check_order"))


def _crc_ccitt(data: bytes, crc: int) -> int:
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _xor(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
    return value


# name -> (bytes, function)
CHECKS = {
    "crc16_modbus": (2, crc16),
    "crc16_ccitt": (2, lambda data: _crc_ccitt(data, 0xFFFF)),
    "crc16_xmodem": (2, lambda data: _crc_ccitt(data, 0)),
    "xor": (1, _xor),
    "sum8": (1, lambda data: sum(data) & 0xFF),
    "sum8_negative": (1, lambda data: -sum(data) & 0xFF),
    "sum16": (2, lambda data: sum(data) & 0xFFFF),
}

# type -> (bytes, signed)
TYPES = {
    "uint8": (1, False), "int8": (1, True), "uint16": (2, False), "int16": (2, True), "uint24": (3, False),
    "uint32": (4, False), "int32": (4, True),
}  # fmt: skip


def check_size(format_: "FrameFormat") -> int:
    """How many bytes the check takes."""
    return CHECKS[format_.check][0] if format_.check else 0


def with_check(format_: "FrameFormat", head: bytes) -> bytes:
    """A whole frame of what stands before its check."""
    if not format_.check:
        return head + format_.end
    size, function = CHECKS[format_.check]
    return head + function(head[format_.check_from :]).to_bytes(size, format_.check_order) + format_.end


class FrameReader:
    """Bytes in, frames out; holds at most one unfinished frame.

    `counts` tells what had to be thrown away: "garbage_bytes" outside frames, "checksum_errors" of what looked like a
    frame, "overlong" beginnings whose end never came.
    """

    def __init__(self, format_: "FrameFormat"):
        self.counts: "dict[str, int]" = {}
        self._format = format_
        self._input = b""
        # Where frames have no start of their own one begins where another ends: the first may have been half over.
        self._in_step = bool(format_.start)

    def feed(self, data: bytes) -> "list[bytes]":
        """The frames that `data` completes, whole."""
        self._input += data
        frames: "list[bytes]" = []
        while True:
            self._drop(self._until_start())
            size = self._size()
            if size is None or not self._in_step:
                return frames
            frame = self._input[:size]
            if size and frame == with_check(self._format, frame[: size - len(self._format.end) - self._check_size()]):
                frames.append(frame)
                self._input = self._input[size:]
            else:
                self._count("checksum_errors" if size else "overlong", 1)
                self._in_step = bool(self._format.start)
                self._drop(1)

    def _check_size(self) -> int:
        return check_size(self._format)

    def _until_start(self) -> int:
        """How many bytes stand before the next start, or what may become one."""
        start = self._format.start
        if not start:
            return 0 if self._in_step else self._until_end()
        at = self._input.find(start)
        if at >= 0:
            return at
        for kept in range(min(len(start) - 1, len(self._input)), 0, -1):
            if self._input[-kept:] == start[:kept]:
                return len(self._input) - kept
        return len(self._input)

    def _until_end(self) -> int:
        end = self._format.end
        at = self._input.find(end)
        self._in_step = at >= 0
        return at + len(end) if self._in_step else max(0, len(self._input) - len(end) + 1)

    def _size(self) -> int | None:
        """The size of the frame that begins the input; 0: it is too long; None: more must come."""
        format_ = self._format
        if format_.length:
            return format_.length if len(self._input) >= format_.length else None
        at = self._input.find(format_.end, len(format_.start))
        if at >= 0 and at + len(format_.end) <= format_.most:
            return at + len(format_.end)
        return 0 if at >= 0 or len(self._input) >= format_.most else None

    def _drop(self, count: int) -> None:
        if count:
            self._count("garbage_bytes", count)
            self._input = self._input[count:]

    def _count(self, counter: str, by: int) -> None:
        self.counts[counter] = self.counts.get(counter, 0) + by


def decode_field(
    frame: bytes,
    at: int,
    type_: str,
    *,
    order: str = "big",
    bit: "int | None" = None,
    width: int = 1,
    scale: float = 1.0,
    offset: float = 0.0,
) -> "int | float":
    """A number in a frame: raw * scale + offset; with `bit` the `width` bits from there. Raises DecodeError."""
    if type_ not in TYPES:
        raise DecodeError("frame field", f"type {type_} is unknown")
    size, signed = TYPES[type_]
    if not 0 <= at <= len(frame) - size:
        raise DecodeError("frame field", f"{size} bytes at {at} are not in {len(frame)}")
    data = frame[at : at + size]
    if order == "little":
        data = bytes([data[size - 1 - place] for place in range(size)])
    raw = int.from_bytes(data, "big")
    if bit is not None:
        return scaled(raw >> bit & ((1 << width) - 1), scale, offset)
    if signed and data[0] & 0x80:
        raw -= 1 << 8 * size
    return scaled(raw, scale, offset)


def split_text(format_: "FrameFormat", frame: bytes, separator: str) -> "list[str]":
    """The parts of a frame of text between its start and its check. Raises DecodeError."""
    inner = frame[len(format_.start) : len(frame) - len(format_.end) - check_size(format_)]
    try:
        text = inner.decode("ascii")
    except UnicodeError:
        raise DecodeError("frame", "is not ASCII text") from None
    return [part.strip() for part in text.split(separator)]


def decode_text(parts: "list[str]", index: int, *, scale: float = 1.0, offset: float = 0.0) -> "int | float | None":
    """The number in a part; None for one that is empty. Raises DecodeError."""
    if index >= len(parts):
        raise DecodeError("frame", f"has {len(parts)} parts, and number {index} is wanted")
    text = parts[index]
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    whole, _, fraction = digits.partition(".")
    if len(digits) > 18 or not (whole + fraction) or any([not "0" <= char <= "9" for char in whole + fraction]):
        raise DecodeError("frame", f"{text!r} is no number")
    return scaled(float(text) if "." in text else int(text), scale, offset)
