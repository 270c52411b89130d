"""The gateway's wall clock at a small count: an hour forth and back, drift, a start in 1970, and a kill in it."""

import pytest

from bench.faults import is_right, measure


@pytest.mark.timeout(180)
def test_whatever_is_done_to_the_wall_clock() -> None:
    result = measure("clock", 5, seed=1)
    assert is_right(result)
    assert result["marked"] > 20
    assert result["declared_lost"] == 0
