"""The simulated meter as a process of its own, asked by pymodbus's client."""

import asyncio
import struct
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException


async def started(*options: str) -> tuple[asyncio.subprocess.Process, str]:
    """The meter's process and the line that it prints when it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.meter", *options, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode()


@pytest_asyncio.fixture
async def meter() -> AsyncIterator[AsyncModbusTcpClient]:
    """A client connected to a running meter, which must end well when it is told to."""
    process, ready = await started("--port", "0", "--seed", "5")
    assert ready.startswith("meter eastron-sdm120, unit 1, listens on 127.0.0.1:")
    client = AsyncModbusTcpClient("127.0.0.1", port=int(ready.rsplit(":", 1)[1]), timeout=0.5, retries=0)
    try:
        assert await client.connect()
        yield client
    finally:
        client.close()
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


def float32(registers: list[int]) -> float:
    """Most significant word first, as the meter's document says."""
    return float(struct.unpack(">f", struct.pack(">HH", *registers))[0])


async def test_every_read_is_fresh_and_the_counter_only_grows(meter: AsyncModbusTcpClient) -> None:
    voltages, energies = [], []
    for _ in range(10):
        voltages.append(float32((await meter.read_input_registers(0x00, count=2)).registers))
        energies.append(float32((await meter.read_input_registers(0x48, count=2)).registers))
    assert len(set(voltages)) > 5
    assert all(225 < each < 235 for each in voltages), "230 V, swing 4, noise 0.15"
    assert energies == sorted(energies)
    assert energies[0] == pytest.approx(1284.5, abs=0.01)


@pytest.mark.parametrize(("address", "count"), [(0x02, 2), (0x00, 8), (0x4A, 2), (0x48, 4), (0xFFFE, 2)])
async def test_registers_that_do_not_exist_are_an_illegal_address(
    meter: AsyncModbusTcpClient, address: int, count: int
) -> None:
    assert (await meter.read_input_registers(address, count=count)).exception_code == 2


async def test_other_tables_are_refused(meter: AsyncModbusTcpClient) -> None:
    assert (await meter.read_holding_registers(0, count=2)).isError()
    assert (await meter.read_coils(0, count=1)).isError()
    assert (await meter.write_register(0, 1)).isError()


async def test_another_unit_id_gets_no_answer(meter: AsyncModbusTcpClient) -> None:
    with pytest.raises(ModbusIOException):
        await meter.read_input_registers(0, count=2, device_id=2)
    assert not (await meter.read_input_registers(0, count=2, device_id=1)).isError()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--port", "0", "--model", "nope"), "meter: there is no model nope\n"),
        (("--port", "0", "--model", "nonin-3230"), "meter: nonin-3230 is no Modbus model\n"),
    ],
)
async def test_says_in_one_sentence_why_it_cannot_start(options: tuple[str, ...], sentence: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.meter", *options, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (2, sentence)


async def test_a_port_in_use_is_named(meter: AsyncModbusTcpClient) -> None:
    port = meter.comm_params.port
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.meter", "--port", str(port), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (2, f"meter: cannot listen on 127.0.0.1:{port}\n")
