"""The detector on real recordings: through model, bus and driver on real MicroPython, against heartpy's own result."""

import json
import os
import subprocess
import warnings
from dataclasses import dataclass
from statistics import mean

import pytest

from firmware.apps.pulse import PulseMeter
from hardware.sim import pulses
from hardware.sim.device import ROOT, SHIMS, micropython
from protocols.reading import BAD_INVALID, GOOD, UNCERTAIN

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # heartpy still asks setuptools where its files are
    import heartpy

DATETIME = "%Y-%m-%d %H:%M:%S.%f"
BEST_BPM = 1.0  # what the detector reaches; the device's promise is 5


@dataclass(frozen=True)
class Run:
    """What the device would have published, second by second, and what it cost."""

    published: list[tuple[int | None, int, int]]
    beats: int
    lost: int
    heap: int


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """All recordings, each whole, in one process of MicroPython with the heap of a small board."""
    directory = tmp_path_factory.mktemp("pulses")
    files = [directory / f"pulse{number}" for number in range(pulses.RECORDINGS)]
    for number, file in enumerate(files):
        pulses.write(number, file)
    done = subprocess.run(
        [micropython(), "-X", "heapsize=190K", "tests/firmware/replay.py", *map(str, files)],
        cwd=ROOT,
        env={**os.environ, "MICROPYPATH": f"{ROOT}:{SHIMS}:.frozen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = []
    published: list[tuple[int | None, int, int]] = []
    for line in map(json.loads, done.stdout.splitlines()):
        if isinstance(line, list):
            published.append((line[0], line[1], line[2]))
        else:
            found.append(Run(published, line["beats"], line["lost"], line["heap"]))
            published = []
    return found


def heartpy_bpm(number: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples, timer = heartpy.load_exampledata(number)
        if number == 0:
            rate = 100.0
        elif number == 1:
            rate = heartpy.get_samplerate_mstimer(timer)
        else:
            rate = heartpy.get_samplerate_datetime(timer, timeformat=DATETIME)
        _, measures = heartpy.process(samples, rate)
    return float(measures["bpm"])


@pytest.mark.parametrize("number", range(pulses.RECORDINGS))
def test_the_mean_rate_is_heartpys(runs: list[Run], number: int) -> None:
    rates = [tenths / 10 for tenths, _, _ in runs[number].published if tenths is not None]
    assert mean(rates) == pytest.approx(heartpy_bpm(number), abs=BEST_BPM)


@pytest.mark.parametrize(("number", "share"), [(0, 0.7), (1, 0.6), (2, 0.95)])
def test_a_rate_is_given_most_of_the_time(runs: list[Run], number: int, share: float) -> None:
    given = [tenths for tenths, _, _ in runs[number].published if tenths is not None]
    assert len(given) >= share * len(runs[number].published)


@pytest.mark.parametrize("number", range(pulses.RECORDINGS))
def test_nothing_is_lost_between_chip_and_detector(runs: list[Run], number: int) -> None:
    assert runs[number].lost == 0


@pytest.mark.parametrize("number", range(pulses.RECORDINGS))
def test_quality_and_value_agree(runs: list[Run], number: int) -> None:
    for tenths, quality, percent in runs[number].published:
        assert (tenths is None) == (quality == BAD_INVALID)
        assert quality in (GOOD, UNCERTAIN, BAD_INVALID)
        assert 0 <= percent <= 100
        assert (quality == GOOD) == (percent >= 60)


def test_no_rate_is_made_up_while_the_sensor_lies_about(runs: list[Run]) -> None:
    """In the second recording the first forty seconds are no pulse: flat, then knocked about, then at the rail."""
    assert {tenths for tenths, _, _ in runs[1].published[:40]} == {None}


def test_the_detector_is_small(runs: list[Run]) -> None:
    assert all(run.heap < 20_000 for run in runs)


def meter_after(levels: list[int]) -> PulseMeter:
    meter = PulseMeter(samples_per_s=100)
    for level in levels:
        meter.feed(level)
    return meter


def beats(interval: int, count: int, *, height: int = 3000) -> list[int]:
    """Triangular pulses of 200 ms, one every `interval` samples."""
    one = [120000 - max(0, height * (10 - abs(place - 10)) // 10) for place in range(interval)]
    return one * count


def test_a_steady_pulse_gives_its_rate() -> None:
    rate, quality = meter_after(beats(80, 15)).rate()
    assert (rate, quality) == ((750, -1), GOOD)


@pytest.mark.parametrize(
    "levels",
    [
        pytest.param([120000] * 1000, id="steady light"),
        pytest.param([0] * 1000, id="no light"),
        pytest.param(beats(80, 15, height=50), id="too faint"),
        pytest.param([level // 20 for level in beats(80, 15)], id="no skin before the sensor"),
        pytest.param(beats(80, 15) + [120000] * 400, id="the pulse has ceased"),
    ],
)
def test_what_is_no_pulse_gives_no_rate(levels: list[int]) -> None:
    meter = meter_after(levels)
    assert meter.rate() == (None, BAD_INVALID)
    assert meter.signal_quality() == 0


def test_one_missed_beat_does_not_change_the_rate() -> None:
    levels = beats(80, 12) + [120000] * 80 + beats(80, 3)
    rate, quality = meter_after(levels).rate()
    assert rate is not None
    assert rate[0] == pytest.approx(750, abs=10)
    assert quality == GOOD


def test_lost_samples_make_no_interval() -> None:
    meter = meter_after(beats(80, 15))
    meter.lost(50)
    for level in beats(80, 15):
        meter.feed(level)
    assert meter.rate() == ((750, -1), GOOD)
