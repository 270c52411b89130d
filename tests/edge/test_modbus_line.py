"""RTU frames through a device server that is late, noisy and out of step: no answer is ever taken for another one."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.modbus import ModbusLink
from edge.links.modbus_line import Silence, TcpLine
from edge.links.modbus_rtu import RtuOverTcpLine
from hardware.catalogue import DeviceModel
from protocols.errors import ChecksumError, DecodeError
from protocols.modbus import mbap, parse_request, read_request, read_response, rtu
from tests.edge.recorder import Recorder

NAME = {"en": "x", "zh": "x"}
# Two blocks of the same size that no read joins, in groups of their own: an answer to one fits the other as well.
MODEL = DeviceModel.model_validate(
    {
        "device": {"model": "m", "maker": "-", "kind": "k", "link": "modbus", "name": NAME},
        "modbus": {"period_ms": 20, "max_registers": 2, "groups": {"other": {"period_ms": 20, "phase_ms": 10}}},
        "metrics": {
            f"r{address}": {
                "name": NAME, "unit": "1", "group": group, "register": {"table": "holding", "address": address},
            }
            for address, group in ((10, None), (11, None), (20, None), (21, None), (30, "other"), (31, "other"))
        },
    }
)  # fmt: skip
Sent = list[tuple[float, bytes]]  # (seconds after the piece before it, bytes)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def held(unit: int, address: int) -> int:
    """Tells in each register whose it is."""
    return unit * 1000 + address


def answer_to(frame: bytes) -> bytes:
    request = parse_request(frame[1:-2])
    words = [held(frame[0], request.address + at) for at in range(request.quantity)]
    return rtu(frame[0], read_response(frame[1], b"".join(word.to_bytes(2, "big") for word in words)))


@asynccontextmanager
async def device_server(answer: Callable[[bytes], Sent]) -> AsyncIterator[int]:
    """Answers one request after another, as a serial line behind it does, however many are waiting."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while len(frame := await reader.read(8)) == 8:
                for delay_s, data in answer(frame):
                    await asyncio.sleep(delay_s)
                    writer.write(data)
            writer.close()
            await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            await closed.wait()


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[RtuOverTcpLine, Recorder]]:
    counts = Recorder()
    line = RtuOverTcpLine("127.0.0.1", port, now_ms, counts.count)
    await line.open(lambda: None)
    try:
        yield line, counts
    finally:
        line.close()


def words(unit: int, address: int) -> bytes:
    return answer_to(rtu(unit, read_request(3, address, 2)))[1:-2]


async def test_the_rest_of_a_damaged_answer_is_not_taken_for_the_next_one() -> None:
    pieces: list[Sent] = [
        [(0, b"\x01\x03"), (0.02, b"\x7f" * 9), (0.04, b"noise")],
        [(0, b"\x00"), (0.03, words(1, 20))],
    ]

    def answer(frame: bytes) -> Sent:
        return pieces.pop(0) if pieces else [(0, answer_to(frame))]

    async with device_server(answer) as port, opened(port) as (line, _):
        for address in (10, 20):
            with pytest.raises(ChecksumError):
                await line.exchange(1, read_request(3, address, 2), 0.5)
        for address in (30, 10):
            assert await line.exchange(1, read_request(3, address, 2), 0.5) == words(1, address)


async def test_who_is_late_does_not_cost_the_next_device_its_answer() -> None:
    first = True

    def answer(frame: bytes) -> Sent:
        nonlocal first
        first, late = False, first
        return [(0.15 if late else 0, answer_to(frame))]

    async with device_server(answer) as port, opened(port) as (line, counts):
        with pytest.raises(Silence):
            await line.exchange(1, read_request(3, 10, 2), 0.1)
        assert await line.exchange(2, read_request(3, 10, 2), 0.3) == words(2, 10)
        assert counts.counts["late_answers", ""] == 1
        assert line.late == {1}


async def test_who_answers_when_nobody_waits_is_known_to_be_late() -> None:
    async with (
        device_server(lambda frame: [(0.15, answer_to(frame))]) as port,
        opened(port) as (line, counts),
    ):
        with pytest.raises(Silence):
            await line.exchange(7, read_request(3, 10, 2), 0.1)
        await counts.until(lambda: counts.counts["late_answers", ""])
        assert line.late == {7}


async def test_a_late_answer_is_not_taken_for_one_of_the_same_size() -> None:
    first = True

    def answer(frame: bytes) -> Sent:
        nonlocal first
        first, late = False, first
        return [(0.15 if late else 0, answer_to(frame))]

    async with device_server(answer) as port, opened(port) as (line, _):
        with pytest.raises(Silence):
            await line.exchange(1, read_request(3, 10, 2), 0.1)
        assert await line.exchange(1, read_request(3, 20, 2), 0.3) == words(1, 20)
        assert await line.exchange(1, read_request(3, 30, 2), 0.3) == words(1, 30)


async def test_an_answer_of_another_kind_is_named_if_no_other_comes() -> None:
    async with (
        device_server(lambda frame: [(0, rtu(frame[0], read_response(4, bytes(4))))]) as port,
        opened(port) as (line, _),
    ):
        with pytest.raises(DecodeError, match="not what was asked for"):
            await line.exchange(1, read_request(3, 10, 2), 0.1)


async def test_a_line_that_is_never_quiet_does_not_hold_the_others_up() -> None:
    async with (
        device_server(lambda _: [(0, b"\x01\x63noise")] + [(0.03, b"noise")] * 40) as port,
        opened(port) as (line, _),
    ):
        began_s = time.monotonic()
        with pytest.raises(ChecksumError):
            await line.exchange(1, read_request(3, 10, 2), 0.1)
        assert time.monotonic() - began_s < 0.8


class _Wire:
    """A transport that goes nowhere."""

    def write(self, data: bytes) -> None:
        self.written = data

    def abort(self) -> None:
        self.written = b""


@pytest.mark.parametrize("kind", [TcpLine, RtuOverTcpLine])
@settings(max_examples=60)
@given(st.lists(st.binary(max_size=30), max_size=6), st.data())
async def test_whatever_comes_only_what_was_asked_for_is_taken(
    kind: type[TcpLine | RtuOverTcpLine], chunks: list[bytes], data: st.DataObject
) -> None:
    """Random bytes, also around a right answer or a part of it: only what was asked for is ever taken."""
    line = kind("", 0, now_ms, Recorder().count)
    line._transport = cast(Any, _Wire())
    if isinstance(line, RtuOverTcpLine):
        line._frame_s = line._lull_s = 0.003
    whole = rtu(1, words(1, 10)) if kind is RtuOverTcpLine else mbap(1, 1, words(1, 10))
    right = data.draw(st.sampled_from([whole, whole[:5], b""]))
    chunks.insert(data.draw(st.integers(0, len(chunks))), right)
    asking = asyncio.create_task(line.exchange(1, read_request(3, 10, 2), 0.005))
    await asyncio.sleep(0)
    for chunk in chunks:
        if chunk:
            line.data_received(chunk)
    try:
        answer = await asking
    except (Silence, DecodeError):
        assert not b"".join(chunks).startswith(whole)
    else:
        assert answer == words(1, 10)


@pytest.mark.parametrize("seed", range(2))
async def test_values_are_always_those_of_their_registers(seed: int) -> None:
    """Devices that are late now and then, cut and garbled frames: what is read is only ever what the register holds."""
    chance = random.Random(seed)

    def answer(frame: bytes) -> Sent:
        whole = answer_to(frame)
        delay_s = chance.choice([0] * 20 + [0.002, 0.05, 0.07, 0.15])
        kind = chance.randrange(60)
        if kind == 0:
            return [(delay_s, chance.randbytes(chance.randrange(1, 12)) + whole)]
        if kind == 1:
            cut = chance.randrange(len(whole))
            return [(delay_s, whole[:cut]), (0.03, whole[cut:])]
        if kind == 2:
            return [(delay_s, whole[: chance.randrange(len(whole))])]
        return [(delay_s, whole)]

    devices = [Attached(f"m{unit}", MODEL, str(unit)) for unit in (1, 2, 3)]
    recorder = Recorder(dict.fromkeys(("m1", "m2", "m3"), MODEL))
    async with device_server(answer) as port:
        line = RtuOverTcpLine("127.0.0.1", port, now_ms, recorder.count)
        link = ModbusLink("bus", line, devices, recorder, now_ms, timeout_ms=60, backoff=Backoff(first_s=0.05))
        running = asyncio.create_task(link.run())
        await asyncio.sleep(3)
        running.cancel()
        await asyncio.wait((running,))
    good = [(thing, each) for thing, each in recorder.readings if each.value is not None]
    assert len(good) > 50
    assert recorder.counts["late_answers", ""] > 0
    for thing, each in good:
        assert each.value == held(int(thing[1:]), int(each.metric[1:])), "another register's"
