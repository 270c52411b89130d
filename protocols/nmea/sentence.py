"""NMEA 0183 sentences: their frame and checksum. Source: NMEA 0183 version 4.10, sentence structure."""

from collections import namedtuple

from ..errors import ChecksumError, DecodeError, EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Sentence(NamedTuple):
        """A checked sentence: talker ("GP"), type ("RMC") and the fields after them.

        In a maker's own sentence the talker is "P", the type begins with the maker.
        """

        talker: str
        type: str
        fields: tuple[str, ...]

else:
    Sentence = namedtuple("Sentence", ("talker", "type", "fields"))

# The standard allows 82 characters with "$" and CR LF. Receivers in high-precision mode exceed it by a few digits.
MAX_LENGTH = 82
TOLERATED_LENGTH = 100


def checksum(body: "str | bytes") -> int:
    """The exclusive or of the characters between "$" and "*"."""
    value = 0
    for byte in body.encode() if isinstance(body, str) else body:
        value ^= byte
    return value


def sentence(body: str) -> str:
    """The whole sentence of a body, ready to be sent: "$", body, "*", checksum, CR LF. Raises EncodeError."""
    if any(not " " <= char <= "~" or char in "$*" for char in body) or len(body) + 6 > MAX_LENGTH:
        raise EncodeError("NMEA sentence", f"{body!r} cannot be sent")
    return f"${body}*{checksum(body):02X}\r\n"


def parse(text: "str | bytes") -> "Sentence":
    """The parts of one sentence, with or without its line end. Raises DecodeError, ChecksumError."""
    subject = "NMEA sentence"
    if len(text) > TOLERATED_LENGTH:
        raise DecodeError(subject, f"is {len(text)} characters long")
    data = text.encode() if isinstance(text, str) else bytes(text)
    while data and data[-1] in b"\r\n":
        data = data[:-1]
    if any(not 0x20 <= byte <= 0x7E for byte in data):
        raise DecodeError(subject, "has a character that is not printable ASCII")
    line = data.decode()
    if len(line) < 4 or line[0] != "$" or line[-3] != "*":
        raise DecodeError(subject, "does not go from $ to * and a checksum")
    body = line[1:-3]
    if "$" in body or "*" in body:
        raise DecodeError(subject, "holds a second start or end")
    if any(digit not in "0123456789ABCDEFabcdef" for digit in line[-2:]):
        raise DecodeError(subject, f"checksum {line[-2:]!r} is not hexadecimal")
    if int(line[-2:], 16) != checksum(body):
        raise ChecksumError(subject, f"checksum {line[-2:]} where {checksum(body):02X} is wanted")
    fields = body.split(",")
    address = fields[0]
    if any(not ("A" <= char <= "Z" or "0" <= char <= "9") for char in address) or len(address) < 4:
        raise DecodeError(subject, f"address {address!r}")
    if address[0] == "P":
        return Sentence("P", address[1:], tuple(fields[1:]))
    if len(address) != 5:
        raise DecodeError(subject, f"address {address!r}")
    return Sentence(address[:2], address[2:], tuple(fields[1:]))
