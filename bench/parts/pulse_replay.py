"""Runs on MicroPython: recordings through the chip's model, driver and meters, faster than real time.

Arguments: what is measured, each JSON: {"path": of a recording, "seconds": of it, "spo2": percent, "noise": counts,
"swing_ppm": pulsating part of the light, "worn": false if nobody wears it}; all but the path may be left out. Each
second prints [rate in tenths or null, quality, signal quality, from when and until when its beats came (ms), SpO2 in
tenths or null, quality], the end {"beats": how many were found, "lost": samples lost, "heap": bytes that both meters
hold}.
"""

import gc
import json
import sys

import machine

from firmware.apps.pulse import PulseMeter
from firmware.apps.spo2 import OxygenMeter
from firmware.drivers.max30102 import SAMPLES_PER_S, Max30102
from hardware.sim.chips.max30102 import ratio_milli
from hardware.sim.chips.recording import Recording
from hardware.sim.shims import simboard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from protocols.reading import DecimalFraction

_SECOND_US = 1000000
_PARTS = 20  # of a second, after which the board looks for interrupts
_WHERE = {"chip": "max30102", "bus": 0, "scl": 5, "sda": 4, "address": 0x57, "int_pin": 6}


class _Measurement:
    def __init__(self, given: "dict[str, Any]"):
        board = simboard.Board({"unique_id": "00", "chips": [dict(_WHERE, recording=given["path"])]}, tick_ms=0)
        simboard.install(board)
        chip = board.chips[0, 0x57]
        chip.ratio_milli = ratio_milli(given.get("spo2", 97))
        chip.noise_counts = given.get("noise", 0)
        chip.swing_ppm = given.get("swing_ppm", chip.swing_ppm)
        chip.is_worn = given.get("worn", True)
        self._board = board
        self._sensor = Max30102(machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4)))
        self._sensor.start()
        self._before = _held()
        self._pulse = PulseMeter(samples_per_s=SAMPLES_PER_S)
        self._oxygen = OxygenMeter(self._pulse, samples_per_s=SAMPLES_PER_S)
        self._lost = 0
        machine.Pin(6).irq(self._on_interrupt, trigger=machine.Pin.IRQ_FALLING)

    def run(self, seconds: int) -> None:
        for second in range(seconds):
            for part in range(1, _PARTS + 1):
                self._board.advance(second * _SECOND_US + part * _SECOND_US // _PARTS)
            rate, quality = self._pulse.rate()
            begin, end = self._pulse.span_16()
            saturation, trust = self._oxygen.saturation()
            said = [_mantissa(rate), quality, self._pulse.signal_quality(), begin // 16, end // 16]
            said.extend((_mantissa(saturation), trust))
            print(json.dumps(said))
        print(json.dumps({"beats": self._pulse.beats, "lost": self._lost, "heap": _held() - self._before}))
        self._board.close()

    def _on_interrupt(self, pin: "machine.Pin") -> None:
        count, lost = self._sensor.read()
        for place in range(count):
            self._pulse.feed(self._sensor.infrared[place])
            self._oxygen.feed(self._sensor.red[place])
        if lost:
            self._pulse.lost(lost)
            self._oxygen.lost()
        self._lost += lost


def _held() -> int:
    """Bytes of the heap that are in use."""
    gc.collect()
    return int(gc.mem_alloc())  # type: ignore[attr-defined]  # MicroPython's


def _mantissa(value: "DecimalFraction | None") -> "int | None":
    return None if value is None else value.mantissa


def main() -> None:
    """Each measurement that is asked for, one after the other."""
    for argument in sys.argv[1:]:
        given = json.loads(argument)
        recording = Recording(given["path"])
        seconds = recording.duration_us // _SECOND_US
        recording.close()
        _Measurement(given).run(given.get("seconds", seconds))


main()
