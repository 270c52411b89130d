"""Driver of the DS3231, a clock that runs on through a loss of power (data sheet 19-5170)."""

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "ds3231"
ADDRESS = 0x68

_SECONDS, _STATUS, _TEMPERATURE = 0x00, 0x0F, 0x11
_OSCILLATOR_STOPPED = 0x80
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAY_S = 86400
_FROM_1970_TO_2000 = 10957  # days


class Ds3231:
    """The clock, kept in UTC, from 2000 to 2099."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)

    def read(self) -> "int | None":
        """Unix seconds, or None if the clock has stood still since it was set. Raises DriverError."""
        if self._registers.read(_STATUS, 1)[0] & _OSCILLATOR_STOPPED:
            return None
        fields = self._registers.read(_SECONDS, 7)
        second, minute, hour = _decimal(fields[0]), _decimal(fields[1]), _decimal(fields[2] & 0x3F)
        day, month, year = _decimal(fields[4]), _decimal(fields[5] & 0x1F), _decimal(fields[6])
        if fields[2] & 0x40 or not (second < 60 and minute < 60 and hour < 24 and 0 < day < 32 and 0 < month < 13):
            raise self._registers.error(f"shows no time: {fields.hex()}")
        days = _FROM_1970_TO_2000 + 365 * year + (year + 3) // 4 + _DAYS_BEFORE[month - 1] + day - 1
        if month > 2 and year % 4 == 0:
            days += 1
        return days * _DAY_S + hour * 3600 + minute * 60 + second

    def set(self, unix_s: int) -> None:
        """Set the clock; from now on it is believed. Raises DriverError, ValueError outside of 2000 to 2099."""
        days, rest = divmod(unix_s, _DAY_S)
        year, month, day = _date(days - _FROM_1970_TO_2000)
        weekday = (days + 3) % 7 + 1
        fields = (rest % 60, rest // 60 % 60, rest // 3600, weekday, day, month, year)
        self._registers.write(_SECONDS, bytes([_bcd(field) for field in fields]))
        status = self._registers.read(_STATUS, 1)[0]
        self._registers.write(_STATUS, bytes([status & ~_OSCILLATOR_STOPPED]))

    def temperature_mc(self) -> int:
        """The chip's temperature in thousandths of a degree Celsius, a quarter of a degree at a time."""
        high, low = self._registers.read(_TEMPERATURE, 2)
        return ((high - 256 if high > 127 else high) * 4 + (low >> 6)) * 250


def _date(days: int) -> "tuple[int, int, int]":
    """Year since 2000, month and day of a day counted from 2000-01-01."""
    if not 0 <= days < 36525:
        raise ValueError(f"day {days} is not in this century")
    year = 4 * days // 1461
    day = days - (1461 * year + 3) // 4
    leap = year % 4 == 0
    for month in range(12, 0, -1):
        first = _DAYS_BEFORE[month - 1] + (leap and month > 2)
        if day >= first:
            return year, month, day - first + 1
    raise ValueError("a day has a month")


def _decimal(bcd: int) -> int:
    return (bcd >> 4) * 10 + (bcd & 0x0F)


def _bcd(decimal: int) -> int:
    return decimal // 10 << 4 | decimal % 10
