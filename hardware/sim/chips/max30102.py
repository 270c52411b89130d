"""Register-level model of the MAX30102, pulse oximeter and heart-rate sensor (data sheet 19-7740, "Register Map").

The model stands behind an I2C bus and an interrupt pin and is lit by `light`: a function from microseconds to a
level of blood (see recording.py). More blood absorbs more light, so counts fall when the level rises; how much more of
the red than of the infrared light says how much oxygen is in it. Time is given to it by `advance`; nothing happens
between two calls.
"""

import math
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple

ADDRESS = 0x57
DEPTH = 32  # samples in the FIFO

INT_STATUS_1, INT_STATUS_2, INT_ENABLE_1, INT_ENABLE_2 = 0x00, 0x01, 0x02, 0x03
FIFO_WR_PTR, OVF_COUNTER, FIFO_RD_PTR, FIFO_DATA = 0x04, 0x05, 0x06, 0x07
FIFO_CONFIG, MODE_CONFIG, SPO2_CONFIG = 0x08, 0x09, 0x0A
LED1_PA, LED2_PA, SLOTS_12, SLOTS_34 = 0x0C, 0x0D, 0x11, 0x12
TEMP_INT, TEMP_FRAC, TEMP_CONFIG = 0x1F, 0x20, 0x21
REVISION_ID, PART_ID = 0xFE, 0xFF

A_FULL, PPG_RDY, ALC_OVF, PWR_RDY = 0x80, 0x40, 0x20, 0x01
DIE_TEMP_RDY = 0x02
SHUTDOWN, RESET = 0x80, 0x40
MODE_HEART_RATE, MODE_SPO2, MODE_MULTI_LED = 2, 3, 7

# Which bits of a register take what is written; registers that are absent ignore it.
_WRITABLE = {
    INT_ENABLE_1: 0xE0,
    INT_ENABLE_2: 0x02,
    FIFO_WR_PTR: 0x1F,
    OVF_COUNTER: 0x1F,
    FIFO_RD_PTR: 0x1F,
    FIFO_CONFIG: 0xFF,
    MODE_CONFIG: 0xC7,
    SPO2_CONFIG: 0x7F,
    LED1_PA: 0xFF,
    LED2_PA: 0xFF,
    SLOTS_12: 0x77,
    SLOTS_34: 0x77,
    TEMP_CONFIG: 0x01,
}

_SAMPLES_PER_S = (50, 100, 200, 400, 800, 1000, 1600, 3200)
_LSB_PA_X100 = (781, 1563, 3125, 6250)  # of the 18-bit ADC, by its range of 2048, 4096, 8192, 16384 nA
_TEMP_CONVERSION_US = 29000
# The fastest sample rate code that each pulse width (69, 118, 215, 411 us) leaves room for, one or two LEDs.
_FASTEST = {MODE_HEART_RATE: (7, 6, 6, 5), MODE_SPO2: (6, 5, 4, 3), MODE_MULTI_LED: (6, 5, 4, 3)}

if TYPE_CHECKING:

    class Led(NamedTuple):
        """An LED: its current's register, and photodiode pA per LED uA."""

        register: int
        pa_per_ua: int

else:
    Led = namedtuple("Led", ("register", "pa_per_ua"))

_MIDDLE = 512 * 256  # the level at which the DC reaches the photodiode
_RED = Led(LED1_PA, 210)
_INFRARED = Led(LED2_PA, 260)
_LED_OF_SLOT = {1: _RED, 2: _INFRARED}


_UNWORN = 60  # without skin before it, this part of the light comes back


def ratio_milli(spo2_percent: float) -> int:
    """The ratio of ratios, in 1/1000, of blood of this saturation: the curve of Maxim's note 6845 the other way."""
    a, b, c = 1.5958422, -34.6596622, 112.6898759 - spo2_percent
    return round(1000 * (-b - math.sqrt(b * b - 4 * a * c)) / (2 * a))


class Max30102:
    """One chip. The bus calls `i2c_write` and `i2c_read`; `pulls_int_low` is the open-drain interrupt output.

    The finger or wrist before it may be changed at any time: `ratio_milli`, the ratio of ratios; `swing_ppm`, by which
    part of the steady infrared light half the full scale of the recording moves it; `is_worn`; `noise_counts`, the most
    by which noise moves either channel.
    """

    address = ADDRESS

    def __init__(self, light: "Callable[[int], int]", *, temperature_c16: int = 29 * 16 + 8, revision: int = 0x03):
        self._light = light
        self._temperature_c16 = temperature_c16
        self._registers = bytearray(256)
        self._registers[REVISION_ID] = revision
        self._registers[PART_ID] = 0x15
        self.ratio_milli = 500
        self.swing_ppm = 40000
        self.is_worn = True
        self.noise_counts = 0
        self._random = 1
        self._fifo = bytearray(DEPTH * 12)
        self._pointer = 0
        self._now_us = 0
        self._reset()
        self._registers[INT_STATUS_1] = PWR_RDY

    # --- the pins ---

    def pulls_int_low(self) -> bool:
        """Whether the interrupt output conducts. Power-ready cannot be disabled."""
        registers = self._registers
        first = registers[INT_STATUS_1] & (registers[INT_ENABLE_1] | PWR_RDY)
        return bool(first or registers[INT_STATUS_2] & registers[INT_ENABLE_2])

    def i2c_write(self, data: bytes) -> None:
        """A write transfer: the register's address, then bytes for it and those after it."""
        if not data:
            return
        self._pointer = data[0]
        for byte in data[1:]:
            self._write(self._pointer, byte)
            self._step()

    def i2c_read(self, count: int) -> bytes:
        """A read transfer from the current register on; FIFO_DATA gives out the FIFO byte by byte."""
        answer = bytearray(count)
        for place in range(count):
            answer[place] = self._read(self._pointer)
            self._step()
        return bytes(answer)

    def advance(self, to_us: int) -> None:
        """Let time pass until `to_us`: convert, fill the FIFO, raise interrupts."""
        while self._period_us and self._next_us <= to_us:
            self._convert(self._next_us)
            self._next_us += self._period_us
        if 0 <= self._temp_due_us <= to_us:
            self._finish_temperature()
        self._now_us = to_us

    # --- registers ---

    def _step(self) -> None:
        if self._pointer != FIFO_DATA:
            self._pointer = (self._pointer + 1) & 0xFF

    def _read(self, register: int) -> int:
        if register == FIFO_DATA:
            return self._pop_byte()
        value = self._registers[register]
        if register in (INT_STATUS_1, INT_STATUS_2):
            self._registers[register] = 0
        elif register == TEMP_FRAC:
            self._registers[INT_STATUS_2] = 0
        return value

    def _write(self, register: int, value: int) -> None:
        mask = _WRITABLE.get(register, 0)
        if register == MODE_CONFIG and value & RESET:
            self._reset()
        elif mask:
            self._registers[register] = value & mask
            if register in (FIFO_WR_PTR, FIFO_RD_PTR):
                self._held = (self._registers[FIFO_WR_PTR] - self._registers[FIFO_RD_PTR]) % DEPTH
                self._byte = 0
            elif register in (MODE_CONFIG, SPO2_CONFIG, FIFO_CONFIG, SLOTS_12, SLOTS_34):
                self._configure()
            elif register == TEMP_CONFIG and value & 1:
                self._temp_due_us = self._now_us + _TEMP_CONVERSION_US

    def _reset(self) -> None:
        """All registers as after power-on, which the RESET bit also does; that raises no power-ready interrupt."""
        self._registers[:REVISION_ID] = bytes(REVISION_ID)
        self._held = 0
        self._byte = 0
        self._width = 3
        self._temp_due_us = -1  # no conversion is running
        self._configure()

    def _configure(self) -> None:
        registers = self._registers
        mode = registers[MODE_CONFIG]
        if mode & SHUTDOWN:
            registers[INT_STATUS_1] = registers[INT_STATUS_2] = 0
        fastest = _FASTEST.get(mode & 7)
        self._period_us = 0
        self._leds = self._active_leds(mode & 7)
        if mode & SHUTDOWN or fastest is None or not self._leds:
            return
        self._width = 3 * len(self._leds)
        width_code = registers[SPO2_CONFIG] & 3
        rate_code = min(registers[SPO2_CONFIG] >> 2 & 7, fastest[width_code])
        registers[SPO2_CONFIG] = registers[SPO2_CONFIG] & 0x63 | rate_code << 2
        self._period_us = 1000000 // _SAMPLES_PER_S[rate_code]
        self._next_us = self._now_us + self._period_us
        self._averaged = 1 << min(registers[FIFO_CONFIG] >> 5, 5)
        self._summed = 0
        self._sums = [0] * len(self._leds)

    def _active_leds(self, mode: int) -> "list[Led]":
        if mode == MODE_HEART_RATE:
            return [_RED]
        if mode == MODE_SPO2:
            return [_RED, _INFRARED]
        leds = []
        if mode == MODE_MULTI_LED:
            first, last = self._registers[SLOTS_12], self._registers[SLOTS_34]
            for slot in (first & 7, first >> 4, last & 7, last >> 4):
                if slot not in _LED_OF_SLOT:
                    break  # slots are used in order; the first that is off ends them
                leds.append(_LED_OF_SLOT[slot])
        return leds

    # --- conversions ---

    def _convert(self, at_us: int) -> None:
        level = self._light(at_us)
        for place, led in enumerate(self._leds):
            self._sums[place] += self._counts(led, level)
        self._summed += 1
        if self._summed == self._averaged:
            self._push([total // self._averaged for total in self._sums])
            self._sums = [0] * len(self._leds)
            self._summed = 0

    def _counts(self, led: "Led", level: int) -> int:
        config = self._registers[SPO2_CONFIG]
        led_ua = 200 * self._registers[led.register]
        steady = led_ua * led.pa_per_ua * 100 // _LSB_PA_X100[config >> 5]
        if self.is_worn:
            ppm = self.swing_ppm if led is _INFRARED else self.swing_ppm * self.ratio_milli // 1000
            counts = steady - steady * ppm * (level - _MIDDLE) // (_MIDDLE * 1000000)
        else:
            counts = steady // _UNWORN
        if self.noise_counts:
            self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
            counts += (self._random >> 8) % (2 * self.noise_counts + 1) - self.noise_counts
        unused_bits = 3 - (config & 3)  # 15 to 18 bits by pulse width, left-justified
        return min(max(counts, 0), 0x3FFFF) >> unused_bits << unused_bits

    def _finish_temperature(self) -> None:
        self._temp_due_us = -1
        self._registers[TEMP_INT] = self._temperature_c16 >> 4 & 0xFF
        self._registers[TEMP_FRAC] = self._temperature_c16 & 0x0F
        self._registers[TEMP_CONFIG] = 0
        self._registers[INT_STATUS_2] |= DIE_TEMP_RDY

    # --- the FIFO ---

    def _push(self, sample: "list[int]") -> None:
        registers = self._registers
        if self._held == DEPTH:
            registers[OVF_COUNTER] = min(registers[OVF_COUNTER] + 1, 0x1F)
            if not registers[FIFO_CONFIG] & 0x10:
                return  # no rollover: the new sample is the one that is lost
            registers[FIFO_RD_PTR] = (registers[FIFO_RD_PTR] + 1) % DEPTH
            self._held -= 1
        place = registers[FIFO_WR_PTR] * 12
        for counts in sample:
            self._fifo[place : place + 3] = counts.to_bytes(3, "big")
            place += 3
        registers[FIFO_WR_PTR] = (registers[FIFO_WR_PTR] + 1) % DEPTH
        self._held += 1
        registers[INT_STATUS_1] |= PPG_RDY
        if DEPTH - self._held == registers[FIFO_CONFIG] & 0x0F:
            registers[INT_STATUS_1] |= A_FULL

    def _pop_byte(self) -> int:
        """The next byte; the read pointer moves with the first byte of a sample. An empty FIFO repeats old bytes."""
        registers = self._registers
        registers[INT_STATUS_1] &= ~PPG_RDY
        if self._byte == 0:
            self._reading = registers[FIFO_RD_PTR] * 12
            if self._held:
                self._held -= 1
                registers[FIFO_RD_PTR] = (registers[FIFO_RD_PTR] + 1) % DEPTH
                registers[OVF_COUNTER] = 0
        value = self._fifo[self._reading + self._byte]
        self._byte = (self._byte + 1) % self._width
        return value
