"""The detector on real recordings: through model, bus and driver on real MicroPython, against heartpy's own result."""

from pathlib import Path
from statistics import mean

import pytest

from bench.parts.pulse_check import HEAP, Reference, Second, replay
from firmware.apps.pulse import PulseMeter
from hardware.sim import pulses
from protocols.reading import BAD_INVALID, GOOD, UNCERTAIN

CLOSE_BPM = 2  # of heartpy: the device's promise
Run = tuple[list[Second], dict[str, int]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """All recordings, each whole, in one process of MicroPython with the heap of a small board."""
    directory = tmp_path_factory.mktemp("pulses")
    files = [directory / f"pulse{number}" for number in range(pulses.RECORDINGS)]
    for number, file in enumerate(files):
        pulses.write(number, file)
    return replay([{"path": str(file)} for file in files], heap=HEAP)


def differences(run: Run, number: int) -> list[float]:
    """How far each good rate is from heartpy's, where heartpy rejected no beat."""
    reference = Reference(*pulses.load(number))
    found = []
    for tenths, quality, _, begin_ms, end_ms, *_ in run[0]:
        expected = reference.rate(begin_ms, end_ms)
        if tenths is not None and quality == GOOD and expected and expected[1] == 0:
            found.append(abs(tenths / 10 - expected[0]))
    return found


@pytest.mark.parametrize(("number", "compared"), [(0, 10), (1, 50), (2, 480)])
def test_good_rates_are_heartpys(runs: list[Run], number: int, compared: int) -> None:
    found = differences(runs[number], number)
    assert len(found) >= compared
    assert mean(found) < 0.5
    assert sum(difference <= CLOSE_BPM for difference in found) >= 0.95 * len(found)


@pytest.mark.parametrize(("number", "share"), [(0, 0.7), (1, 0.6), (2, 0.95)])
def test_a_rate_is_given_most_of_the_time(runs: list[Run], number: int, share: float) -> None:
    published = runs[number][0]
    assert sum(second[0] is not None for second in published) >= share * len(published)


@pytest.mark.parametrize("number", range(pulses.RECORDINGS))
def test_nothing_is_lost_between_chip_and_detector(runs: list[Run], number: int) -> None:
    assert runs[number][1]["lost"] == 0


@pytest.mark.parametrize("number", range(pulses.RECORDINGS))
def test_quality_and_value_agree(runs: list[Run], number: int) -> None:
    for tenths, quality, percent, *_ in runs[number][0]:
        assert (tenths is None) == (quality == BAD_INVALID)
        assert quality in (GOOD, UNCERTAIN, BAD_INVALID)
        assert 0 <= percent <= 100
        assert (quality == GOOD) == (percent >= 80)


def test_no_rate_is_made_up_while_the_sensor_lies_about(runs: list[Run]) -> None:
    """In the second recording the first forty seconds are no pulse: flat, then knocked about, then at the rail."""
    assert {second[0] for second in runs[1][0][:34]} == {None}


def test_the_detector_is_small(runs: list[Run]) -> None:
    assert all(counts["heap"] < 20_000 for _, counts in runs)


def test_noise_and_an_empty_strap_give_no_rate(tmp_path: Path) -> None:
    samples, samples_per_s = pulses.load(0)
    pulses.write_samples([512] * len(samples), samples_per_s, tmp_path / "flat")
    pulses.write(0, tmp_path / "pulse")
    found = replay(
        [{"path": str(tmp_path / "flat"), "noise": 300}, {"path": str(tmp_path / "pulse"), "worn": False, "noise": 30}]
    )
    assert [{second[0] for second in seconds} for seconds, _ in found] == [{None}, {None}]


def test_intervals_for_others_are_those_of_the_rate() -> None:
    meter = meter_after(beats(80, 15))
    assert meter.intervals_1024(3) == [pytest.approx(819, abs=2)] * 3
    assert meter.intervals_1024(0) == []
    begin, end = meter.span_16()
    assert end - begin == pytest.approx(8 * 800 * 16, abs=16)


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
