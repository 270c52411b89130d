"""From a reading that is made to its alarm in the event feed of a real hub, by way of broker, ingest and store.

Fields: `alarms` (raised, and heard), `missing`, `p50_ms`, `p99_ms`, `max_ms`; `clients` that listened all the while.
"""

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from hub.store.writing import now_ms
from protocols.reading import reading
from runtime.process import free_port
from tests.hub.conftest import end_hub, start_hub
from tests.hub.gateway import Gateway, body
from tests.hub.test_feed import Told, listening, next_of
from tests.hub.test_notify import RULES


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="kerb bench feed", description=__doc__)
    parser.add_argument("--alarms", type=int, default=200)
    parser.add_argument("--clients", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(_measure(Path(folder) / "hub", options.alarms, options.clients))))


async def _measure(data: Path, alarms: int, clients: int) -> dict[str, float]:
    port, mqtt_port = free_port(), free_port()
    (data / "rules").mkdir(parents=True)
    (data / "rules" / "own.toml").write_text(RULES, encoding="utf-8")
    process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
    try:
        gateway = Gateway(data, mqtt_port)
        running = asyncio.create_task(gateway.run())
        async with AsyncExitStack() as stack:
            feeds = [
                await stack.enter_async_context(listening(f"http://127.0.0.1:{port}", "wearable-1"))
                for _ in range(clients)
            ]
            await next_of(feeds[0], "begin")
            took = [await _one(gateway, feeds[0]) for _ in range(alarms)]
        running.cancel()
        await asyncio.wait((running,))
    finally:
        await asyncio.to_thread(end_hub, process)
    found = sorted(each for each in took if each is not None)
    return {
        "alarms": alarms,
        "missing": alarms - len(found),
        "p50_ms": found[len(found) // 2],
        "p99_ms": found[len(found) * 99 // 100],
        "max_ms": found[-1],
        "clients": clients,
    }


async def _one(gateway: Gateway, feed: AsyncIterator[Told]) -> int | None:
    """Milliseconds for an alarm; then it is over."""
    took = None
    for value, state in ((130, "active"), (80, "cleared")):
        await asyncio.sleep(random.uniform(0, 0.2))  # not in step with what looks at intervals
        made_ms = now_ms()
        gateway.put(body([("wearable-1", reading("heart_rate", value, "/min", time_ms=made_ms))]))
        while (told := await next_of(feed, "alarm")).data["state"] != state:
            pass
        if state == "active" and told.data["onset_ms"] == made_ms:
            took = now_ms() - made_ms
    return took


if __name__ == "__main__":
    main()
