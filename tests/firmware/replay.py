"""Runs on MicroPython: recordings through model, driver and detector, faster than real time.

Arguments: the recordings' files. Each second of a recording prints [rate in tenths or null, quality, signal quality],
its end {"beats": how many were found, "lost": samples lost, "heap": bytes that the detector holds}.
"""

import gc
import json
import sys

import machine

from firmware.apps.pulse import PulseMeter
from firmware.drivers.max30102 import SAMPLES_PER_S, Max30102
from hardware.sim.chips.recording import Recording
from hardware.sim.shims import simboard

SECOND_US = 1000000


def replay(path):
    length = Recording(path)
    seconds = length.duration_us // SECOND_US
    length.close()
    chip = {"chip": "max30102", "bus": 0, "scl": 5, "sda": 4, "address": 0x57, "int_pin": 6, "recording": path}
    board = simboard.Board({"unique_id": "00", "chips": [chip]}, tick_ms=0)
    simboard.install(board)
    sensor = Max30102(machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4)))
    sensor.start()
    gc.collect()
    before = gc.mem_alloc()
    meter = PulseMeter(samples_per_s=SAMPLES_PER_S)
    lost_samples = 0

    def on_interrupt(pin):
        nonlocal lost_samples
        count, lost = sensor.read()
        for place in range(count):
            meter.feed(sensor.infrared[place])
        if lost:
            meter.lost(lost)
        lost_samples += lost

    machine.Pin(6).irq(on_interrupt, trigger=machine.Pin.IRQ_FALLING)
    for second in range(1, seconds + 1):
        for part in range(1, 21):
            board.advance((second - 1) * SECOND_US + part * SECOND_US // 20)
        rate, quality = meter.rate()
        print(json.dumps([None if rate is None else rate.mantissa, quality, meter.signal_quality()]))
    gc.collect()
    print(json.dumps({"beats": meter.beats, "lost": lost_samples, "heap": gc.mem_alloc() - before}))


for recording in sys.argv[1:]:
    replay(recording)
