"""The Modbus benchmark at a small count: blocks from response to receiver, and nothing missing after an outage."""

from pathlib import Path

from bench.modbus import Options, measure


async def test_nothing_is_missing_after_the_broker_was_gone(tmp_path: Path) -> None:
    said = await measure(tmp_path, Options(5, 20, period_s=0.1, seconds=6.0, warm_up_s=1.0, outage_s=2.0))
    assert said["missing"] == 0
    assert said["requests_per_cycle"] == 1.0
    assert said["points_per_s"] > 500  # half of what the raster gives
    assert said["p99_ms"] > 1000  # some of it did come late
