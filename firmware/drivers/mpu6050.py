"""Driver of the MPU-6050, acceleration (InvenSense register map RM-MPU-6000A, revision 4.2)."""

import struct
from array import array

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "mpu6050"
ADDRESS = 0x68
LSB_PER_G = 4096
SAMPLES_PER_S = 50
DEPTH = 32  # samples that one `read` takes

_FIFO_EN, _INT_STATUS, _USER_CTRL, _FIFO_COUNT, _FIFO_R_W = 0x23, 0x3A, 0x6A, 0x72, 0x74
_FIFO_OVERFLOW, _FIFO_RESET, _FIFO_ON, _FIFO_ACCELERATION = 0x10, 0x04, b"\x40", b"\x08"
_SAMPLE_BYTES = 6
_SMPLRT_DIV, _CONFIG, _ACCEL_CONFIG, _ACCEL_XOUT, _PWR_MGMT_1, _WHO_AM_I = 0x19, 0x1A, 0x1C, 0x3B, 0x6B, 0x75
_EXPECTED_ID = 0x68  # whatever its address is
_SETTINGS = (
    (_PWR_MGMT_1, b"\x01"),  # awake, clocked by the gyroscope
    (_CONFIG, b"\x03"),  # low pass at 44 Hz
    (_SMPLRT_DIV, b"\x13"),  # 1 kHz / 20: 50 samples a second
    (_ACCEL_CONFIG, b"\x10"),  # 8 g, which a fall does not exceed for long
)


class Mpu6050:
    """The sensor; after `start` it measures 50 times a second.

    Who needs every sample calls `collect` once and then `read`, three times a second or more often: `samples_mg` holds
    what the last one took, x, y and z of each.
    """

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)
        self._buffer = bytearray(DEPTH * _SAMPLE_BYTES)
        self.samples_mg = array("h", [0] * (3 * DEPTH))

    def start(self) -> None:
        """Check which chip it is, wake it and set it. Raises DriverError."""
        self._registers.expect(_WHO_AM_I, _EXPECTED_ID)
        for register, data in _SETTINGS:
            self._registers.write(register, data)
            if self._registers.read(register, 1) != data:
                raise self._registers.error(f"register 0x{register:02x} does not keep what is written")

    def acceleration_mg(self) -> "tuple[int, int, int]":
        """Along x, y and z in thousandths of g. Raises DriverError."""
        x, y, z = struct.unpack(">hhh", self._registers.read(_ACCEL_XOUT, _SAMPLE_BYTES))
        return x * 1000 // LSB_PER_G, y * 1000 // LSB_PER_G, z * 1000 // LSB_PER_G

    def collect(self) -> None:
        """Let the chip's FIFO (170 samples, 3.4 s) collect from now on. Raises DriverError."""
        self._registers.write(_FIFO_EN, _FIFO_ACCELERATION)
        self._registers.write(_USER_CTRL, bytes([_FIFO_ON[0] | _FIFO_RESET]))
        self._registers.write(_USER_CTRL, _FIFO_ON)

    def read(self) -> "tuple[int, bool]":
        """Take what was collected: (how many samples, whether some were lost before them). Raises DriverError.

        A FIFO that has overflowed is no longer in step with the samples: it is emptied.
        """
        if self._registers.read(_INT_STATUS, 1)[0] & _FIFO_OVERFLOW:
            self.collect()
            return 0, True
        high, low = self._registers.read(_FIFO_COUNT, 2)
        count = min((high << 8 | low) // _SAMPLE_BYTES, DEPTH)
        if count:
            self._fetch(count)
        return count, False

    def _fetch(self, count: int) -> None:
        burst = memoryview(self._buffer)[: count * _SAMPLE_BYTES]
        self._registers.read_into(_FIFO_R_W, burst)
        for place in range(3 * count):
            raw = burst[2 * place] << 8 | burst[2 * place + 1]
            self.samples_mg[place] = (raw - (0x10000 if raw > 0x7FFF else 0)) * 1000 // LSB_PER_G
