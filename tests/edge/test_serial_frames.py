"""Serial devices with frames of their own, on pseudo-terminals: every model's examples, garbage, requests, commands."""

import asyncio
import os
import random
import time
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ActionFailed, ActionRefused
from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.serial import SerialLink
from edge.links.serial_talk import talk_of
from hardware.catalogue import Command, catalogue
from protocols.frames import with_check
from protocols.reading import BAD
from tests.edge.recorder import Recorder

FRAMED = sorted(
    name for name, model in catalogue().items() if model.serial is not None and model.serial.frame is not None
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Device:
    """The far end of a line."""

    def __init__(self) -> None:
        self._fd, self._line = os.openpty()
        tty.setraw(self._line)
        os.set_blocking(self._fd, False)
        self.port = os.ttyname(self._line)

    def say(self, data: bytes) -> None:
        os.write(self._fd, data)

    def heard(self) -> bytes:
        try:
            return os.read(self._fd, 4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._line)


@contextmanager
def device() -> Iterator[Device]:
    made = Device()
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def linked(port: str, model: str) -> AsyncIterator[tuple[Recorder, SerialLink]]:
    recorder = Recorder()
    attached = Attached("it", catalogue()[model], "")
    link = SerialLink("tty", port, attached, recorder, now_ms, backoff=Backoff(first_s=0.02, most_s=0.1))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        while link._fd is None:
            await asyncio.sleep(0.005)
        yield recorder, link
        running.cancel()


def test_there_are_some() -> None:
    assert {"plantower-pms5003", "winsen-mh-z19b", "benewake-tfmini", "omnipresense-ops243-a"} <= set(FRAMED)


@pytest.mark.parametrize("model", FRAMED)
async def test_every_model_is_read_within_garbage(model: str) -> None:
    noise = random.Random(3)
    (example, *_) = catalogue()[model].examples
    raw = bytes.fromhex(example.raw)
    with device() as far:
        async with linked(far.port, model) as (recorder, _):
            for _ in range(5):
                far.say(bytes(noise.choices(range(0x80, 0x100), k=noise.randrange(40))))
                far.say(b"\r\n" + raw)
            await recorder.until(lambda: len(recorder.good("it", example.metric)) >= 5)
            assert {each.value for each in recorder.good("it", example.metric)} == {example.value}
            assert recorder.counts["garbage_bytes", "it"] + recorder.counts["decode_errors", "it"] > 0


async def test_a_damaged_frame_is_counted_and_gives_nothing() -> None:
    with device() as far:
        async with linked(far.port, "benewake-tfmini") as (recorder, _):
            far.say(bytes.fromhex("59592c02e8030000ca"))
            await recorder.until(lambda: recorder.counts["checksum_errors", "it"])
            assert recorder.readings == []


async def test_a_device_that_speaks_when_asked_is_asked_and_does_what_it_is_told() -> None:
    model = catalogue()["winsen-mh-z19b"]
    with device() as far:
        async with linked(far.port, "winsen-mh-z19b") as (recorder, link):
            heard = b""
            while len(heard) < 9:
                await asyncio.sleep(0.01)
                heard += far.heard()
            assert heard == bytes.fromhex("FF0186000000000079")
            far.say(bytes.fromhex("ff86026047000000d1"))
            await recorder.until(lambda: recorder.good("it", "co2"))
            command = model.commands["self_calibration"]
            assert await link.act("it", command, 160) is None
            # the manual prints FF 01 79 A0 00 00 00 00 E6 for "on"
            assert far.heard() == bytes.fromhex("FF0179A000000000E6")
            for value in (256, -1, "x", 1.5, None):
                with pytest.raises(ActionRefused):
                    await link.act("it", command, value)
            assert far.heard() == b""


async def test_a_command_waits_for_its_answer() -> None:
    model = catalogue()["winsen-mh-z19b"]
    assert model.serial is not None
    assert model.serial.frame is not None
    name = {"en": "x", "zh": "x"}
    command = Command.model_validate({"name": name, "frame": "FF 01 99 {value:uint16} 00 00 00", "answer": "FF 86 99"})
    answer = with_check(model.serial.frame.format, bytes.fromhex("FF86990000000000"))
    with device() as far:
        async with linked(far.port, "winsen-mh-z19b") as (recorder, link):
            acting = asyncio.create_task(link.act("it", command, 2000))
            while b"\xff\x01\x99\x07\xd0" not in far.heard():
                await asyncio.sleep(0.01)
            far.say(answer)
            assert await acting is None
            assert recorder.readings == []
            with pytest.raises(ActionFailed, match="no answer within"):
                await link.act("it", command, 2000)


async def test_a_command_does_not_collide_with_the_answer_to_a_request() -> None:
    model = catalogue()["winsen-mh-z19b"]
    with device() as far:
        async with linked(far.port, "winsen-mh-z19b") as (recorder, link):
            while not far.heard():
                await asyncio.sleep(0.005)
            acting = asyncio.create_task(link.act("it", model.commands["self_calibration"], 160))
            await asyncio.sleep(0.1)
            assert far.heard() == b"", "the device has not answered yet"
            far.say(bytes.fromhex("ff86026047000000d1"))
            await acting
            assert far.heard() == bytes.fromhex("FF0179A000000000E6")
            assert recorder.good("it", "co2")


async def test_a_device_that_is_asked_rarely_is_not_gone_between_two_answers() -> None:
    model = catalogue()["winsen-mh-z19b"]
    assert model.serial
    quick = model.model_copy(update={"serial": model.serial.model_copy(update={"period_ms": 200, "silence_ms": 200})})
    with device() as far:
        recorder = Recorder()
        link = SerialLink("tty", far.port, Attached("it", quick, ""), recorder, now_ms)
        running = asyncio.create_task(link.run())
        for _ in range(6):
            while not far.heard():
                await asyncio.sleep(0.005)
            far.say(bytes.fromhex("ff86026047000000d1"))
        assert recorder.states_of("it") == ["online"]
        await recorder.until(lambda: recorder.states_of("it")[-1] == "offline")  # two requests without an answer
        running.cancel()
        await asyncio.wait((running,))


async def test_a_device_that_speaks_when_it_has_something_to_say_is_never_gone() -> None:
    radar = catalogue()["omnipresense-ops243-a"]
    assert radar.serial
    assert radar.serial.silence_s == 0
    with device() as far:
        async with linked(far.port, "omnipresense-ops243-a") as (recorder, _):
            assert recorder.states_of("it") == ["waiting"]
            far.say(b"\r\n-3.5\r\n")
            await recorder.until(lambda: recorder.good("it", "speed"))
            assert recorder.states_of("it") == ["waiting", "online"]


@pytest.mark.parametrize("model", FRAMED)
def test_any_bytes_are_taken_or_counted(model: str) -> None:
    declared = catalogue()[model]
    assert declared.serial
    assert declared.serial.frame
    frame = declared.serial.frame
    held = max(frame.length, frame.most)  # at most so many bytes of a frame that is not whole yet

    @given(st.lists(st.binary(max_size=80), max_size=8))
    def check(chunks: list[bytes]) -> None:
        talk = talk_of(declared)
        found = [each for chunk in chunks for each in talk.feed(chunk)]
        for _, readings in found:
            for each in readings:
                metric = declared.metrics[each.metric]
                assert (each.value is None) == (each.quality >= BAD)
                assert each.value is None or metric.takes(each.value)
        taken = sum(len(raw) for raw, _ in found)
        unaccounted = sum(map(len, chunks)) - taken - talk.counts["garbage_bytes"]
        assert 0 <= unaccounted <= held + 32 * talk.counts["decode_errors"]

    check()


def test_a_line_of_another_kind_is_refused() -> None:
    talk = talk_of(catalogue()["omnipresense-ops243-a"])
    assert talk.feed(b"\r\n") == []
    assert [[each.value for each in readings] for _, readings in talk.feed(b"-3.5\r\n")] == [[-3.5]]
    assert talk.feed(b'{"OutputFeature":"@"}\r\n') == []
    assert talk.counts["decode_errors"] == 1
