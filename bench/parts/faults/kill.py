"""kill -9 of gateway, hub, their brokers, ingest and web, one or two at once, at any moment: also while they start.

Bursts of kills at random distances, so that they meet every stage of starting and recovering; after each burst the load
goes on until all that was made has arrived, so that the next one meets a system at work.
"""

import asyncio
from typing import Any

from bench.parts.campaign import Campaign, campaign, say
from bench.parts.lab import EVERYTHING

_BURST = 20  # kills at most
_MEAN_GAP_S = 0.7
_TWO_AT_ONCE = 0.15  # of all strokes
# A web process takes longest to start and holds no reading; the others are killed as often as one another.
_WEIGHTS = {name: 0.2 if name == "web" else 1.0 for name in EVERYTHING}


def run(count: int, seed: int) -> dict[str, Any]:
    """So many kills; also says how many each program and part took."""
    return asyncio.run(_run(count, seed))


async def _run(count: int, seed: int) -> dict[str, Any]:
    kills = dict.fromkeys(EVERYTHING, 0)
    async with campaign(seed) as under:
        await under.recovered()
        while sum(kills.values()) < count and not under.failed:
            await _burst(under, kills, count)
            await under.recovered()
            say(f"{sum(kills.values())} of {count} kills; {sum(device.made for device in under.load.devices)} made")
    return {**under.result, "kills": kills}


async def _burst(under: Campaign, kills: dict[str, int], count: int) -> None:
    until = min(count, sum(kills.values()) + under.chance.randint(1, _BURST))
    while sum(kills.values()) < until:
        strokes = 2 if under.chance.random() < _TWO_AT_ONCE else 1
        for name in under.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=strokes):
            kills[name] += under.kill(name)
        await asyncio.sleep(under.chance.expovariate(1 / _MEAN_GAP_S))
