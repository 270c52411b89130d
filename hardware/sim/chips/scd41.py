"""Model of the SCD41 (Sensirion data sheet SCD4x, version 1.5): commands of two bytes, words with a checksum each."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_US, _STOP_US = 5_000_000, 500_000
SERIAL = 0xF896_31_9F07
# The checksums by table-free long division: x^8 + x^5 + x^4 + 1, beginning with 0xFF.
_DIVISOR = 0x131


def _room(at_us: int) -> "tuple[int, int, int]":
    return 0x01F4, 0x6667, 0x5EB9  # the data sheet's example: 500 ppm, 25 degrees, 37 %


class Scd41:
    """One chip; `air` gives the three words at a time. `flip` is a bit of the next answer that is damaged, or None."""

    def __init__(self, air: "Callable[[int], tuple[int, int, int]]" = _room) -> None:
        self._air = air
        self._now_us = 0
        self._next_us = -1  # when the next measurement is there, while it measures
        self._free_us = 0
        self._ready = False
        self._answer = b""
        self.flip: "int | None" = None

    def i2c_write(self, data: bytes) -> None:
        """A command. While it measures, it takes few of them; others are not acknowledged."""
        command = data[0] << 8 | data[1]
        if self._now_us < self._free_us or (self._next_us >= 0 and command not in (0x3F86, 0xE4B8, 0xEC05)):
            raise OSError(19)
        if command == 0x21B1:
            self._next_us = self._now_us + _PERIOD_US
        elif command == 0x3F86:
            self._next_us, self._ready = -1, False
            self._free_us = self._now_us + _STOP_US
        elif command == 0xE4B8:
            self._say(0x8006 if self._ready else 0x8000)
        elif command == 0xEC05 and self._ready:
            self._ready = False
            self._say(*self._air(self._now_us))
        elif command == 0x3682:
            self._say(SERIAL >> 32, SERIAL >> 16 & 0xFFFF, SERIAL & 0xFFFF)

    def i2c_read(self, count: int) -> bytes:
        """The answer to the last command; without one nobody acknowledges."""
        if not self._answer:
            raise OSError(19)
        answer = bytearray(self._answer[:count])
        self._answer = b""
        if self.flip is not None:
            answer[self.flip // 8] ^= 1 << self.flip % 8
            self.flip = None
        return bytes(answer)

    def advance(self, to_us: int) -> None:
        """A measurement every 5 s."""
        self._now_us = to_us
        while 0 <= self._next_us <= to_us:
            self._ready = True
            self._next_us += _PERIOD_US

    def pulls_int_low(self) -> bool:
        """It has no interrupt output."""
        return False

    def _say(self, *words: int) -> None:
        for word in words:
            self._answer += word.to_bytes(2, "big") + bytes([_checksum(word)])


def _checksum(word: int) -> int:
    remainder = (word ^ 0xFF00) << 8
    for bit in range(23, 7, -1):
        if remainder >> bit & 1:
            remainder ^= _DIVISOR << bit - 8
    return remainder
