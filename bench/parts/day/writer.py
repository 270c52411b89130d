"""A gateway without a line, at full speed: its real pipeline and outbox, and time that passes as fast as they can.

A process of its own: `python -m bench.parts.day.writer CONFIG HOURS`; it prints `readings` and `seconds` as JSON. Its
devices are the Modbus ones of the config, polled once a second, one after another; no two values are alike, so that no
compressor can make anything of them.
"""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from bench.parts.day.fast_loop import FastLoop
from edge.config import load_config
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline

_AGO_S = 60.0  # when the day ended
_JITTER_MS = 5


async def write(config_path: Path, hours: float) -> int:
    """So many hours of readings, the last of them just made. Returns how many they are."""
    config = load_config(config_path)
    loop = asyncio.get_running_loop()
    begin_ms = int((time.time() - _AGO_S - hours * 3600) * 1000)
    file = OutboxFile(config.path(config.gateway.data) / "outbox.db", max_bytes=config.outbox.max_mb << 20)
    outbox = Outbox(file, commit_ms=config.outbox.commit_ms, now_ms=lambda: int(loop.time() * 1000))
    models = config.models()
    pipeline = Pipeline(outbox, models, clock=lambda: begin_ms + int(loop.time() * 1000))
    things = [device.thing for link in config.links for device in link.devices if link.kind == "modbus"]
    channels = [pipeline.channel(thing, list(models[thing].metrics)) for thing in things]
    numbers = np.random.default_rng(1)
    running = asyncio.create_task(outbox.run(), name="outbox")
    made = 0
    for second in range(round(hours * 3600)):
        for place, channel in enumerate(channels):
            await asyncio.sleep(second + place / len(channels) - loop.time())
            values = numbers.integers(0, 1 << 16, len(channel.metrics)).astype("<u2")
            channel.take(values, begin_ms + int(loop.time() * 1000) + int(numbers.integers(0, _JITTER_MS)))
            made += len(channel.metrics)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    file.close()
    return made


def main() -> None:
    """Write, and say how long it took."""
    started = time.monotonic()
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        readings = runner.run(write(Path(sys.argv[1]), float(sys.argv[2])))
    print(json.dumps({"readings": readings, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main()
