"""Driver of the SSD1309, a controller of OLED displays with 128 x 64 dots (data sheet SSD1309 rev. 1.1)."""

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "ssd1309"
ADDRESS = 0x3C
WIDTH, HEIGHT = 128, 64

_COMMANDS, _DATA = 0x00, 0x40  # the control byte: what follows it
_PAGES = HEIGHT // 8
_START = bytes(
    (
        0xFD, 0x12,  # take commands
        0xAE,  # off
        0x20, 0x00,  # addresses run along the page, then to the next one
        0xA1, 0xC8,  # the cable is above
        0xA8, HEIGHT - 1,
        0xD3, 0x00, 0x40,
        0xDA, 0x12,
        0xD5, 0xA0, 0xD9, 0x22, 0xDB, 0x34,
        0x81, 0xCF,  # contrast
        0xA4, 0xA6,
    )
)  # fmt: skip
_ON = b"\xaf"


class Ssd1309:
    """The display. `buffer` is the picture, in bytes of 8 dots downwards (framebuf.MONO_VLSB); `show` sends it."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)
        self.buffer = bytearray(WIDTH * _PAGES)
        self._shown = bytearray()

    def start(self) -> None:
        """Set the display up, dark, and light it. Raises DriverError."""
        self._registers.write(_COMMANDS, _START)
        self._shown = bytearray()
        self.show()
        self._registers.write(_COMMANDS, _ON)

    def show(self) -> None:
        """Send those rows of 8 dots that have changed; one takes 3 ms. Raises DriverError."""
        for page in range(_PAGES):
            row = self.buffer[page * WIDTH : (page + 1) * WIDTH]
            if row != self._shown[page * WIDTH : (page + 1) * WIDTH]:
                self._registers.write(_COMMANDS, bytes((0x21, 0, WIDTH - 1, 0x22, page, page)))
                self._registers.write(_DATA, bytes(row))
        self._shown = bytearray(self.buffer)
