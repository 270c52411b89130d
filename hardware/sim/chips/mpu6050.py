"""Register-level model of the MPU-6050's accelerometer (register map RM-MPU-6000A, revision 4.2)."""

from hardware.sim.chips.registers import RegisterChip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIFO_EN, _INT_STATUS, _USER_CTRL, _FIFO_COUNT, _FIFO_R_W = 0x23, 0x3A, 0x6A, 0x72, 0x74
_FIFO_BYTES = 1024
_ON, _EMPTY, _ACCELERATION, _OVERFLOW = 0x40, 0x04, 0x08, 0x10
_SMPLRT_DIV, _CONFIG, _ACCEL_CONFIG, _ACCEL_XOUT, _PWR_MGMT_1, _WHO_AM_I = 0x19, 0x1A, 0x1C, 0x3B, 0x6B, 0x75


def _at_rest(at_us: int) -> "tuple[int, int, int]":
    return 0, 0, 1000  # thousandths of g


class Mpu6050(RegisterChip):
    """One chip; `motion` gives the acceleration along its axes in thousandths of g at a time.

    It may be changed. Of the FIFO there is what acceleration needs (register map, sections 4.17 and 4.33).
    """

    def __init__(self, motion: "Callable[[int], tuple[int, int, int]]" = _at_rest) -> None:
        super().__init__()
        self.motion = motion
        self._next_us = 0
        self._fifo = bytearray()
        self._reset()

    def advance(self, to_us: int) -> None:
        """A sample at each period while it is awake."""
        period_us = 1000 * (1 + self.registers[_SMPLRT_DIV])
        if self.registers[_PWR_MGMT_1] & 0x40:
            self._next_us = to_us
        elif self.registers[_USER_CTRL] & _ON and self.registers[_FIFO_EN] & _ACCELERATION:
            while self._next_us <= to_us:
                self._measure(self._next_us)
                self._collect()
                self._next_us += period_us
        elif self._next_us <= to_us:
            self._measure(to_us // period_us * period_us)
            self._next_us = to_us // period_us * period_us + period_us
        super().advance(to_us)

    def read(self, register: int) -> int:
        """The FIFO gives its bytes one by one; reading the status clears it."""
        if register == _FIFO_R_W:
            value = self._fifo[0] if self._fifo else 0xFF
            self._fifo = self._fifo[1:]
            return value
        if register in (_FIFO_COUNT, _FIFO_COUNT + 1):
            return len(self._fifo) >> (8 if register == _FIFO_COUNT else 0) & 0xFF
        value = super().read(register)
        if register == _INT_STATUS:
            self.registers[_INT_STATUS] = 0
        return value

    def i2c_read(self, count: int) -> bytes:
        """Burst reads stay at the FIFO's register."""
        if self._pointer == _FIFO_R_W:
            return bytes([self.read(_FIFO_R_W) for _ in range(count)])
        return super().i2c_read(count)

    def _measure(self, at_us: int) -> None:
        per_g = 16384 >> (self.registers[_ACCEL_CONFIG] >> 3 & 3)
        place = _ACCEL_XOUT
        for mg in self.motion(at_us):
            raw = min(max(mg * per_g // 1000, -32768), 32767) & 0xFFFF
            self.registers[place], self.registers[place + 1] = raw >> 8, raw & 0xFF
            place += 2

    def _collect(self) -> None:
        self._fifo += self.registers[_ACCEL_XOUT : _ACCEL_XOUT + 6]
        if len(self._fifo) > _FIFO_BYTES:
            self._fifo = self._fifo[len(self._fifo) - _FIFO_BYTES :]
            self.registers[_INT_STATUS] |= _OVERFLOW

    def write(self, register: int, value: int) -> None:
        """Asleep it takes nothing but its power management; the reset bit clears itself."""
        if register == _PWR_MGMT_1 and value & 0x80:
            self._reset()
        elif register == _PWR_MGMT_1 or not self.registers[_PWR_MGMT_1] & 0x40:
            super().write(register, value)
            if register == _USER_CTRL and value & _EMPTY:
                self.registers[_USER_CTRL] &= ~_EMPTY
                self._fifo = bytearray()

    def _reset(self) -> None:
        self.registers[:] = bytes(256)
        self.registers[_PWR_MGMT_1], self.registers[_WHO_AM_I] = 0x40, 0x68
