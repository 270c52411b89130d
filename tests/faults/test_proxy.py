"""The proxy does to connections what it says: a line that never fails would prove nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bench.parts.proxy import Proxy
from bench.parts.tls_records import Answers
from runtime.process import free_port


@contextlib.asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """What the server has heard is in the list."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1000):
                heard.append(data)
                writer.write(data)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(echo, "127.0.0.1", target := free_port())
    async with Proxy(free_port(), target) as proxy:
        yield proxy, heard
    await done.wait()
    server.close()


async def said(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        try:
            return await reader.read(1000)
        except ConnectionResetError:
            return b""


async def silent(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1000)
            return False
    return True


async def test_a_good_line_and_a_late_one():
    async with echo_behind_proxy() as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await said(reader) == b"one"
        proxy.delay_s = 0.25
        proxy.inflict("delay")
        writer.write(b"two")
        assert await silent(reader)
        assert await said(reader) == b"two"
        writer.transport.abort()


async def test_silence_loses_nothing():
    async with echo_behind_proxy() as (proxy, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.inflict("silence")
        writer.write(b"one")
        assert await silent(reader)
        assert not heard
        proxy.heal()
        assert await said(reader) == b"one"
        writer.transport.abort()


@pytest.mark.parametrize(("fault", "arrives"), [("deaf", []), ("mute", [b"one"])])
async def test_a_line_that_is_half_open_ends_when_it_heals(fault, arrives):
    async with echo_behind_proxy() as (proxy, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"zero")
        assert await said(reader) == b"zero"
        proxy.inflict(fault)
        writer.write(b"one")
        assert await silent(reader)
        assert heard[1:] == arrives
        proxy.heal()
        assert await said(reader) == b""
        writer.transport.abort()


async def test_a_write_that_is_cut_short():
    async with echo_behind_proxy() as (proxy, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.inflict("partial")
        writer.write(b"12345678")
        assert await said(reader) in (b"", b"1234")
        assert heard in ([], [b"1234"])
        writer.transport.abort()


@pytest.mark.parametrize(("fault", "again"), [("reset", b"one"), ("refuse", b"")])
async def test_connections_end_and_new_ones_are_let_through_or_not(fault, again):
    async with echo_behind_proxy() as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"zero")
        assert await said(reader) == b"zero"
        proxy.inflict(fault)
        assert await said(reader) == b""
        writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await said(reader) == again
        writer.transport.abort()


async def test_a_half_open_connection_is_dead_and_a_new_one_is_well():
    async with echo_behind_proxy() as (proxy, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await said(reader) == b"one"
        proxy.abandon()
        writer.write(b"two")
        assert await silent(reader)
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        new_writer.write(b"three")
        assert await said(new_reader) == b"three"
        assert heard == [b"one", b"three"]
        writer.close()
        new_writer.close()


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2, "big") + body


STREAM = [record(22, b"hello" * 100), record(23, b"first"), record(21, b"x"), record(23, b"second"), record(23, b"no")]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_answers_are_counted_whatever_pieces_they_come_in(size):
    answers, stream, wanted = Answers(2), b"".join(STREAM), b"".join(STREAM[:4])
    passed = b""
    for at in range(0, len(stream), size):
        piece = stream[at : at + size]
        passed += answers.passed(piece)
        if len(passed) < at + len(piece):
            break  # whoever cuts the line passes nothing after that
    assert passed[: len(wanted)] == wanted
    assert len(passed) - len(wanted) < 5  # of the next one's head, if that came in pieces
