"""The slave's role on RS-485: against pymodbus's client over a cable, frame by frame, and on real MicroPython."""

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient

from firmware.apps.modbus_registers import NodeRegisters
from firmware.apps.sensor_node import _serve
from firmware.core.clock import Clock
from firmware.core.modbus_slave import ModbusSlave
from firmware.drivers.rs485 import Rs485
from hardware.sim.shims import machine, simboard
from protocols.modbus import parse_rtu, read_request, rtu, write_registers
from tests.firmware.serial_cable import cable
from tests.firmware.test_device_process import gateway, wearable

UNIT = 17
DIRECTION = 11


class Output:
    """An output that keeps its level."""

    def __init__(self) -> None:
        self.level = 0

    def value(self, level: int | None = None) -> int | None:
        if level is None:
            return self.level
        self.level = level
        return None


class Bench:
    """A slave with three metrics and two outputs."""

    def __init__(self) -> None:
        self.latest: dict[str, int | None] = {"temperature": -1234, "pressure": 100653, "co2": None}
        self.outputs = [Output(), Output()]
        registers = NodeRegisters(["temperature", "pressure", "co2"], self.outputs, self.latest)
        self.slave = ModbusSlave(UNIT, registers)


# --- frames ---


def refused(answer: bytes | None) -> tuple[int, int]:
    """Function and code of a refusal."""
    assert answer is not None
    unit, pdu = parse_rtu(answer)
    assert unit == UNIT
    assert pdu[0] & 0x80
    return pdu[0] & 0x7F, pdu[1]


@pytest.mark.parametrize(
    ("pdu", "function", "code"),
    [
        (read_request(1, 0, 1), 1, 1),
        (read_request(2, 0, 1), 2, 1),
        (b"\x2b\x0e\x01\x00", 0x2B, 1),
        (b"\x07", 7, 1),
        (read_request(4, 0, 7), 4, 2),
        (read_request(4, 6, 1), 4, 2),
        (read_request(3, 2, 1), 3, 2),
        (read_request(4, 0xFFFF, 1), 4, 2),
        (b"\x04\x00\x00\x00\x00", 4, 3),
        (b"\x04\x00\x00\x00\x7e", 4, 3),
        (b"\x04\x00\x00", 4, 3),
        (b"\x06\x00\x00\x00\x02", 6, 3),
        (b"\x06\x00\x02\x00\x01", 6, 2),
        (write_registers(0, [1, 1, 1]), 16, 2),
        (write_registers(0, [1, 2]), 16, 3),
        (b"\x10\x00\x00\x00\x02\x03\x00\x01\x00", 16, 3),
    ],
)
def test_what_is_refused_and_why(pdu: bytes, function: int, code: int) -> None:
    bench = Bench()
    assert refused(bench.slave.answer(rtu(UNIT, pdu))) == (function, code)
    assert [output.level for output in bench.outputs] == [0, 0]  # nothing was written in part


def test_the_answer_of_the_standard() -> None:
    """MODBUS V1.1b3, section 6.12: writing two registers is answered with their address and number."""
    bench = Bench()
    assert bench.slave.answer(rtu(UNIT, write_registers(0, [1, 0]))) == rtu(UNIT, b"\x10\x00\x00\x00\x02")
    assert bench.slave.answer(rtu(UNIT, b"\x06\x00\x01\x00\x01")) == rtu(UNIT, b"\x06\x00\x01\x00\x01")
    assert [output.level for output in bench.outputs] == [1, 1]
    answer = bench.slave.answer(rtu(UNIT, read_request(4, 0, 6)))
    assert answer == rtu(UNIT, b"\x04\x0c" + struct.pack(">iii", -1234, 100653, -0x80000000))


def test_a_broadcast_is_obeyed_in_silence_and_others_are_left_alone() -> None:
    bench = Bench()
    assert bench.slave.answer(rtu(0, b"\x06\x00\x00\x00\x01")) is None
    assert bench.outputs[0].level == 1
    assert bench.slave.answer(rtu(UNIT + 1, b"\x06\x00\x01\x00\x01")) is None
    assert bench.outputs[1].level == 0
    assert bench.slave.damaged == 0


@given(st.binary(min_size=1, max_size=12), st.integers(0, 95))
def test_a_damaged_frame_is_never_answered(pdu: bytes, bit: int) -> None:
    bench = Bench()
    frame = bytearray(rtu(UNIT, pdu))
    frame[bit // 8 % len(frame)] ^= 1 << bit % 8
    assert bench.slave.answer(bytes(frame)) is None
    assert bench.slave.damaged == 1


@given(st.binary(max_size=260))
def test_whatever_comes_is_answered_or_not_but_never_fails(pdu: bytes) -> None:
    bench = Bench()
    for frame in (pdu, rtu(UNIT, pdu)):
        answer = bench.slave.answer(frame)
        assert answer is None or parse_rtu(answer)[0] == UNIT


@pytest.mark.parametrize("unit", [0, 248, -1])
def test_a_unit_that_there_cannot_be(unit: int) -> None:
    with pytest.raises(ValueError, match="a unit is 1 to 247"):
        ModbusSlave(unit, NodeRegisters([], [], {}))


# --- the line ---


class Hal:
    """Real time."""

    def ticks_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def ticks_diff(self, after: int, before: int) -> int:
        return after - before

    def unix_ms(self) -> int | None:
        return None

    def random_bits(self, count: int) -> int:
        return 0


@asynccontextmanager
async def line() -> AsyncIterator[tuple[Bench, str, simboard.Board]]:
    """A slave that serves one end of a cable, the name of the other end, and its board."""
    with cable() as (ours, theirs):
        board = simboard.Board({"unique_id": "00", "chips": [], "terminals": {"0": ours}})
        simboard.install(board)
        uart = machine.UART(0, 19200, tx=machine.Pin(12), rx=machine.Pin(13))
        bench = Bench()
        direction = machine.Pin(DIRECTION, machine.Pin.OUT, value=0)
        serving = asyncio.create_task(_serve(bench.slave, Rs485(uart, direction, Clock(Hal()), baud=19200)))  # type: ignore[arg-type]
        try:
            yield bench, theirs, board
        finally:
            for task in (serving, board._ticker):
                assert isinstance(task, asyncio.Task)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            board.close()


async def test_pymodbus_reads_and_writes() -> None:
    async with line() as (bench, port, _):
        client = AsyncModbusSerialClient(port, framer=FramerType.RTU, baudrate=19200, timeout=2, retries=0)
        assert await client.connect()
        read = await client.read_input_registers(0, count=6, device_id=UNIT)
        assert struct.pack(">6H", *read.registers) == struct.pack(">iii", -1234, 100653, -0x80000000)
        for number in range(20):  # one behind the other
            bench.latest["temperature"] = number
            read = await client.read_input_registers(0, count=2, device_id=UNIT)
            assert read.registers == [0, number]
        await client.write_register(1, 1, device_id=UNIT)
        await client.write_registers(0, [1, 0], device_id=UNIT)
        assert [output.level for output in bench.outputs] == [1, 0]
        assert (await client.read_holding_registers(0, count=2, device_id=UNIT)).registers == [1, 0]
        assert (await client.read_holding_registers(0, count=3, device_id=UNIT)).exception_code == 2
        assert (await client.read_coils(0, count=1, device_id=UNIT)).exception_code == 1
        with pytest.raises(ModbusException):
            await client.read_input_registers(0, count=1, device_id=UNIT + 1)
        client.close()


async def test_noise_before_a_request_costs_that_request_alone() -> None:
    async with line() as (bench, port, _):
        fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        request = rtu(UNIT, read_request(4, 0, 2))
        os.write(fd, b"\xff\x00" + request)
        while not bench.slave.damaged:
            await asyncio.sleep(0.005)
        os.write(fd, request[:3])
        await asyncio.sleep(0.002)  # a pause within a frame that is shorter than the one between two
        os.write(fd, request[3:])
        assert await answer_on(fd) == rtu(UNIT, b"\x04\x04" + struct.pack(">i", -1234))
        os.write(fd, bytes(400))  # longer than any frame
        while bench.slave.damaged < 2:
            await asyncio.sleep(0.005)
        os.write(fd, request)
        assert len(await answer_on(fd)) == 9
        os.close(fd)


async def answer_on(fd: int) -> bytes:
    """What comes until nothing has for a while."""
    data = b""
    loop = asyncio.get_running_loop()
    end = loop.time() + 2
    while loop.time() < end:
        with contextlib.suppress(BlockingIOError):
            data += os.read(fd, 300)
            end = loop.time() + 0.05
        await asyncio.sleep(0.005)
    return data


async def test_the_transceiver_sends_only_while_there_is_something_to_send() -> None:
    async with line() as (_, port, board):
        turns: list[int] = []
        board.line(DIRECTION).watchers.append(turns.append)
        fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(fd, rtu(UNIT + 1, read_request(4, 0, 2)))
        assert await answer_on(fd) == b""
        assert turns == []
        os.write(fd, rtu(UNIT, read_request(4, 0, 2)))
        assert await answer_on(fd)
        assert turns == [1, 0]
        os.close(fd)


async def test_a_sensor_node_on_micropython_is_read_by_pymodbus(tmp_path: Path) -> None:
    settings, world = tmp_path / "settings.json", tmp_path / "world.json"
    names = ["temperature", "pressure", "door"]
    settings.write_text(json.dumps({"period_s": 1, "modbus": {"unit": UNIT, "registers": names, "outputs": ["fan"]}}))
    with cable() as (ours, theirs):
        door = {"model": "contact", "pins": {"contact": 14}, "with": {"changes": [[0, 0], [1000, 1]]}}
        world.write_text(json.dumps({"terminals": {"0": ours}, "wired": [door]}))
        options = ["--board", "kerb-sensor-node", "--settings", str(settings), "--world", str(world)]
        async with gateway(tmp_path) as (playing, broker), wearable(tmp_path, broker, *options):
            await playing.until(lambda: any(read.metric == "co2" for read in readings(playing)))
            client = AsyncModbusSerialClient(theirs, framer=FramerType.RTU, baudrate=19200, timeout=3, retries=2)
            assert await client.connect()
            read = await client.read_input_registers(0, count=6, device_id=UNIT)
            assert struct.unpack(">iii", struct.pack(">6H", *read.registers)) == (2508, 100653, 1)
            assert not (await client.write_register(0, 1, device_id=UNIT)).isError()
            assert (await client.read_holding_registers(0, count=1, device_id=UNIT)).registers == [1]
            client.close()


def readings(playing: Any) -> list[Any]:
    return [each for pack in playing.packs.values() for each in pack.readings]
