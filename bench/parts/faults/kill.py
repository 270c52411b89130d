"""kill -9 of gateway, hub, their brokers, ingest and web, one or two at once, at any moment: also while they start.

Bursts of kills at random distances, so that they meet every stage of starting and recovering; after each burst the load
goes on until all that was made has arrived, so that the next one meets a system at work.
"""

import asyncio
from collections import Counter
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
    kills: Counter[str] = Counter()
    async with campaign(seed) as under:
        await under.recovered()
        while kills.total() < count and not under.failed:
            until = min(count, kills.total() + under.chance.randint(1, _BURST))
            while kills.total() < until:
                kills.update(await stroke(under))
                await asyncio.sleep(under.chance.expovariate(1 / _MEAN_GAP_S))
            await under.recovered()
            say(f"{kills.total()} of {count} kills; {under.load.made()} made")
    return {**under.result, "kills": dict(kills)}


async def stroke(under: Campaign) -> list[str]:
    """Kill one or two at once; the names of those that were there to be killed."""
    strokes = 2 if under.chance.random() < _TWO_AT_ONCE else 1
    names = under.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=strokes)
    return [name for name in names if under.kill(name)]
