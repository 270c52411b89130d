"""Register-level model of the SSD1309 (data sheet rev. 1.1): commands, and a picture that is written by addresses."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WIDTH, PAGES = 128, 8
_COMMANDS, _DATA = 0x00, 0x40
_ARGUMENTS = {0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1, 0xFD: 1}
_PLAIN = (0xA0, 0xA1, 0xA4, 0xA5, 0xA6, 0xA7, 0xAE, 0xAF, 0xC0, 0xC8)


class Ssd1309:
    """One display, fresh: dark. `ram` is its picture, `on` whether it is lit; raises ValueError for what it has not."""

    def __init__(self) -> None:
        self.ram = bytearray(WIDTH * PAGES)
        self.on = False
        self.along = False  # whether addresses run along the pages (horizontal addressing mode)
        self._columns, self._pages = (0, WIDTH - 1), (0, PAGES - 1)
        self._column = self._page = 0

    def i2c_write(self, data: bytes) -> None:
        """A control byte, then commands or picture."""
        if data[0] == _DATA:
            for byte in data[1:]:
                self._put(byte)
        elif data[0] == _COMMANDS:
            rest = list(data[1:])
            while rest:
                code = rest.pop(0)
                self._take(code, [rest.pop(0) for _ in range(_ARGUMENTS.get(code, 0))])
        else:
            raise ValueError(f"control byte 0x{data[0]:02x}")

    def i2c_read(self, count: int) -> bytes:
        """The status: whether it is dark."""
        return bytes([0 if self.on else 0x40]) * count

    def advance(self, to_us: int) -> None:
        """Time changes nothing."""

    def pulls_int_low(self) -> bool:
        """It has no interrupt output."""
        return False

    def _take(self, code: int, arguments: "list[Any]") -> None:
        if code == 0x20:
            self.along = arguments == [0]
        elif code == 0x21:
            self._columns, self._column = (arguments[0], arguments[1]), arguments[0]
        elif code == 0x22:
            self._pages, self._page = (arguments[0], arguments[1]), arguments[0]
        elif code in (0xAE, 0xAF):
            self.on = code == 0xAF
        elif code not in _ARGUMENTS and code not in _PLAIN and not 0x40 <= code <= 0x7F:
            raise ValueError(f"there is no command 0x{code:02x}")

    def _put(self, byte: int) -> None:
        self.ram[self._page * WIDTH + self._column] = byte
        self._column += 1
        if self._column > self._columns[1]:
            self._column = self._columns[0]
            if self.along:
                self._page = self._page + 1 if self._page < self._pages[1] else self._pages[0]
