"""Driver of the MAX30102, pulse oximeter and heart-rate sensor on I2C (data sheet 19-7740)."""

from array import array

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "max30102"
ADDRESS = 0x57
DEPTH = 32
SAMPLES_PER_S = 100

_INT_STATUS_1, _INT_ENABLE_1, _FIFO_WR_PTR, _FIFO_DATA = 0x00, 0x02, 0x04, 0x07
_FIFO_CONFIG, _MODE_CONFIG, _SPO2_CONFIG, _LED1_PA, _PART_ID = 0x08, 0x09, 0x0A, 0x0C, 0xFF
_A_FULL = 0x80
_RESET, _SHUTDOWN, _MODE_SPO2 = 0x40, 0x80, 0x03
_EXPECTED_PART = 0x15
_BYTES_A_SAMPLE = 6  # red, then infrared, three bytes each
_COUNTS = 0x3FFFF

_SETTINGS = (
    (_FIFO_CONFIG, bytes([0x0F])),  # no averaging, no rollover, interrupt at 17 samples: 15 more have room
    (_SPO2_CONFIG, bytes([0x27])),  # range 4096 nA, 100 samples/s, 411 us: 18 bits
    (_LED1_PA, bytes([0x24, 0x24])),  # 7.2 mA, red and infrared
    (_FIFO_WR_PTR, bytes(3)),  # write pointer, overflow counter, read pointer
    (_INT_ENABLE_1, bytes([_A_FULL])),
    (_MODE_CONFIG, bytes([_MODE_SPO2])),
)


class Max30102:
    """One chip on the bus that it is handed. After `start`, call `read` at each interrupt.

    `red` and `infrared` hold the samples of the last burst, in counts of 18 bits; more blood means fewer counts.
    """

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)
        self._buffer = bytearray(DEPTH * _BYTES_A_SAMPLE)
        self.red = array("I", [0] * DEPTH)
        self.infrared = array("I", [0] * DEPTH)

    def start(self) -> None:
        """Check which chip it is, reset it and let it measure. Raises DriverError."""
        self._registers.expect(_PART_ID, _EXPECTED_PART)
        self._registers.write(_MODE_CONFIG, bytes([_RESET]))
        if self._registers.read(_MODE_CONFIG, 1)[0] & _RESET:
            raise self._registers.error("does not come out of reset")
        for register, data in _SETTINGS:
            self._registers.write(register, data)

    def stop(self) -> None:
        """LEDs off; the settings stay. Raises DriverError."""
        self._registers.write(_MODE_CONFIG, bytes([_SHUTDOWN]))

    def read(self) -> tuple[int, int]:
        """Fetch what the FIFO holds: (how many samples, how many were lost after them). Raises DriverError.

        The chip stops counting lost samples at 31, so 31 means that or more.
        """
        status = self._registers.read(_INT_STATUS_1, 1)[0]  # this also releases the interrupt line
        write, lost, read = self._registers.read(_FIFO_WR_PTR, 3)
        held = (write - read) % DEPTH
        if not held and (lost or status & _A_FULL):
            held = DEPTH  # equal pointers mean empty or full
        if held:
            self._fetch(held)
        return held, lost

    def _fetch(self, held: int) -> None:
        burst = memoryview(self._buffer)[: held * _BYTES_A_SAMPLE]
        self._registers.read_into(_FIFO_DATA, burst)
        place = 0
        for sample in range(held):
            self.red[sample] = (burst[place] << 16 | burst[place + 1] << 8 | burst[place + 2]) & _COUNTS
            self.infrared[sample] = (burst[place + 3] << 16 | burst[place + 4] << 8 | burst[place + 5]) & _COUNTS
            place += _BYTES_A_SAMPLE
