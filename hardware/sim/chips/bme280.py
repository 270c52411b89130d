"""Register-level model of the BME280 (data sheet BST-BME280-DS002): calibration, forced mode, its time to measure."""

import struct

from hardware.sim.chips.registers import RegisterChip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RESET, _CTRL_HUM, _STATUS, _CTRL_MEAS, _DATA, _ID = 0xE0, 0xF2, 0xF3, 0xF4, 0xF7, 0xD0
_MEASURE_US, _COPY_US = 8000, 1000
# The example of the BMP280's data sheet (BST-BMP280-DS001, section 3.12); humidity constants of a usual chip.
_T = (27504, 26435, -1000)
_P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
_H1, _H2, _H3, _H4, _H5, _H6 = 75, 362, 0, 325, 50, 30


def _example(at_us: int) -> "tuple[int, int, int]":
    return 519888, 415148, 30000  # raw temperature, pressure, humidity


class Bme280(RegisterChip):
    """One chip; `climate` gives what its converters read at a time."""

    def __init__(self, climate: "Callable[[int], tuple[int, int, int]]" = _example) -> None:
        super().__init__()
        self._climate = climate
        self._done_us = -1
        self._copied_us = -1
        self._power_on()

    def advance(self, to_us: int) -> None:
        """Copying after a reset and a measurement take their time."""
        super().advance(to_us)
        if 0 <= self._done_us <= to_us:
            self._measure()
        if 0 <= self._copied_us <= to_us:
            self._copied_us = -1
            self.registers[_STATUS] &= ~1

    def write(self, register: int, value: int) -> None:
        """The reset word; forced mode begins a measurement. What is not for writing ignores it."""
        if register == _RESET and value == 0xB6:
            self._power_on()
        elif register == _CTRL_HUM:
            self.registers[register] = value & 7
        elif register == _CTRL_MEAS:
            self.registers[register] = value
            if value & 3 in (1, 2):
                self._done_us = self.now_us + _MEASURE_US
                self.registers[_STATUS] |= 8

    def _measure(self) -> None:
        control, humid = self.registers[_CTRL_MEAS], self.registers[_CTRL_HUM]
        temperature, pressure, humidity = self._climate(self._done_us)
        self._done_us = -1
        raws = (
            pressure if control >> 2 & 7 else 0x80000,
            temperature if control >> 5 else 0x80000,
        )
        for place, raw in zip((_DATA, _DATA + 3), raws):
            self.registers[place : place + 3] = bytes([raw >> 12, raw >> 4 & 0xFF, raw << 4 & 0xF0])
        self.registers[_DATA + 6 : _DATA + 8] = (humidity if humid else 0x8000).to_bytes(2, "big")
        self.registers[_CTRL_MEAS] &= ~3
        self.registers[_STATUS] &= ~8

    def _power_on(self) -> None:
        self.registers[:] = bytes(256)
        self.registers[_ID] = 0x60
        self.registers[0x88:0x8E] = struct.pack("<Hhh", *_T)
        self.registers[0x8E:0xA0] = struct.pack("<Hhhhhhhhh", *_P)
        self.registers[0xA1] = _H1
        middle = (_H5 & 0x0F) << 4 | _H4 & 0x0F
        self.registers[0xE1:0xE8] = struct.pack("<hBbBbb", _H2, _H3, _H4 >> 4, middle, _H5 >> 4, _H6)
        self.registers[_DATA : _DATA + 8] = b"\x80\x00\x00\x80\x00\x00\x80\x00"
        self.registers[_STATUS] = 1
        self._copied_us = self.now_us + _COPY_US
