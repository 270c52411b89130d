"""Steps and falls on simulated wearers. What they are worth on people only people can show."""

import pytest

from bench.parts import fall_check
from firmware.apps import falls
from firmware.apps.falls import FallDetector
from firmware.apps.steps import StepCounter
from hardware.sim.chips.motion import ACTIVITIES, Motion

RATE = fall_check.SAMPLES_PER_S
SEEDS = range(12)
STANDING, LYING, WEIGHTLESS, IMPACT = (0, 0, 1000), (1000, 0, 0), (0, 0, 200), (3000, 0, 1500)
FALL = ((STANDING, 3000), (WEIGHTLESS, 300), (IMPACT, 60), (LYING, 3000))


@pytest.mark.parametrize("activity", ["walk", "run"])
def test_steps_are_counted(activity: str) -> None:
    assert max(fall_check.step_error_percent(activity, seed) for seed in SEEDS) < 6


@pytest.mark.parametrize("activity", ["still", "sit down hard", "sink"])
def test_what_is_no_walk_has_no_steps(activity: str) -> None:
    for seed in SEEDS:
        counter = StepCounter(samples_per_s=RATE)
        motion = Motion([(0, activity)], seed=seed)
        for number in range(60 * RATE):
            counter.feed(*motion.at(number * 20000))
        assert counter.steps == 0


@pytest.mark.parametrize("activity", ["fall forward", "fall backward", "fall sideways"])
def test_falls_are_noticed(activity: str) -> None:
    assert sum(fall_check.is_fall_noticed(activity, seed) for seed in SEEDS) >= 0.8 * len(SEEDS)


@pytest.mark.parametrize("activity", ["still", "walk", "run", "stumble", "clap", "drop", "fall and rise"])
def test_what_is_no_fall_is_none(activity: str) -> None:
    assert activity in ACTIVITIES
    assert not any(fall_check.is_fall_noticed(activity, seed) for seed in SEEDS)


def after(*parts: tuple[tuple[int, int, int], int], worn: bool = True) -> FallDetector:
    """A detector that has seen these samples, each for so many milliseconds."""
    detector = FallDetector(samples_per_s=RATE)
    for sample, milliseconds in parts:
        for _ in range(milliseconds * RATE // 1000):
            detector.feed(sample, worn=worn)
    return detector


def test_a_fall_is_suspected_first_and_then_certain() -> None:
    assert after(*FALL).state == falls.SUSPECTED
    assert after(*FALL, (LYING, 21000)).state == falls.FALLEN


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(((STANDING, 3000), (IMPACT, 60), (LYING, 5000)), id="nothing gave way"),
        pytest.param(((STANDING, 3000), (WEIGHTLESS, 300), (LYING, 5000)), id="no impact"),
        pytest.param(((STANDING, 3000), (WEIGHTLESS, 300), (STANDING, 700), *FALL[2:]), id="too late"),
        pytest.param(((STANDING, 3000), (WEIGHTLESS, 300), (IMPACT, 60), (STANDING, 5000)), id="not turned"),
        pytest.param(
            ((STANDING, 3000), (WEIGHTLESS, 300), (IMPACT, 60), *((LYING, 1000), (STANDING, 1000)) * 8), id="not still"
        ),
    ],
)
def test_each_part_of_a_fall_is_needed(parts: tuple[tuple[tuple[int, int, int], int], ...]) -> None:
    assert after(*parts).state < falls.SUSPECTED


def test_a_device_that_nobody_wears_falls_unnoticed() -> None:
    assert after(*FALL, worn=False).state < falls.SUSPECTED


def test_the_wearer_may_cancel_before_and_after() -> None:
    for parts in (FALL, (*FALL, (LYING, 21000))):
        detector = after(*parts)
        assert detector.cancel()
        assert detector.state == falls.WATCHING
        assert not detector.cancel()


def test_lost_samples_end_a_watch_but_no_suspicion() -> None:
    detector = after((STANDING, 3000), (WEIGHTLESS, 300))
    detector.lost()
    assert detector.state == falls.WATCHING
    suspecting = after(*FALL)
    suspecting.lost()
    assert suspecting.state == falls.SUSPECTED
