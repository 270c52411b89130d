"""The driver on the model, through the simulated bus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.drivers.max30102 import Max30102
from firmware.errors import DriverError
from hardware.sim import pulses
from hardware.sim.shims import machine, simboard

WIRING = {"chip": "max30102", "bus": 0, "scl": 5, "sda": 4, "address": 0x57, "int_pin": 6}
SAMPLE_US = 10_000  # the driver asks for 100 samples a second


@pytest.fixture
def board(tmp_path: Path) -> Iterator[simboard.Board]:
    recording = tmp_path / "pulse"
    pulses.write(0, recording)
    built = simboard.Board({"unique_id": "0102", "chips": [{**WIRING, "recording": str(recording)}]}, tick_ms=0)
    simboard.install(built)
    yield built
    built.close()


@pytest.fixture
def sensor(board: simboard.Board) -> Max30102:
    return Max30102(machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4)))


def test_the_bus_shows_who_is_there(board: simboard.Board, sensor: Max30102) -> None:
    bus = machine.I2C(0, scl=machine.Pin(5), sda=machine.Pin(4))
    assert bus.scan() == [0x57]
    assert machine.unique_id() == b"\x01\x02"
    with pytest.raises(OSError, match="19"):
        bus.readfrom_mem(0x58, 0, 1)


def test_interrupt_comes_at_17_samples_and_one_read_takes_them(board: simboard.Board, sensor: Max30102) -> None:
    interrupts = []
    sensor.start()
    machine.Pin(6).irq(interrupts.append, trigger=machine.Pin.IRQ_FALLING)
    board.advance(16 * SAMPLE_US)
    assert interrupts == []
    board.advance(17 * SAMPLE_US)
    assert len(interrupts) == 1
    assert interrupts[0].value() == 0
    assert sensor.read() == (17, 0)
    assert interrupts[0].value() == 1
    assert sensor.read() == (0, 0)


def test_counts_are_those_of_the_recording(board: simboard.Board, sensor: Max30102) -> None:
    """A finger under 7.2 mA: DC 7200 uA x 260 pA/uA / 15.63 pA; half of full scale is 4 % of it, and inverted."""
    samples, _ = pulses.load(0)
    sensor.start()
    board.advance(17 * SAMPLE_US)
    sensor.read()
    steady = 7200 * 260 / 15.63
    for place in range(17):
        level = samples[place + 1]
        assert sensor.infrared[place] == pytest.approx(steady * (1 - 0.04 * (level - 512) / 512), abs=2)
        assert sensor.red[place] == pytest.approx(7200 * 210 / 15.63 * (1 - 0.02 * (level - 512) / 512), abs=2)


def test_a_full_fifo_is_not_taken_for_an_empty_one(board: simboard.Board, sensor: Max30102) -> None:
    sensor.start()
    board.advance(32 * SAMPLE_US)
    assert sensor.read() == (32, 0)


def test_overflow_is_counted(board: simboard.Board, sensor: Max30102) -> None:
    sensor.start()
    board.advance(39 * SAMPLE_US)
    assert sensor.read() == (32, 7)
    board.advance(50 * SAMPLE_US)
    assert sensor.read() == (11, 0)


def test_a_silent_bus_names_the_chip(board: simboard.Board, sensor: Max30102) -> None:
    sensor.start()
    board.fail(0, 0x57)
    with pytest.raises(DriverError, match="max30102 at 0x57: register 0x00 not read") as caught:
        sensor.read()
    assert (caught.value.chip, caught.value.address) == ("max30102", 0x57)
    board.fail(0, 0x57, failing=False)
    sensor.start()
    board.advance(5 * SAMPLE_US)
    assert sensor.read() == (5, 0)


class _OtherChip:
    def readfrom_mem(self, addr: int, memaddr: int, nbytes: int) -> bytes:
        return b"\x11" * nbytes

    def readfrom_mem_into(self, addr: int, memaddr: int, buf: bytearray | memoryview) -> None:
        raise AssertionError("nothing is to be read from another chip")

    def writeto_mem(self, addr: int, memaddr: int, buf: bytes) -> None:
        raise AssertionError("nothing is to be written to another chip")


def test_another_chip_is_refused() -> None:
    with pytest.raises(DriverError, match="its id is 0x11, not 0x15"):
        Max30102(_OtherChip()).start()


def test_stop_ends_sampling(board: simboard.Board, sensor: Max30102) -> None:
    sensor.start()
    board.advance(3 * SAMPLE_US)
    sensor.stop()
    board.advance(30 * SAMPLE_US)
    assert sensor.read() == (3, 0)
