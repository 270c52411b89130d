"""Slopes of memory and of file handles, also over the lives of a process that is killed again and again."""

import asyncio
import os
import sys

import pytest

from bench.parts.growth import Growth, open_files, rss_mb, slope

EATER = """
import sys
held = []
for line in sys.stdin:
    held += [b"x" * (8 << 20), open(sys.argv[1])]
    print(flush=True)
"""


def test_a_slope_is_the_rise_an_hour_and_each_life_has_its_own_level() -> None:
    assert slope([[(0, 10), (1800, 11), (3600, 12)]]) == 2
    assert slope([[(0, 10), (3600, 12)], [(0, 50), (3600, 52)]]) == 2
    assert slope([[(0, 10), (3600, 10)], [(0, 99), (3600, 99)]]) == 0
    assert slope([]) is None
    assert slope([[(5, 10)], [(7, 20)]]) is None  # no life is long enough


async def test_a_process_that_takes_memory_and_opens_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.parts.growth._WARM_UP_S", 0.0)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", EATER, __file__, stdin=-1, stdout=-1)
    assert process.stdin
    assert process.stdout
    growth = Growth(lambda: {"eater": process.pid, "gone": None})
    for _ in range(5):
        process.stdin.write(b"\n")
        await process.stdout.readline()
        growth.look()
    process.stdin.close()
    await process.wait()
    growth.look()  # it has ended: nothing is seen, nothing is raised
    (life,) = growth.lives["eater"].values()
    assert [sample.fds - life[0].fds for sample in life] == [0, 1, 2, 3, 4]
    assert life[-1].rss_mb - life[0].rss_mb == pytest.approx(32, abs=4)
    assert (growth.slopes("fds")["eater"] or 0) > 0
    assert rss_mb(os.getpid()) > 1
    assert open_files(os.getpid()) > 2
