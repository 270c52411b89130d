"""Driver of the MPU-6050, acceleration (InvenSense register map RM-MPU-6000A, revision 4.2)."""

import struct

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "mpu6050"
ADDRESS = 0x68
LSB_PER_G = 4096

_SMPLRT_DIV, _CONFIG, _ACCEL_CONFIG, _ACCEL_XOUT, _PWR_MGMT_1, _WHO_AM_I = 0x19, 0x1A, 0x1C, 0x3B, 0x6B, 0x75
_EXPECTED_ID = 0x68  # whatever its address is
_SETTINGS = (
    (_PWR_MGMT_1, b"\x01"),  # awake, clocked by the gyroscope
    (_CONFIG, b"\x03"),  # low pass at 44 Hz
    (_SMPLRT_DIV, b"\x13"),  # 1 kHz / 20: 50 samples a second
    (_ACCEL_CONFIG, b"\x10"),  # 8 g, which a fall does not exceed for long
)


class Mpu6050:
    """The sensor; after `start` it measures 50 times a second."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)
        self._buffer = bytearray(6)

    def start(self) -> None:
        """Check which chip it is, wake it and set it. Raises DriverError."""
        self._registers.expect(_WHO_AM_I, _EXPECTED_ID)
        for register, data in _SETTINGS:
            self._registers.write(register, data)
            if self._registers.read(register, 1) != data:
                raise self._registers.error(f"register 0x{register:02x} does not keep what is written")

    def acceleration_mg(self) -> "tuple[int, int, int]":
        """Along x, y and z in thousandths of g. Raises DriverError."""
        self._registers.read_into(_ACCEL_XOUT, self._buffer)
        x, y, z = struct.unpack(">hhh", self._buffer)
        return x * 1000 // LSB_PER_G, y * 1000 // LSB_PER_G, z * 1000 // LSB_PER_G
