"""Driver of the BME280, temperature, pressure and humidity (Bosch data sheet BST-BME280-DS002, section 4.2.3)."""

import asyncio
import struct

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "bme280"
ADDRESS = 0x76

_ID, _RESET, _CTRL_HUM, _STATUS, _CTRL_MEAS, _DATA = 0xD0, 0xE0, 0xF2, 0xF3, 0xF4, 0xF7
_CALIBRATION_1, _CALIBRATION_2 = 0x88, 0xE1
_EXPECTED_ID, _RESET_WORD = 0x60, b"\xb6"
_ONCE_EACH = 0x01
_FORCED = 0x25  # temperature and pressure once, then sleep
_MEASURING, _COPYING = 0x08, 0x01
_SKIPPED, _SKIPPED_16 = 0x80000, 0x8000
_RESET_S, _MEASURE_S, _LOOKS = 0.002, 0.01, 5


class Bme280:
    """The sensor. It sleeps between two calls of `read`."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)
        self._t: "tuple[int, ...]" = ()  # the chip's constants, numbered from 1 in the data sheet
        self._p: "tuple[int, ...]" = ()
        self._h: "tuple[int, ...]" = ()

    async def start(self) -> None:
        """Check which chip it is, reset it and read its calibration. Raises DriverError."""
        self._registers.expect(_ID, _EXPECTED_ID)
        self._registers.write(_RESET, _RESET_WORD)
        await self._settle(_COPYING, _RESET_S, "does not come out of reset")
        self.calibrate(self._registers.read(_CALIBRATION_1, 26), self._registers.read(_CALIBRATION_2, 7))
        self._registers.write(_CTRL_HUM, bytes([_ONCE_EACH]))

    def calibrate(self, first: bytes, second: bytes) -> None:
        """Take the chip's constants: registers 0x88 to 0xA1, and 0xE1 to 0xE7."""
        self._t = struct.unpack_from("<Hhh", first)
        self._p = struct.unpack_from("<Hhhhhhhhh", first, 6)
        h2, h3, high4, middle, high5, h6 = struct.unpack("<hBbBbb", second)
        self._h = (first[25], h2, h3, high4 << 4 | middle & 0x0F, high5 << 4 | middle >> 4, h6)

    async def read(self) -> "tuple[int, int, int]":
        """Hundredths of a degree Celsius, pascals, thousandths of a percent. Raises DriverError."""
        self._registers.write(_CTRL_MEAS, bytes([_FORCED]))
        await self._settle(_MEASURING, _MEASURE_S, "does not finish measuring")
        data = self._registers.read(_DATA, 8)
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        humidity = data[6] << 8 | data[7]
        if _SKIPPED in (temperature, pressure) or humidity == _SKIPPED_16:
            raise self._registers.error("has not measured")
        fine = self.fine(temperature)
        return (
            (fine * 5 + 128) >> 8,
            self.pressure_256(pressure, fine) >> 8,
            self.humidity_1024(humidity, fine) * 1000 >> 10,
        )

    def fine(self, raw: int) -> int:
        """The temperature as the two others need it."""
        t1, t2, t3 = self._t
        return (((raw >> 3) - (t1 << 1)) * t2 >> 11) + (((((raw >> 4) - t1) ** 2 >> 12) * t3) >> 14)

    def pressure_256(self, raw: int, fine: int) -> int:
        """Pascals times 256."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self._p
        base = fine - 128000
        slope = base * base * p6 + (base * p5 << 17) + (p4 << 35)
        divisor = ((1 << 47) + ((base * base * p3 >> 8) + (base * p2 << 12))) * p1 >> 33
        if not divisor:
            raise self._registers.error("its calibration is damaged")
        value = ((1048576 - raw << 31) - slope) * 3125 // divisor
        return (value + (p8 * value >> 19) + (p9 * (value >> 13) * (value >> 13) >> 25) >> 8) + (p7 << 4)

    def humidity_1024(self, raw: int, fine: int) -> int:
        """Percent times 1024, from 0 to 100 %."""
        h1, h2, h3, h4, h5, h6 = self._h
        base = fine - 76800
        value = ((raw << 14) - (h4 << 20) - h5 * base + 16384 >> 15) * (
            (((base * h6 >> 10) * ((base * h3 >> 11) + 32768) >> 10) + 2097152) * h2 + 8192 >> 14
        )
        value -= ((value >> 15) ** 2 >> 7) * h1 >> 4
        return min(max(value, 0), 419430400) >> 12

    async def _settle(self, flag: int, seconds: float, complaint: str) -> None:
        for _ in range(_LOOKS):
            await asyncio.sleep(seconds)
            if not self._registers.read(_STATUS, 1)[0] & flag:
                return
        raise self._registers.error(complaint)
