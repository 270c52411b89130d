"""SpO2 of simulated blood, through the chip's model and driver on real MicroPython."""

from itertools import pairwise
from pathlib import Path

import pytest

from bench.parts.pulse_check import replay
from firmware.apps import spo2
from hardware.sim import pulses
from hardware.sim.chips.max30102 import ratio_milli
from protocols.reading import BAD_INVALID, BAD_RANGE, GOOD

SETTLED_S = 14


@pytest.mark.parametrize("percent", range(70, 101))
def test_the_table_is_the_curve_of_the_application_note(percent: int) -> None:
    tenths = spo2._on_curve(ratio_milli(percent))
    assert tenths is not None
    assert tenths == pytest.approx(10 * percent, abs=1.5)


def test_the_table_falls_and_ends() -> None:
    values = [spo2._on_curve(ratio) for ratio in range(0, 1400, 7)]
    assert all(before >= after for before, after in pairwise(values) if before is not None and after is not None)
    assert spo2._on_curve(1400) is None


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pulse") / "pulse"
    pulses.write(0, path)
    return path


def test_saturation_is_that_of_the_blood(pulse: Path) -> None:
    """ISO 80601-2-61 allows a root mean square of 4 % to a device on people; here there is none but noise."""
    percents = (72, 80, 88, 94, 98, 100)
    runs = replay([{"path": str(pulse), "spo2": percent, "noise": 100} for percent in percents])
    for percent, (seconds, _) in zip(percents, runs, strict=True):
        good = [second[5] for second in seconds[SETTLED_S:] if second[6] == GOOD]
        assert len(good) >= 5
        assert all(tenths == pytest.approx(10 * percent, abs=10) for tenths in good)


@pytest.mark.parametrize(
    ("light", "quality"),
    [
        pytest.param({"worn": False}, BAD_INVALID, id="not worn"),
        pytest.param({"swing_ppm": 500}, BAD_INVALID, id="no perfusion"),
        pytest.param({"swing_ppm": 4000, "noise": 400}, BAD_INVALID, id="noise"),
        pytest.param({"spo2": 60}, BAD_RANGE, id="below the curve"),
    ],
)
def test_what_cannot_be_told_is_refused(pulse: Path, light: dict[str, object], quality: int) -> None:
    [(seconds, _)] = replay([{"path": str(pulse), **light}])
    assert {(second[5], second[6]) for second in seconds[SETTLED_S:]} == {(None, quality)}
