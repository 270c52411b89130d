"""kill -9 at a small count: each program and part once, two at once, and a few at random."""

import asyncio

import pytest

from bench.faults import measure
from bench.parts.campaign import campaign
from bench.parts.lab import EVERYTHING
from hub.store.querying import Querying


@pytest.mark.timeout(180)
async def test_every_reading_is_stored_once_whoever_is_killed() -> None:
    async with campaign(seed=1) as under:
        await under.recovered()
        for victims in (*((name,) for name in EVERYTHING), ("hub", "gateway")):
            for name in victims:
                while not under.kill(name):  # its program was killed before, and has not started it yet
                    await asyncio.sleep(0.05)
            await under.recovered()
            accounts = await asyncio.to_thread(Querying(under.lab.hub_data).accounts)
            assert [account.balanced for account in accounts] == [True]  # and nobody is accused of a loss
    assert under.result["missing"] == under.result["duplicates"] == under.result["declared_lost"] == 0
    assert under.result["suppressed"] > 0


@pytest.mark.timeout(180)
def test_kills_at_random_moments() -> None:
    result = measure("kill", 8, seed=4)
    assert sum(result["kills"].values()) >= 8
    assert result["missing"] == result["duplicates"] == 0
