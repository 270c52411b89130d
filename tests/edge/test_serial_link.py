"""The serial link on real pseudo-terminals, with the simulated GPS receiver in this process and in one of its own."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import islice
from pathlib import Path

import pytest

from edge.errors import DeviceError
from edge.links.backoff import Backoff
from edge.links.base import Attached
from edge.links.nmea_lines import NmeaLines
from edge.links.serial import SerialLink
from hardware.catalogue import catalogue
from hardware.sim.gps import Port, bursts
from protocols.nmea import TOLERATED_LENGTH
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, GOOD, to_float
from tests.edge.recorder import Recorder

NEO_M8 = catalogue()["u-blox-neo-m8"]
METRICS = set(NEO_M8.metrics)
# Published: 48 deg 07.038' N, 11 deg 31.000' E, 22.4 kn, course 84.4; 545.4 m, 8 satellites, HDOP 0.9
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
GGA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
VALUES = {
    "latitude": 48 + 7.038 / 60,
    "longitude": 11 + 31 / 60,
    "speed": 11.52,  # 22.4 x 1852 / 3600 to one place more than the knots have
    "course": 84.4,
    "altitude": 545.4,
    "satellites": 8,
    "hdop": 0.9,
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def with_checksum(body: str) -> bytes:
    """A sentence by the standard's rule: the exclusive or of all characters between $ and *."""
    value = 0
    for char in body.encode():
        value ^= char
    return f"${body}*{value:02X}\r\n".encode()


NO_FIX = with_checksum("GPRMC,123520,V,,,,,,,230394,,")


@asynccontextmanager
async def linked(path: Path, *, silence_s: float = 5.0) -> AsyncIterator[Recorder]:
    """A running link; leaving cancels it, and a link that swallows its cancellation hangs here."""
    recorder = Recorder()
    link = SerialLink(
        "tty",
        str(path),
        Attached("gps", NEO_M8, ""),
        recorder,
        now_ms,
        silence_s=silence_s,
        backoff=Backoff(first_s=0.02, most_s=0.1),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        yield recorder
        running.cancel()
    assert running.cancelled()


@asynccontextmanager
async def receiver(path: Path, *options: str) -> AsyncIterator[None]:
    """The simulated receiver as a process; killed without warning at the end, which leaves its name behind."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.gps", "--link", str(path), *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline(), "the receiver did not start"
        yield
    finally:
        process.kill()
        await process.communicate()


async def opened(port: Port, recorder: Recorder) -> None:
    """Wait until the link listens: opening throws away what was said before, so it is said until it is heard.

    When this returns nothing is under way and the recorder holds no reading.
    """
    async with asyncio.timeout(5):
        while not recorder.states:
            port.write(RMC)
            await asyncio.sleep(0.02)
    port.write(GGA)
    await recorder.until(lambda: recorder.of("gps", "hdop"))
    del recorder.readings[:]


async def test_each_metric_comes_from_its_sentence(tmp_path: Path) -> None:
    with closing(Port(tmp_path / "gps")) as port:
        async with linked(port.link) as recorder:
            await opened(port, recorder)
            before = now_ms()
            port.write(RMC + GGA)
            await recorder.until(lambda: recorder.of("gps", "hdop"))
            last = {each.metric: each for _, each in recorder.readings}
            assert {name: to_float(each.value) for name, each in last.items()} == pytest.approx(VALUES, abs=1e-5)
            assert all(each.unit == NEO_M8.metrics[name].unit for name, each in last.items())
            assert all(each.quality == GOOD and before <= each.time_ms <= now_ms() for each in last.values())
            assert Counter(each.metric for _, each in recorder.readings)["altitude"] == 1
            assert recorder.states == [("gps", "online", "")]


async def test_damage_is_counted_and_no_wrong_value_taken(tmp_path: Path) -> None:
    said = list(islice(bursts(7, now_ms), 60))
    with closing(Port(tmp_path / "gps")) as port:
        async with linked(port.link) as recorder:
            await opened(port, recorder)
            for number, burst in enumerate(said, 1):
                port.write(burst)
                await recorder.until(lambda number=number: len(recorder.of("gps", "hdop")) == number)
            assert len(recorder.of("gps", "latitude")) == 60, "each true sentence is heard, whatever came before it"
            # the block is 120 m by 180 m from its south-west corner, and a fix is off by less than 3 m
            assert all(31.22217 < to_float(each.value) < 31.22331 for each in recorder.of("gps", "latitude"))
            assert all(121.45807 < to_float(each.value) < 121.46002 for each in recorder.of("gps", "longitude"))
            assert not recorder.bad("gps")
            wrong = sum(b",71" in burst for burst in said)
            assert recorder.counts["checksum_errors", "gps"] == wrong > 0
            cut = sum(burst.startswith(b"$GN") and burst.count(b"$") == 3 and b",71" not in burst for burst in said)
            assert recorder.counts["cut_sentences", "gps"] >= cut > 0
            assert recorder.counts["garbage_bytes", "gps"] > 0


async def test_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    path = tmp_path / "gps"
    async with linked(path) as recorder:
        await recorder.until(lambda: recorder.states)
        assert recorder.states[0][:2] == ("gps", "offline")
        assert str(path) in recorder.states[0][2]
        async with receiver(path, "--period", "0.2"):
            await recorder.until(lambda: len(recorder.good("gps", "altitude")) >= 3)
        unplugged_ms = now_ms()
        await recorder.until(lambda: len(recorder.states) >= 3)
        await recorder.until(
            lambda failures=recorder.counts["port_failures", "gps"]: (
                recorder.counts["port_failures", "gps"] >= failures + 3
            )
        )
        bad = recorder.bad("gps")
        assert Counter(each.metric for each in bad) == dict.fromkeys(METRICS, 2), "once before, once after"
        assert {(each.value, each.quality) for each in bad} == {(None, BAD_TIMEOUT)}
        heard = len(recorder.good("gps", "altitude"))
        async with receiver(path, "--period", "0.2", "--seed", "2"):
            await recorder.until(lambda: len(recorder.good("gps", "altitude")) >= heard + 2)
        assert recorder.states_of("gps")[:4] == ["offline", "online", "offline", "online"]
        assert all(each.time_ms <= unplugged_ms for each in recorder.good("gps", "altitude")[:heard])


async def test_a_lost_fix_is_told_once(tmp_path: Path) -> None:
    with closing(Port(tmp_path / "gps")) as port:
        async with linked(port.link) as recorder:
            await opened(port, recorder)
            port.write(GGA + NO_FIX * 3 + GGA)
            await recorder.until(lambda: len(recorder.of("gps", "hdop")) == 2)
            bad = recorder.bad("gps")
            assert sorted(each.metric for each in bad) == ["course", "latitude", "longitude", "speed"]
            assert {(each.value, each.quality) for each in bad} == {(None, BAD_INVALID)}
            port.write(RMC + NO_FIX + GGA)
            await recorder.until(lambda: len(recorder.of("gps", "hdop")) == 3)
            assert [each.quality for each in recorder.of("gps", "latitude")] == [BAD_INVALID, GOOD, BAD_INVALID]
            assert recorder.states == [("gps", "online", "")], "a receiver without a fix is not offline"


async def test_a_receiver_that_falls_silent_is_offline(tmp_path: Path) -> None:
    with closing(Port(tmp_path / "gps")) as port:
        async with linked(port.link, silence_s=0.2) as recorder:
            await opened(port, recorder)
            await recorder.until(lambda: "offline" in recorder.states_of("gps"))
            assert recorder.states[-1] == ("gps", "offline", "no sentence or frame for 0.2 s")
            assert Counter(each.metric for each in recorder.bad("gps")) == dict.fromkeys(METRICS, 1)
            port.write(RMC)
            await recorder.until(lambda: recorder.states[-1][1] == "online")


async def test_noise_alone_does_not_pass_for_a_receiver(tmp_path: Path) -> None:
    with closing(Port(tmp_path / "gps")) as port:
        async with linked(port.link, silence_s=0.2) as recorder:
            async with asyncio.timeout(5):
                while not recorder.states:
                    port.write(b"\xff\x00$GPXX,\x81\r\n" + RMC.replace(b"*6A", b"*6B"))
                    await asyncio.sleep(0.02)
            assert recorder.states_of("gps") == ["offline"]
            assert recorder.counts["decode_errors", "gps"] > 0
            assert recorder.counts["checksum_errors", "gps"] > 0


async def test_what_was_said_before_the_port_was_opened_is_not_taken_for_new(tmp_path: Path) -> None:
    with closing(Port(tmp_path / "gps")) as port:
        for _ in range(100):  # more than the port holds; must not block while nobody reads
            port.write(RMC)
        async with linked(port.link) as recorder:
            async with asyncio.timeout(5):
                while not recorder.states:
                    port.write(GGA)
                    await asyncio.sleep(0.02)
            assert not recorder.of("gps", "latitude")


def test_refuses_a_model_without_a_serial_port() -> None:
    with pytest.raises(DeviceError, match="eastron-sdm120 is no serial model"):
        SerialLink("tty", "/dev/null", Attached("gps", catalogue()["eastron-sdm120"], ""), Recorder(), now_ms)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_framing_does_not_depend_on_how_the_bytes_are_cut(size: int) -> None:
    stream = b"\x00junk" + RMC + RMC[:20] + GGA + b"$" + b"A" * 300 + b"\r\n" + RMC
    lines = NmeaLines()
    sentences = [line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])]
    assert sentences == [RMC.strip(), GGA.strip(), RMC.strip()]
    assert lines.counts["cut_sentences"] == 1
    assert lines.counts["overlong"] == 1
    assert lines.counts["garbage_bytes"] == len(b"\x00junk") + 301 - TOLERATED_LENGTH - 1
