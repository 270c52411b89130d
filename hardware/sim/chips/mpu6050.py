"""Register-level model of the MPU-6050's accelerometer (register map RM-MPU-6000A, revision 4.2)."""

from hardware.sim.chips.registers import RegisterChip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SMPLRT_DIV, _CONFIG, _ACCEL_CONFIG, _ACCEL_XOUT, _PWR_MGMT_1, _WHO_AM_I = 0x19, 0x1A, 0x1C, 0x3B, 0x6B, 0x75


def _at_rest(at_us: int) -> "tuple[int, int, int]":
    return 0, 0, 1000  # thousandths of g


class Mpu6050(RegisterChip):
    """One chip; `motion` gives the acceleration along its axes in thousandths of g at a time."""

    def __init__(self, motion: "Callable[[int], tuple[int, int, int]]" = _at_rest) -> None:
        super().__init__()
        self._motion = motion
        self._next_us = 0
        self._reset()

    def advance(self, to_us: int) -> None:
        """A sample at each period while it is awake."""
        super().advance(to_us)
        period_us = 1000 * (1 + self.registers[_SMPLRT_DIV])
        if self.registers[_PWR_MGMT_1] & 0x40 or to_us < self._next_us:
            return
        at_us = to_us // period_us * period_us
        self._next_us = at_us + period_us
        per_g = 16384 >> (self.registers[_ACCEL_CONFIG] >> 3 & 3)
        place = _ACCEL_XOUT
        for mg in self._motion(at_us):
            raw = min(max(mg * per_g // 1000, -32768), 32767) & 0xFFFF
            self.registers[place], self.registers[place + 1] = raw >> 8, raw & 0xFF
            place += 2

    def write(self, register: int, value: int) -> None:
        """Asleep it takes nothing but its power management; the reset bit clears itself."""
        if register == _PWR_MGMT_1 and value & 0x80:
            self._reset()
        elif register == _PWR_MGMT_1 or not self.registers[_PWR_MGMT_1] & 0x40:
            super().write(register, value)

    def _reset(self) -> None:
        self.registers[:] = bytes(256)
        self.registers[_PWR_MGMT_1], self.registers[_WHO_AM_I] = 0x40, 0x68
