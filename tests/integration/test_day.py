"""The bench of a day without a line, at a few minutes: all of it arrives, within the bounds on disk and on the wire."""

import asyncio
import shutil
import time

import pytest

from bench.day import Day
from bench.parts.day.card import Cost
from bench.parts.day.fast_loop import FastLoop


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.timeout(180)
def test_what_was_written_without_a_line_arrives(tmp_path):
    said = Day(tmp_path, card_hours=0.01).run(0.1, receiver=False)
    assert said["readings"] == 36_000
    assert said["missing"] == said["duplicates"] == 0
    assert said["bytes_per_reading_wire"] <= 8
    assert said["fsyncs_per_million"] >= 10_000  # a commit a second, each written through
    assert None not in (said["live_p99_ms"], said["urgent_p99_ms"])


def test_a_card_lasts_longer_the_less_is_written_and_the_slower():
    card = Cost(syncs=10_000, mb_written=100)
    assert card.years(100) == pytest.approx(2 * card.years(200))
    assert card._replace(syncs=20_000).years(100) < card.years(100) < card._replace(mb_written=50).years(100)


def test_time_passes_at_once_but_waits_for_threads():
    async def wait() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(86_400)
        after_a_day = loop.time()
        await asyncio.to_thread(time.sleep, 0.05)
        return after_a_day, loop.time()

    started = time.monotonic()
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        assert runner.run(wait()) == (86_400, 86_400)
    assert 0.05 <= time.monotonic() - started < 60
