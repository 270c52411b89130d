"""The satellite receiver: its lines in any pieces, with the damage of a long cable; and with a scale on MicroPython."""

import asyncio
import json
import re
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.drivers.gps import Gps
from firmware.errors import DriverError
from hardware.sim.device import ROOT
from hardware.sim.gps import Fix, bursts, fix_at, sentences_of
from protocols.nmea import sentence
from protocols.reading import BAD_INVALID, GOOD, to_float
from runtime.process import die_with_parent
from tests.firmware.test_device_process import gateway, wearable

WANTED = [("latitude", -7), ("longitude", -7), ("altitude", -1), ("satellites", 0)]
NOW_MS = 1_795_000_000_000


class Bench:
    """A driver whose clock the test moves."""

    def __init__(self) -> None:
        self.now_ms = 1
        self.gps = Gps(None, SimpleNamespace(monotonic_ms=lambda: self.now_ms), WANTED)  # type: ignore[arg-type]


def expected(fix: Fix) -> tuple[int, ...]:
    return (
        round(fix.latitude * 10**7),
        round(fix.longitude * 10**7),
        round(fix.altitude * 10),
        fix.satellites,
    )


@given(st.integers(0, 400), st.lists(st.integers(1, 60), max_size=20))
def test_a_fix_in_any_pieces(seconds: int, cuts: list[int]) -> None:
    fix = fix_at(seconds, Random(seconds))
    bench = Bench()
    data = b"".join(sentences_of(fix, NOW_MS))
    for cut in cuts:
        bench.gps.feed(data[:cut])
        data = data[cut:]
    bench.gps.feed(data)
    assert bench.gps.damaged == 0
    assert bench.gps.read() == pytest.approx(expected(fix), abs=2)  # minutes have six places


def test_damage_costs_the_damaged_lines_alone() -> None:
    """Two hundred seconds of a bad cable: what checks is read, and the position is never far from the truth."""
    bench, clean = Bench(), Bench()
    random, seconds = Random(7), 0.0
    for burst, _ in zip(bursts(7, lambda: NOW_MS), range(200), strict=False):
        bench.gps.feed(burst)
        fix = fix_at(seconds, random)
        clean.gps.feed(b"".join(sentences_of(fix, NOW_MS)))
        seconds += 1.0
        latitude, longitude, _, satellites = bench.gps.read()
        assert latitude is not None
        assert longitude is not None
        assert abs(latitude - 312_222_000) < 20_000
        assert abs(longitude - 1_214_581_000) < 25_000
        assert 8 <= (satellites or 0) <= 12
    assert bench.gps.damaged > 10
    assert clean.gps.damaged == 0


def test_without_a_fix_there_is_no_position() -> None:
    bench = Bench()
    bench.gps.feed(sentence("GPGGA,120000.00,,,,,0,03,,,M,,M,,").encode())
    assert bench.gps.read() == (None, None, None, 3)


def test_a_silent_receiver_and_one_that_talks_nonsense() -> None:
    bench = Bench()
    with pytest.raises(DriverError, match="gps: is silent"):
        bench.gps.read()
    bench.gps.feed(bytes(range(256)) * 40 + b"\n")
    with pytest.raises(DriverError, match="says nothing that checks"):
        bench.gps.read()
    assert bench.gps.damaged == 41
    bench.gps.feed(b"".join(sentences_of(fix_at(0, Random(1)), NOW_MS)))
    assert bench.gps.read()[0] is not None
    bench.now_ms += 5001
    with pytest.raises(DriverError, match="is silent"):
        bench.gps.read()


async def test_a_street_node_on_micropython(tmp_path: Path) -> None:
    """Position and weight, by real MicroPython on a Pico 2 W's wiring; the receiver is a process of its own."""
    port = tmp_path / "gps"
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.gps", "--link", str(port), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent,
    )  # fmt: skip
    assert receiver.stdout is not None
    await receiver.stdout.readline()
    world, settings = tmp_path / "world.json", tmp_path / "settings.json"
    scale = {"model": "hx711", "pins": {"clock": 2, "data": 3}, "with": {"counts": 8_400 + 420 * 715}}
    world.write_text(json.dumps({"terminals": {"1": str(port)}, "wired": [scale]}))
    settings.write_text(json.dumps({"period_s": 1, "scale": {"zero": 8_400, "counts_per_kg": 420_000}}))
    options = ["--board", "pico-2-w", "--world", str(world), "--settings", str(settings)]
    last: dict[str, Any] = {}

    def told() -> bool:
        for pack in sorted(playing.packs.values(), key=lambda pack: pack.readings[0].time_ms or 0):
            last.update({each.metric: each for each in pack.readings})
        return {"weight", "latitude", "longitude", "temperature"} <= {
            name for name, each in last.items() if each.value is not None
        }

    try:
        async with gateway(tmp_path) as (playing, broker), wearable(tmp_path, broker, *options):
            await playing.until(told)
    finally:
        receiver.kill()
        await receiver.wait()
    assert to_float(last["weight"].value) == 715.0
    assert to_float(last["latitude"].value) == pytest.approx(31.2222, abs=0.002)
    assert to_float(last["longitude"].value) == pytest.approx(121.4581, abs=0.0025)
    assert last["latitude"].quality == GOOD
    assert BAD_INVALID not in {each.quality for each in last.values()}
    assert not [birth for birth in playing.births if re.search("crash", str(birth))]
