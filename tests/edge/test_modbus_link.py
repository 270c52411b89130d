"""The Modbus link against real servers: pymodbus's, the simulated meter in a process of its own, and raw sockets."""

import asyncio
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.errors import DeviceError, LinkError
from edge.links import modbus_schedule
from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.modbus import ModbusLink
from edge.links.modbus_line import TcpLine
from hardware.catalogue import DeviceModel, catalogue
from protocols.modbus import (
    decode_bits,
    decode_words,
    mask_write,
    read_request,
    read_write_registers,
    response_payload,
    write_coil,
    write_coils,
    write_register,
    write_registers,
)
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, GOOD, refused
from tests.edge.recorder import Recorder

SDM120 = catalogue()["eastron-sdm120"]
METRICS = set(SDM120.metrics)
# The SDM120's input registers by the maker's document (wire address, a float32 each) and what the server holds there.
HELD = {0x00: 230.2, 0x06: 4.25, 0x0C: 941.5, 0x12: 980.0, 0x18: 210.5, 0x1E: 0.96, 0x46: 50.01, 0x48: 1284.5}
NAMES = (
    "voltage",
    "current",
    "active_power",
    "apparent_power",
    "reactive_power",
    "power_factor",
    "frequency",
    "import_energy",
)
EXPECTED = dict(zip(NAMES, HELD.values(), strict=True))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def device(unit_id: int, thing: str = "meter") -> Attached:
    return Attached(thing, SDM120, str(unit_id))


def sdm120(unit_id: int, held: dict[int, float], *, gaps: bool = False) -> SimDevice:
    """A device with float32 values in its registers; with `gaps` the registers between them read as 0."""
    exists = [SimData(address, values=value, datatype=DataType.FLOAT32) for address, value in held.items()]
    if gaps:
        free = set(range(max(held))) - {address + word for address in held for word in (0, 1)}
        exists += [SimData(address, values=0, datatype=DataType.REGISTERS) for address in free]
    return SimDevice(unit_id, exists)


Hook = Callable[[bool, ModbusPDU], ModbusPDU | None]


@asynccontextmanager
async def serving(*devices: SimDevice, hook: Hook | None = None) -> AsyncIterator[int]:
    """A pymodbus server on a free port. `hook` sees every request and answer, and drops those it gives None for."""
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", 0), trace_pdu=hook)  # type: ignore[arg-type]
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await server.shutdown()


@asynccontextmanager
async def linked(
    port: int, *devices: Attached, period_ms: int | None = 50, timeout_ms: int = 400
) -> AsyncIterator[Recorder]:
    """A running link; leaving cancels it, and a link that swallows its cancellation hangs here."""
    recorder = Recorder({each.thing: each.model for each in devices})
    link = ModbusLink(
        "bus",
        TcpLine("127.0.0.1", port, now_ms, recorder.count),
        devices,
        recorder,
        now_ms,
        periods_ms={each.thing: period_ms for each in devices},
        timeout_ms=timeout_ms,
        backoff=Backoff(first_s=0.05, most_s=0.2),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        yield recorder
        running.cancel()
    assert running.cancelled()


async def test_values_match_the_registers() -> None:
    before = now_ms()
    async with serving(sdm120(1, HELD, gaps=True)) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: all(recorder.of("meter", name) for name in NAMES))
        for name, value in EXPECTED.items():
            first = recorder.of("meter", name)[0]
            assert first.value == pytest.approx(value, rel=1e-6)  # float32 has 24 bits
            assert (first.unit, first.quality) == (SDM120.metrics[name].unit, GOOD)
            assert before <= first.time_ms <= now_ms()
        await recorder.until(lambda: recorder.states)
        assert recorder.states == [("meter", "online", "")]


async def test_reads_neighbouring_registers_in_one_request() -> None:
    requests: Counter[tuple[int, int]] = Counter()

    def hook(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            requests[pdu.address, pdu.count] += 1
        return pdu

    async with serving(sdm120(1, HELD, gaps=True), hook=hook) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: len(recorder.of("meter", "import_energy")) >= 3)
    assert set(requests) == {(0x00, 0x4A)}


async def test_reads_apart_what_a_device_refuses_to_read_together() -> None:
    requests: list[tuple[int, int]] = []

    def hook(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            requests.append((pdu.address, pdu.count))
        return pdu

    async with serving(sdm120(1, HELD), hook=hook) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: len(recorder.of("meter", "import_energy")) >= 10)
        assert not recorder.bad("meter")
        assert {name: recorder.of("meter", name)[0].value for name in NAMES} == pytest.approx(EXPECTED, rel=1e-6)
    assert requests.count((0x00, 0x4A)) == 1, "a refused request is not made again"
    assert requests[-7:] == requests[-14:-7], "what was learned is kept"


async def test_a_refused_register_is_bad_once_and_the_others_stay_good() -> None:
    held = {address: value for address, value in HELD.items() if address != 0x46}
    async with serving(sdm120(1, held)) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: len(recorder.of("meter", "import_energy")) >= 4)
        bad = recorder.bad("meter")
        assert [(each.metric, each.value, each.quality) for each in bad] == [("frequency", None, refused(2))]
        assert recorder.states == [("meter", "online", "frequency: illegal data address")]
        assert recorder.counts["refusals", "meter"] >= 3


@pytest.mark.parametrize("word", [float("nan"), float("inf"), float("-inf")])
async def test_no_number_is_no_value(word: float) -> None:
    holding = {**HELD, 0x00: word}
    broken = sdm120(1, holding)

    async def action(_function: int, start: int, _at: int, _n: int, registers: list[int], _set: object) -> None:
        if recorder.counts["healed", ""]:
            registers[0 - start : 2 - start] = struct.unpack(">HH", struct.pack(">f", 230.2))

    broken.action = action
    async with serving(broken) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: len(recorder.of("meter", "current")) >= 3)
        assert [(each.value, each.quality) for each in recorder.of("meter", "voltage")] == [(None, BAD_INVALID)]
        recorder.count("healed")
        await recorder.until(lambda: recorder.good("meter", "voltage"))
        assert recorder.good("meter", "voltage")[0].value == pytest.approx(230.2, rel=1e-6)


@asynccontextmanager
async def meter_process(port: int) -> AsyncIterator[int]:
    """The simulated meter as a process; killed without warning at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.meter", "--port", str(port), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        assert ready, "the meter did not start"
        yield int(ready.rsplit(":", 1)[1])
    finally:
        process.kill()
        await process.communicate()


async def test_a_meter_that_dies_and_comes_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with linked(port, device(1)) as recorder:
        await recorder.until(lambda: recorder.counts["connect_failures", ""] >= 2)
        assert len(recorder.bad("meter")) == len(METRICS), "told once, not at every attempt"
        async with meter_process(port):
            await recorder.until(lambda: len(recorder.good("meter", "import_energy")) >= 2)
        killed_ms = now_ms()
        await recorder.until(lambda: recorder.counts["connect_failures", ""] >= 5)
        bad = recorder.bad("meter")
        assert Counter(each.metric for each in bad) == dict.fromkeys(METRICS, 2)
        assert {(each.value, each.quality) for each in bad} == {(None, BAD_TIMEOUT)}
        assert max(each.time_ms for each in recorder.good("meter", "voltage")) <= killed_ms, "old values stay old"
        good = len(recorder.good("meter", "voltage"))
        async with meter_process(port):
            await recorder.until(lambda: len(recorder.good("meter", "voltage")) >= good + 2)
        assert recorder.states_of("meter")[:4] == ["offline", "online", "offline", "online"]
        assert str(port) in recorder.states[2][2]


def silent_but_one(asked: list[float]) -> Hook:
    """Unit 1 answers; the times at which the others are asked are kept in `asked`."""

    def hook(sending: bool, pdu: ModbusPDU) -> ModbusPDU | None:
        if sending or pdu.dev_id == 1:
            return pdu
        asked.append(time.monotonic())
        return None

    return hook


async def test_a_silent_unit_is_asked_ever_less_and_its_neighbour_keeps_its_period() -> None:
    asked: list[float] = []
    both = device(1, "alive"), device(2, "dead")
    async with (
        serving(sdm120(1, HELD, gaps=True), hook=silent_but_one(asked)) as port,
        linked(port, *both, period_ms=100, timeout_ms=60) as recorder,
    ):
        await recorder.until(lambda: recorder.bad("dead"))
        begin_s, begin = time.monotonic(), len(recorder.of("alive", "voltage"))
        await recorder.until(lambda: len(recorder.of("alive", "voltage")) >= begin + 30)
        assert time.monotonic() - begin_s == pytest.approx(3.0, abs=0.25), "30 periods of 100 ms"
        assert not recorder.bad("alive")
        probes = sum(at > begin_s for at in asked)
        assert 2 <= probes <= 5, "each gap is twice the one before"
        assert Counter(each.metric for each in recorder.bad("dead")) == dict.fromkeys(METRICS, 1)
        assert [each for each in recorder.states if each[0] == "dead"] == [
            ("dead", "offline", "no answer within 60 ms")
        ]


async def test_many_silent_units_share_a_twentieth_of_the_time() -> None:
    asked: list[float] = []
    dead = [device(unit_id, f"dead-{unit_id}") for unit_id in range(2, 10)]
    async with (
        serving(sdm120(1, HELD, gaps=True), hook=silent_but_one(asked)) as port,
        linked(port, device(1, "alive"), *dead, period_ms=100, timeout_ms=60) as recorder,
    ):
        await recorder.until(lambda: len(recorder.states) == 9)
        begin_s, begin = time.monotonic(), len(recorder.of("alive", "voltage"))
        await recorder.until(lambda: len(recorder.of("alive", "voltage")) >= begin + 12)
        elapsed_s = time.monotonic() - begin_s
        assert elapsed_s == pytest.approx(1.2, abs=0.25)
        assert 1 <= sum(at > begin_s for at in asked) <= 1 + elapsed_s * 0.05 / 0.01, (
            "10 ms a probe: the neighbour takes less"
        )


async def test_a_silent_unit_does_not_cost_the_connection_of_one_that_is_polled_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bound, value in (("PROBE_SHARE", 0.9), ("PROBE_FIRST_S", 0.01), ("PROBE_MOST_S", 0.01)):
        monkeypatch.setattr(modbus_schedule, bound, value)
    asked = 0

    def hook(sending: bool, pdu: ModbusPDU) -> ModbusPDU | None:
        nonlocal asked
        asked += pdu.dev_id == 2
        return pdu if sending or pdu.dev_id == 1 else None

    def every(period_ms: int) -> DeviceModel:
        return SDM120.model_copy(update={"modbus": SDM120.modbus.model_copy(update={"period_ms": period_ms})})

    both = Attached("alive", every(1500), "1"), Attached("dead", every(20), "2")
    async with (
        serving(sdm120(1, HELD, gaps=True), hook=hook) as port,
        linked(port, *both, period_ms=None, timeout_ms=30) as recorder,
    ):
        await recorder.until(lambda: len(recorder.of("alive", "import_energy")) >= 2)
        assert asked > 5, "the dead one was probed often enough between two polls"
        assert recorder.states_of("alive") == ["online"]
        assert not recorder.bad("alive")
        assert not recorder.counts["connections_lost", ""]


async def test_a_connection_over_which_nobody_answers_is_made_anew() -> None:
    connections = 0
    both = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 2:
            both.set()
        while await reader.read(100):
            pass
        writer.close()
        await writer.wait_closed()
        ended.release()

    ended = asyncio.Semaphore(0)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(8):
        async with linked(server.sockets[0].getsockname()[1], device(1), timeout_ms=30) as recorder:
            await both.wait()
        assert Counter(each.metric for each in recorder.bad("meter")) == dict.fromkeys(METRICS, 1)
        for _ in range(connections):
            await ended.acquire()


async def test_a_bridge_that_misses_its_device_means_offline() -> None:
    def hook(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        return ExceptionResponse(pdu.function_code & 0x7F, 11, 1, pdu.transaction_id) if sending else pdu

    async with serving(sdm120(1, HELD), hook=hook) as port, linked(port, device(1)) as recorder:
        await recorder.until(lambda: recorder.states)
        assert recorder.states == [("meter", "offline", "gateway target did not respond")]
        assert {each.quality for each in recorder.bad("meter")} == {BAD_TIMEOUT}


async def test_missed_cycles_are_counted_and_not_made_up_for() -> None:
    asked: list[float] = []

    async def action(*_request: object) -> None:
        asked.append(time.monotonic())
        if len(asked) == 6:
            await asyncio.sleep(0.32)

    slow = sdm120(1, HELD, gaps=True)
    slow.action = action
    async with serving(slow) as port, linked(port, device(1), period_ms=100, timeout_ms=2000) as recorder:
        await recorder.until(lambda: len(recorder.of("meter", "import_energy")) >= 10)
        assert 2 <= recorder.counts["missed_cycles", "meter"] <= 4
    gaps = [after - before for before, after in pairwise(asked[6:])]
    assert gaps
    assert min(gaps) > 0.05, "no burst after the stall"


@asynccontextmanager
async def answering(answer: Callable[[bytes], tuple[float, bytes]]) -> AsyncIterator[int]:
    """A raw server: for each request `answer` gives a delay in seconds and the bytes to send."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(request := await reader.read(12)) == 12:
            delay_s, data = answer(request)
            asyncio.get_running_loop().call_later(delay_s, writer.write, data)
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            await closed.wait()


def response(request: bytes, registers: bytes) -> bytes:
    """A well-formed answer to a read request (Messaging on TCP/IP, section 3.1.3)."""
    return request[:4] + struct.pack(">HBBB", len(registers) + 3, request[6], request[7], len(registers)) + registers


@pytest.mark.parametrize("count", [1, 31, 33])
async def test_an_answer_of_another_length_gives_no_value(count: int) -> None:
    async with (
        answering(lambda request: (0, response(request, b"\x43\x66" * count))) as port,
        linked(port, device(1)) as recorder,
    ):
        await recorder.until(lambda: recorder.states)
        asked = f"modbus response: {2 + 2 * count} bytes where {2 + 2 * 0x4A} were asked for"
        assert recorder.states == [("meter", "offline", asked)]
        assert {(each.value, each.quality) for _, each in recorder.readings} == {(None, BAD_INVALID)}
        assert recorder.counts["decode_errors", "meter"] >= 1


def other_unit(request: bytes) -> bytes:
    data = response(request, bytes(64))
    return data[:6] + b"\x07" + data[7:]


def unknown_function(request: bytes) -> bytes:
    return request[:4] + b"\x00\x03" + request[6:7] + b"\x6e\x00"


@pytest.mark.parametrize("malformed", [other_unit, unknown_function, lambda _: b"\xff" * 30, lambda _: b"\x00"])
async def test_what_is_no_answer_gives_no_value_and_leaves_the_link_usable(malformed: Callable[[bytes], bytes]) -> None:
    wrong = True

    def answer(request: bytes) -> tuple[float, bytes]:
        registers = struct.unpack(">H", request[10:12])[0]
        return 0, malformed(request) if wrong else response(request, b"\x43\x66\x33\x34" * (registers // 2))

    async with answering(answer) as port, linked(port, device(1), timeout_ms=100) as recorder:
        await recorder.until(lambda: recorder.states)
        assert recorder.states_of("meter") == ["offline"]
        assert {each.value for _, each in recorder.readings} == {None}
        wrong = False
        await recorder.until(lambda: recorder.good("meter", "import_energy"))
        assert recorder.good("meter", "voltage")[0].value == pytest.approx(230.2, rel=1e-6)


PLC = DeviceModel.model_validate(
    {
        "device": {
            "model": "plc",
            "maker": "-",
            "kind": "plc",
            "link": "modbus",
            "name": {"en": "PLC", "zh": "控制器"},
        },
        "modbus": {"word_order": "little"},
        "metrics": {
            name: {"name": {"en": name, "zh": name}, "unit": "1", "register": register}
            for name, register in {
                "pump": {"table": "coil", "address": 3},
                "valve": {"table": "coil", "address": 19},
                "door": {"table": "discrete", "address": 5},
                "temperature": {"table": "holding", "address": 100, "type": "int16", "scale": 0.1},
                "litres": {"table": "holding", "address": 101, "type": "uint32"},
                "fault": {"table": "holding", "address": 103, "type": "bool", "bit": 9},
                "ready": {"table": "holding", "address": 103, "type": "bool", "bit": 0},
            }.items()
        },
    }
)


async def test_every_table_and_shape_of_register() -> None:
    coils = [address in (3, 20) for address in range(32)]
    doors = [address == 5 for address in range(16)]
    # -12.3 degrees as -123, 70000 litres as 0x0001 1170 with the low word first, bit 9 of a status word
    words = [0x10000 - 123, 0x1170, 0x0001, 1 << 9]
    plc = SimDevice(
        4,
        (
            [SimData(0, values=coils, datatype=DataType.BITS)],
            [SimData(0, values=doors, datatype=DataType.BITS)],
            [SimData(100, values=words, datatype=DataType.REGISTERS)],
            [SimData(0, values=0, datatype=DataType.REGISTERS)],
        ),
    )
    async with serving(plc) as port, linked(port, Attached("plc", PLC, "4")) as recorder:
        await recorder.until(lambda: recorder.states)
        found = {each.metric: each.value for _, each in recorder.readings}
    expected = {"pump": True, "valve": False, "door": True, "litres": 70000, "fault": True, "ready": False}
    assert found == {**expected, "temperature": pytest.approx(-12.3)}


async def test_every_function_is_understood_by_a_server_that_is_not_ours() -> None:
    plc = SimDevice(
        4,
        (
            [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
            [SimData(0, values=[True] * 16, datatype=DataType.BITS)],
            [SimData(0, values=[0] * 16, datatype=DataType.REGISTERS)],
            [SimData(0, values=[7] * 16, datatype=DataType.REGISTERS)],
        ),
    )
    async with serving(plc) as port:
        line = TcpLine("127.0.0.1", port, now_ms, Recorder().count)
        await line.open(lambda: None)

        async def ask(pdu: bytes) -> bytes:
            return response_payload(pdu, await line.exchange(4, pdu, 1.0))

        assert await ask(write_coil(3, True)) == b""
        assert await ask(write_coils(8, [True, False, True])) == b""
        assert decode_bits(await ask(read_request(1, 0, 16)), 16) == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]
        assert decode_bits(await ask(read_request(2, 0, 3)), 3) == [1, 1, 1]
        assert await ask(write_register(0, 0x1234)) == b""
        assert await ask(write_registers(1, [1, 2, 0xFFFF])) == b""
        assert await ask(mask_write(0, 0xF0FF, 0x0500)) == b""
        assert decode_words(await ask(read_request(3, 0, 4))) == [0x1534, 1, 2, 0xFFFF]
        assert decode_words(await ask(read_write_registers(0, 3, 1, [9]))) == [0x1534, 9, 2]
        assert decode_words(await ask(read_request(4, 2, 1))) == [7]
        line.close()


async def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    """The n-th request is answered with the value n; one answer comes later than the timeout."""
    number = 0

    def answer(request: bytes) -> tuple[float, bytes]:
        nonlocal number
        number += 1
        registers = struct.unpack(">H", request[10:12])[0]
        data = struct.pack(">f", number) + bytes(registers * 2 - 4)
        return (0.13 if number == 3 else 0.0), response(request, data)

    async with answering(answer) as port, linked(port, device(1), period_ms=40, timeout_ms=100) as recorder:
        await recorder.until(lambda: len(recorder.good("meter", "voltage")) >= 4)
        # voltage is in the odd requests, frequency in the even ones, until the third is lost and the sides change
        values = [each.value for each in recorder.good("meter", "voltage")]
        assert 3.0 not in values
        assert values == sorted(set(values))
        assert recorder.states_of("meter")[:3] == ["online", "offline", "online"]


async def test_a_device_that_has_become_slower_is_waited_for_longer() -> None:
    """Its usual answers are there at once, so that its probes are short; then it needs most of the timeout."""
    number = 0

    def answer(request: bytes) -> tuple[float, bytes]:
        nonlocal number
        number += 1
        delay_s = 0.0 if number < 10 else 2.0 if number == 10 else 0.12
        return delay_s, response(request, bytes(2 * struct.unpack(">H", request[10:12])[0]))

    async with answering(answer) as port, linked(port, device(1), period_ms=200, timeout_ms=200) as recorder:
        await recorder.until(lambda: "offline" in recorder.states_of("meter"))
        count = len(recorder.good("meter", "voltage"))
        await recorder.until(lambda: len(recorder.good("meter", "voltage")) >= count + 3, within_s=4)


async def test_leaving_closes_the_connection() -> None:
    async with answering(lambda _: (0, b"")) as port:  # waits for the end of the connection
        async with linked(port, device(1)) as recorder:
            await recorder.until(lambda: recorder.states)
        assert recorder.states == [("meter", "offline", "no answer within 400 ms")]


@pytest.mark.parametrize(
    ("devices", "error"),
    [
        ((), LinkError),
        ((device(1, "a"), device(1, "b")), DeviceError),
        ((Attached("a", SDM120, "one"),), DeviceError),
        ((Attached("a", SDM120, "256"),), DeviceError),
        ((Attached("a", catalogue()["nonin-3230"], "1"),), DeviceError),
    ],
)
def test_refuses_what_it_cannot_poll(devices: tuple[Attached, ...], error: type[LinkError]) -> None:
    line = TcpLine("127.0.0.1", 502, now_ms, Recorder().count)
    with pytest.raises(error):
        ModbusLink("bus", line, devices, Recorder(), now_ms)
