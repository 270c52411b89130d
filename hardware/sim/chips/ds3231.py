"""Register-level model of the DS3231 (data sheet 19-5170): BCD time that runs, the stop flag, temperature."""

from hardware.sim.chips.registers import RegisterChip

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Ds3231(RegisterChip):
    """One chip, fresh: its oscillator was never set going, so the stop flag stands."""

    def __init__(self) -> None:
        super().__init__()
        self.registers[0:7] = b"\x00\x00\x00\x01\x01\x01\x00"
        self.registers[0x0E:0x13] = b"\x1c\x88\x00\x19\x40"  # control, status, aging, 25.25 degrees
        self._second_us = 0

    def advance(self, to_us: int) -> None:
        """Whole seconds that have passed are counted on."""
        super().advance(to_us)
        while to_us - self._second_us >= 1_000_000:
            self._second_us += 1_000_000
            self._tick()

    def write(self, register: int, value: int) -> None:
        """Writing the seconds starts a second; the stop flag can only be cleared."""
        if register == 0:
            self._second_us = self.now_us
        if register == 0x0F:
            value &= self.registers[0x0F] | 0x7F
        super().write(register, value)

    def lose_power(self) -> None:
        """Both supplies fail, and come back."""
        self.__init__()  # type: ignore[misc]  # it is as new

    def _tick(self) -> None:
        fields = [self._decimal(register) for register in range(7)]
        year, month = fields[6], fields[5]
        days = _DAYS[month - 1] + (month == 2 and year % 4 == 0)
        for register, (most, first) in enumerate(((59, 0), (59, 0), (23, 0), (7, 1), (days, 1), (12, 1), (99, 0))):
            if fields[register] < most:
                self._set(register, fields[register] + 1)
                if register != 3:
                    return
            else:
                self._set(register, first)

    def _decimal(self, register: int) -> int:
        value = self.registers[register] & (0x3F if register == 2 else 0x1F if register == 5 else 0xFF)
        return (value >> 4) * 10 + (value & 0x0F)

    def _set(self, register: int, decimal: int) -> None:
        self.registers[register] = decimal // 10 << 4 | decimal % 10
