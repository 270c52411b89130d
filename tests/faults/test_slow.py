"""A slow hub at a small count, and all kinds of faults in turn for a moment."""

import pytest

from bench.faults import is_right, measure
from bench.parts.lab import EVERYTHING
from bench.soak import soak


@pytest.mark.timeout(180)
def test_a_hub_at_a_tenth_and_at_a_hundredth_of_its_speed() -> None:
    result = measure("slow", 20, seed=1)
    assert is_right(result)
    assert result["declared_lost"] == 0
    assert result["backlog"][1] > 1000  # it could not keep up


@pytest.mark.timeout(240)
async def test_a_moment_of_everything() -> None:
    result = await soak(20 / 3600, seed=2, quiet_s=1.0)
    assert is_right(result)
    assert sum(result["faults"].values()) >= 1
    assert result["fds_per_hour"].keys() == set(EVERYTHING)
