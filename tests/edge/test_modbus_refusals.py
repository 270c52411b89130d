"""What a Modbus device refuses: told by which code, learned, tried again; and answers of which a part is wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.links import modbus_blocks
from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.modbus import ModbusLink
from edge.links.modbus_line import TcpLine
from hardware.catalogue import DeviceModel
from protocols.modbus import MbapStream, Request, exception_response, mbap, parse_request, read_response
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, quality_name, refused
from tests.edge.recorder import Recorder

NAME = {"en": "x", "zh": "x"}
Answer = Callable[[Request], bytes | None]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def model(registers: dict[str, dict[str, Any]], **modbus: Any) -> DeviceModel:
    return DeviceModel.model_validate(
        {
            "device": {"model": "m", "maker": "-", "kind": "k", "link": "modbus", "name": NAME},
            "modbus": {"period_ms": 40, **modbus},
            "metrics": {
                name: {"name": NAME, "unit": "1", "register": {"table": "holding", **register}}
                for name, register in registers.items()
            },
        }
    )


BLOCK = model({f"r{at}": {"address": at} for at in range(60)})


def held(request: Request) -> bytes:
    """Each register holds its address."""
    words = range(request.address, request.address + request.quantity)
    return read_response(request.function, b"".join(word.to_bytes(2, "big") for word in words))


@asynccontextmanager
async def linked(declared: DeviceModel, answer: Answer) -> AsyncIterator[Recorder]:
    """The link to one device that answers so; None: not at all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = MbapStream()
        while data := await reader.read(1000):
            for transaction, unit, pdu in stream.feed(data):
                response = answer(parse_request(pdu))
                if response is not None:
                    writer.write(mbap(transaction, unit, response))
        writer.close()
        await writer.wait_closed()
        closed.release()

    closed = asyncio.Semaphore(0)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    recorder = Recorder({"it": declared})
    async with server:
        line = TcpLine("127.0.0.1", server.sockets[0].getsockname()[1], now_ms, recorder.count)
        device = Attached("it", declared, "1")
        link = ModbusLink("bus", line, [device], recorder, now_ms, timeout_ms=100, backoff=Backoff(first_s=0.05))
        running = asyncio.create_task(link.run())
        try:
            yield recorder
        finally:
            running.cancel()
            await asyncio.wait((running,))
            async with asyncio.timeout(5):
                await closed.acquire()


@pytest.mark.parametrize(("code", "reason"), [(1, "illegal function"), (4, "device failure"), (6, "device busy")])
async def test_a_refusal_is_told_with_its_code(code: int, reason: str) -> None:
    busy = True

    def answer(request: Request) -> bytes:
        return exception_response(request.function, code) if busy else held(request)

    async with linked(model({"a": {"address": 3}}), answer) as recorder:
        await recorder.until(lambda: recorder.states)
        assert recorder.states == [("it", "online", f"a: {reason}")]
        [(_, only)] = recorder.readings
        assert (only.value, only.quality) == (None, refused(code))
        assert quality_name(only.quality) == f"bad: refused, exception {code}"
        busy = False
        await recorder.until(lambda: recorder.states[-1] == ("it", "online", ""))
        assert recorder.good("it", "a")


@pytest.mark.parametrize("code", [2, 3])
async def test_a_device_that_reads_few_registers_at_once_is_asked_for_no_more(code: int) -> None:
    """By the standard's own diagram too many registers are exception 3; some devices say 2."""
    asked: list[int] = []

    def answer(request: Request) -> bytes:
        asked.append(request.quantity)
        return exception_response(request.function, code) if request.quantity > 50 else held(request)

    async with linked(BLOCK, answer) as recorder:
        await recorder.until(lambda: len(recorder.of("it", "r59")) >= 6)
        assert not recorder.bad("it")
        assert {each.value for each in recorder.of("it", "r59")} == {59}
    assert asked.count(60) == 2, "the first time may be a register that is not there"
    assert set(asked[-4:]) == {30}


async def test_what_was_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modbus_blocks, "RETRY_S", 0.1)
    missing = {7, 30}

    def answer(request: Request) -> bytes:
        wanted = range(request.address, request.address + request.quantity)
        return exception_response(request.function, 2) if missing.intersection(wanted) else held(request)

    async with linked(BLOCK, answer) as recorder:
        await recorder.until(lambda: recorder.states)
        assert {each.metric for each in recorder.bad("it")} == {"r7", "r30"}
        assert recorder.states == [("it", "online", "r7, r30: illegal data address")]
        missing.clear()
        await recorder.until(lambda: recorder.good("it", "r7") and recorder.good("it", "r30"))
        await recorder.until(lambda: recorder.states[-1] == ("it", "online", ""))


async def test_a_device_that_refused_everything_while_it_started_is_read_soon_after() -> None:
    starting = True

    def answer(request: Request) -> bytes:
        return exception_response(request.function, 2) if starting else held(request)

    async with linked(BLOCK, answer) as recorder:
        await recorder.until(lambda: recorder.states)
        starting = False
        await recorder.until(lambda: all(recorder.good("it", f"r{at}") for at in range(60)))


async def test_a_device_that_refused_everything_and_falls_silent_is_offline() -> None:
    answers = True

    def answer(request: Request) -> bytes | None:
        return exception_response(request.function, 2) if answers else None

    async with linked(model({"a": {"address": 3}}), answer) as recorder:
        await recorder.until(lambda: recorder.states)
        answers = False
        await recorder.until(lambda: "offline" in recorder.states_of("it"))
        assert recorder.bad("it")[-1].quality == BAD_TIMEOUT


async def test_a_device_of_which_one_table_is_garbled_is_online() -> None:
    declared = model({"a": {"address": 3}, "b": {"table": "input", "address": 3}})

    def answer(request: Request) -> bytes:
        return held(request) if request.function == 3 else read_response(4, b"\0")

    async with linked(declared, answer) as recorder:
        await recorder.until(lambda: len(recorder.good("it", "a")) >= 3)
        assert recorder.states_of("it") == ["online"]
        assert {each.quality for each in recorder.bad("it")} == {BAD_INVALID}
        assert recorder.counts["decode_errors", "it"] >= 2


async def test_a_register_may_say_that_it_holds_no_value() -> None:
    words = {0: (0xFFFF, 0x7FFF), 2: (0, 1), 4: (0x7FFF,), 5: (3,)}
    declared = model(
        {
            "current": {"address": 0, "type": "int32", "scale": 0.001, "no_value": 0x7FFFFFFF},
            "power": {"address": 2, "type": "int32", "scale": 0.1},
            "factor": {"address": 4, "type": "int16", "no_value": 0x7FFF},
            "digits": {"address": 5, "type": "bcd16", "no_value": 3},
        },
        word_order="little",
    )

    def answer(request: Request) -> bytes:
        flat = [word for at in sorted(words) for word in words[at]]
        return read_response(3, b"".join(word.to_bytes(2, "big") for word in flat))

    async with linked(declared, answer) as recorder:
        await recorder.until(lambda: recorder.states)
        bad = {each.metric: (each.value, each.quality) for each in recorder.bad("it")}
        assert bad == dict.fromkeys(("current", "factor", "digits"), (None, BAD_INVALID))
        assert recorder.good("it", "power")[0].value == 6553.6
        words[0], words[4] = (0xFFFE, 0x7FFF), (0x7FFE,)
        await recorder.until(lambda: recorder.good("it", "current") and recorder.good("it", "factor"))
        assert recorder.good("it", "current")[0].value == 2147483.646
        assert recorder.good("it", "factor")[0].value == 0x7FFE


async def test_whole_numbers_stay_exact_beside_scaled_ones() -> None:
    declared = model(
        {"energy": {"address": 0, "type": "uint64"}, "power": {"address": 4, "type": "uint64", "scale": 0.1}}
    )
    whole = 2**63 + 1  # which no float holds

    def answer(_request: Request) -> bytes:
        return read_response(3, whole.to_bytes(8, "big") + (15).to_bytes(8, "big"))

    async with linked(declared, answer) as recorder:
        await recorder.until(lambda: recorder.states)
        assert recorder.good("it", "energy")[0].value == whole
        assert recorder.good("it", "power")[0].value == 1.5
