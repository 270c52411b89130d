"""Modbus RTU over a pseudo-terminal and over TCP, with slaves that misbehave."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edge.errors import ActionFailed, ActionRefused
from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.modbus import ModbusLink
from edge.links.modbus_line import Line
from edge.links.modbus_rtu import RtuOverTcpLine, SerialLine
from hardware.catalogue import DeviceModel, Register
from hardware.sim.rtu import RtuBus
from protocols.modbus import exception_response, parse_request, read_response, rtu
from protocols.reading import BAD_CHECKSUM, BAD_RANGE, BAD_TIMEOUT
from tests.edge.recorder import Recorder

BAUD = 115_200


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def name(text: str) -> dict[str, str]:
    return {"en": text, "zh": text}


MODEL = DeviceModel.model_validate(
    {
        "device": {"model": "io", "maker": "-", "kind": "io", "link": "modbus", "name": name("IO")},
        "modbus": {"period_ms": 50, "groups": {"slow": {"period_ms": 400, "phase_ms": 100}}},
        "metrics": {
            "level": {
                "name": name("level"), "unit": "%", "range": (0, 100),
                "register": {"table": "holding", "address": 0, "scale": 0.1},
            },
            "mode": {
                "name": name("mode"), "unit": "1", "states": {"0": name("off"), "3": name("on")},
                "register": {"table": "holding", "address": 1},
            },
            "serial_number": {
                "name": name("no"), "unit": "1", "group": "slow",
                "register": {"table": "holding", "address": 10, "type": "string[4]"},
            },
            "pump": {"name": name("pump"), "unit": "1", "register": {"table": "coil", "address": 0}},
        },
        "commands": {
            "set_level": {"name": name("level"), "register": {"table": "holding", "address": 0, "scale": 0.1}},
            "switch_pump": {"name": name("pump"), "register": {"table": "coil", "address": 0}},
            "set_limit": {"name": name("limit"), "register": {"table": "holding", "address": 2, "type": "float32"}},
            "set_gear": {
                "name": name("gear"),
                "register": {"table": "holding", "address": 4, "type": "bits", "bit": 4, "width": 3},
            },
            "pulse": {"name": name("pulse"), "register": {"table": "coil", "address": 1}, "read_back": False},
        },
    }
)  # fmt: skip


class Io:
    """A slave with 20 holding registers and two coils; notes what was written to it."""

    def __init__(self, unit: int = 1):
        self.unit = unit
        self.registers = [0] * 20
        self.coils = [0, 0]
        self.registers[10:14] = [0x4B31, 0x3233, 0x3400, 0]  # "K1234"
        self.writes: list[tuple[int, int, tuple[int, ...]]] = []
        self.unknown: set[int] = set()  # functions
        self.refusal: int | None = None  # what every write is answered with once it is done
        self.answers = True

    def __call__(self, unit: int, pdu: bytes) -> bytes | None:
        if unit != self.unit:
            return None
        request = parse_request(pdu)
        if request.function in self.unknown:
            return exception_response(pdu[0], 1)
        response = self._answer(pdu)
        return response if self.answers else None

    def _answer(self, pdu: bytes) -> bytes:
        request = parse_request(pdu)
        at, end = request.address, request.address + request.quantity
        if request.function == 1:
            return read_response(1, bytes((self.coils[0] | self.coils[1] << 1,)))
        if request.function == 3:
            if end > len(self.registers):
                return exception_response(3, 2)
            return read_response(3, b"".join(word.to_bytes(2, "big") for word in self.registers[at:end]))
        self.writes.append((request.function, at, request.values))
        if request.function == 5:
            self.coils[at] = request.values[0]
        elif request.function == 22:
            keep, put = request.values
            self.registers[at] = self.registers[at] & keep | put & ~keep & 0xFFFF
        elif request.function == 15:
            self.coils[at:end] = request.values
        elif request.function == 23:
            at = request.write_address
            self.registers[at : at + len(request.values)] = request.values
        else:
            self.registers[at:end] = request.values
        if self.refusal:
            return exception_response(pdu[0], self.refusal)
        if request.function == 23:
            return read_response(23, b"".join(word.to_bytes(2, "big") for word in request.values))
        return pdu[:5] if request.function in (15, 16) else pdu


@asynccontextmanager
async def linked(line: Callable[[Recorder], Line], *addresses: str) -> AsyncIterator[tuple[Recorder, ModbusLink]]:
    devices = [Attached(f"io-{address}", MODEL, address) for address in addresses or ("1",)]
    recorder = Recorder({device.thing: device.model for device in devices})
    link = ModbusLink(
        "bus", line(recorder), devices, recorder, now_ms, timeout_ms=120, backoff=Backoff(first_s=0.05, most_s=0.1)
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        yield recorder, link
        running.cancel()


def on(port: str) -> Callable[[Recorder], Line]:
    return lambda recorder: SerialLine(port, now_ms, recorder.count, baud=BAUD, parity="none", stop_bits=1)


async def test_a_slave_on_a_serial_line_is_read_in_groups_and_in_its_terms() -> None:
    io = Io()
    io.registers[0:2] = [425, 3]
    with RtuBus(io, baud=BAUD) as bus:
        async with linked(on(bus.port)) as (recorder, _):
            await recorder.until(lambda: recorder.good("io-1", "serial_number"))
            assert recorder.good("io-1", "serial_number")[0].value == "K1234"
            assert recorder.good("io-1", "level")[0].value == 42.5
            assert recorder.good("io-1", "mode")[0].value == 3
            io.registers[0:2] = [1001, 2]
            await recorder.until(lambda: len(recorder.bad("io-1")) == 2)
            bad = {each.metric: (each.value, each.quality) for each in recorder.bad("io-1")}
            assert bad == {"level": (None, BAD_RANGE), "mode": (None, BAD_RANGE)}
            await recorder.until(lambda: len(recorder.of("io-1", "pump")) >= 12)
            assert len(recorder.of("io-1", "serial_number")) < len(recorder.of("io-1", "pump")) / 3


async def test_a_damaged_answer_is_bad_with_that_reason_and_counted() -> None:
    io = Io()
    with RtuBus(io, baud=BAUD) as bus:
        send = bus.send
        async with linked(on(bus.port)) as (recorder, _):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            bus.send = lambda data: send(bytes(byte ^ 1 for byte in data) if len(data) > 1 else data)  # type: ignore[method-assign]
            await recorder.until(lambda: recorder.counts["checksum_errors", "io-1"] >= 2)
            await recorder.until(lambda: {each.metric for each in recorder.bad("io-1")} >= {"level", "mode", "pump"})
            assert {each.quality for each in recorder.bad("io-1")} == {BAD_CHECKSUM}
            bus.send = send  # type: ignore[method-assign]
            count = len(recorder.good("io-1", "level"))
            await recorder.until(lambda: len(recorder.good("io-1", "level")) > count)


async def test_noise_of_any_kind_never_passes_for_a_value() -> None:
    """Random bytes before, in the place of, and after answers: levels are only ever those that the slave has had."""
    io = Io()
    noise = random.Random(7)
    had = {0}
    with RtuBus(io, baud=BAUD) as bus:
        send = bus.send

        def disturbed(data: bytes) -> None:
            kind = noise.randrange(5)
            if kind == 0:
                data = noise.randbytes(noise.randrange(1, 40)) + data
            elif kind == 1:
                data = noise.randbytes(noise.randrange(1, 300))
            elif kind == 2:
                data = data[: noise.randrange(len(data) + 1)]
            elif kind == 3:
                data += noise.randbytes(3)
            send(data)

        bus.send = disturbed  # type: ignore[method-assign]
        async with linked(on(bus.port)) as (recorder, _):
            end_s = time.monotonic() + 4
            while time.monotonic() < end_s:
                io.registers[0] = noise.randrange(1000)
                had.add(io.registers[0])
                await asyncio.sleep(0.02)
            assert sum(recorder.counts.values()) > 5
            bus.send = send  # type: ignore[method-assign]
            count = len(recorder.good("io-1", "level"))
            await recorder.until(lambda: len(recorder.good("io-1", "level")) > count)
            assert {round(float(each.value) * 10) for each in recorder.good("io-1", "level")} <= had


async def test_an_adapter_is_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    by_id = tmp_path / "usb-adapter"
    async with linked(on(str(by_id))) as (recorder, link):
        await recorder.until(lambda: recorder.counts["connect_failures", ""])
        with pytest.raises(ActionRefused, match="is not open"):
            await link.act("io-1", MODEL.commands["pulse"], 1)
        for _ in range(2):
            with RtuBus(Io(), baud=BAUD) as bus:
                by_id.symlink_to(bus.port)
                count = len(recorder.good("io-1", "level"))
                await recorder.until(lambda count=count: len(recorder.good("io-1", "level")) > count)  # type: ignore[misc]
                by_id.unlink()
            lost = recorder.counts["connections_lost", ""]
            await recorder.until(lambda lost=lost: recorder.counts["connections_lost", ""] > lost)  # type: ignore[misc]
        assert {each.quality for each in recorder.bad("io-1")} == {BAD_TIMEOUT}


async def test_commands_write_and_read_back() -> None:
    io = Io()
    io.registers[4] = 0xFFFF
    with RtuBus(io, baud=BAUD) as bus:
        async with linked(on(bus.port)) as (recorder, link):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            commands = MODEL.commands
            assert await link.act("io-1", commands["set_level"], 55.5) == 55.5
            assert await link.act("io-1", commands["switch_pump"], 1) is True
            assert await link.act("io-1", commands["set_limit"], 1.5) == 1.5
            assert await link.act("io-1", commands["set_gear"], 5) == 5
            assert await link.act("io-1", commands["pulse"], 1) is None
            assert io.registers[:6] == [555, 0, 0x3FC0, 0, 0xFFDF, 0]
            assert io.writes == [
                (6, 0, (555,)), (5, 0, (1,)), (16, 2, (0x3FC0, 0)), (22, 4, (0xFF8F, 0x50)), (5, 1, (1,)),
            ]  # fmt: skip
            for command, value in (("set_level", -1), ("set_gear", 8), ("switch_pump", 2), ("set_limit", "x")):
                with pytest.raises(ActionRefused):
                    await link.act("io-1", commands[command], value)
            assert len(io.writes) == 5


async def test_a_function_that_the_device_does_not_know_is_done_by_another() -> None:
    io = Io()
    io.unknown = {6, 16, 22, 23}
    io.registers[4] = 0xFFFF
    with RtuBus(io, baud=BAUD) as bus:
        async with linked(on(bus.port)) as (recorder, link):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            for command in ("set_level", "set_gear", "set_limit"):
                with pytest.raises(ActionRefused, match="illegal function"):
                    await link.act("io-1", MODEL.commands[command], 5)
            assert io.writes == []
            io.unknown = {5, 6, 22}
            assert await link.act("io-1", MODEL.commands["set_level"], 12) == 12.0
            assert await link.act("io-1", MODEL.commands["set_gear"], 5) == 5
            assert await link.act("io-1", MODEL.commands["switch_pump"], 1) is True
            io.unknown = {6, 16}
            assert await link.act("io-1", MODEL.commands["set_level"], 13) == 13.0
            assert await link.act("io-1", MODEL.commands["set_limit"], 1.5) == 1.5
            assert io.registers[:5] == [130, 0, 0x3FC0, 0, 0xFFDF]
            assert [function for function, _, _ in io.writes] == [16, 16, 15, 23, 23]


@pytest.mark.parametrize("code", [4, 5])
async def test_a_device_that_says_not_yet_or_failed_may_have_done_it(code: int) -> None:
    io = Io()
    io.refusal = code
    with RtuBus(io, baud=BAUD) as bus:
        async with linked(on(bus.port)) as (recorder, link):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            assert await link.act("io-1", MODEL.commands["set_level"], 12) == 12.0  # as it reads back
            with pytest.raises(ActionFailed, match="may have been carried out"):
                await link.act("io-1", MODEL.commands["pulse"], 1)


async def test_a_write_without_an_answer_is_not_made_again() -> None:
    io = Io()
    with RtuBus(io, baud=BAUD) as bus:
        async with linked(on(bus.port)) as (recorder, link):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            io.answers = False
            with pytest.raises(ActionFailed, match="may have been carried out"):
                await link.act("io-1", MODEL.commands["pulse"], 1)
            with pytest.raises(ActionFailed, match="may have been carried out"):
                await link.act("io-1", MODEL.commands["set_level"], 9)
            assert io.writes == [(5, 1, (1,)), (6, 0, (90,))]


async def test_commands_overtake_polls_and_leave_with_the_link() -> None:
    io = Io()
    with RtuBus(io, baud=BAUD) as bus:
        waiting: list[asyncio.Task[object]] = []
        async with linked(on(bus.port)) as (recorder, link):
            await recorder.until(lambda: recorder.good("io-1", "level"))
            took = []
            for _ in range(20):
                began = time.monotonic()
                await link.act("io-1", MODEL.commands["switch_pump"], 1)
                took.append(time.monotonic() - began)
            assert sorted(took)[10] < 0.06, "one poll's request, the write and the read-back"
            waiting += [asyncio.create_task(link.act("io-1", MODEL.commands["pulse"], 1)) for _ in range(5)]
            await asyncio.sleep(0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, (ActionRefused, ActionFailed)) for each in ended)
        assert len([write for write in io.writes if write[1] == 1]) <= 1


async def test_a_command_waits_for_one_request_and_not_for_the_whole_table() -> None:
    long = MODEL.model_copy(
        update={
            "modbus": MODEL.modbus.model_copy(update={"max_registers": 1, "period_ms": 10}),
            "metrics": {
                f"r{at}": MODEL.metrics["mode"].model_copy(update={"register_": register(at)}) for at in range(20)
            },
        }
    )
    io = Io()
    io.registers[:] = [3] * 20
    with RtuBus(io, baud=9600) as bus:
        recorder = Recorder({"io-1": long})
        line = SerialLine(bus.port, now_ms, recorder.count, baud=9600, parity="none", stop_bits=1)
        link = ModbusLink("bus", line, [Attached("io-1", long, "1")], recorder, now_ms)
        running = asyncio.create_task(link.run())
        await recorder.until(lambda: recorder.good("io-1", "r19"))
        took = []
        for _ in range(8):
            began = time.monotonic()
            await link.act("io-1", MODEL.commands["pulse"], 1)
            took.append(time.monotonic() - began)
        running.cancel()
        await asyncio.wait((running,))
    # A request and its answer take 25 ms on this line, and the whole table 20 times that.
    assert sorted(took)[4] < 0.15


def register(address: int) -> Register:
    return Register(table="holding", address=address)


async def test_the_only_device_on_a_line_is_back_soon_however_long_it_was_away() -> None:
    io = Io()
    with RtuBus(io, baud=BAUD) as bus:
        recorder = Recorder({"io-1": MODEL})
        link = ModbusLink(
            "bus", on(bus.port)(recorder), [Attached("io-1", MODEL, "1")], recorder, now_ms, timeout_ms=60
        )
        running = asyncio.create_task(link.run())
        await recorder.until(lambda: recorder.good("io-1", "level"))
        io.answers = False
        away = bus.requests
        await recorder.until(lambda: recorder.counts["connections_lost", ""], within_s=20)
        assert bus.requests - away <= 20
        io.answers, count = True, len(recorder.good("io-1", "level"))
        await recorder.until(lambda: len(recorder.good("io-1", "level")) > count, within_s=2.6)
        running.cancel()
        await asyncio.wait((running,))


async def test_rtu_frames_over_tcp() -> None:
    io = Io()
    io.registers[0] = 77

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                frame = await reader.readexactly(8)
                response = io(frame[0], frame[1:-2])
                if response is not None:
                    framed = rtu(frame[0], response)
                    for cut in (framed[:2], framed[2:]):  # as a device server hands it on
                        writer.write(cut)
                        await asyncio.sleep(0.005)
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        line: Callable[[Recorder], Line] = lambda recorder: RtuOverTcpLine("127.0.0.1", port, now_ms, recorder.count)  # noqa: E731
        async with linked(line, "1", "2") as (recorder, _):
            await recorder.until(lambda: len(recorder.good("io-1", "level")) >= 5)
            assert recorder.good("io-1", "level")[0].value == 7.7
            assert recorder.states_of("io-2") == ["offline"]
        async with asyncio.timeout(5):
            await closed.wait()
