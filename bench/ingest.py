"""The hub under the load of a thousand homes: the real broker and the real ingest, real packs, TLS, custody.

Each home's gateway sends some thirty readings a second in two or three packs. Fields: `readings_per_s`, `packs_per_s`,
`made`, `stored`, `missing`, `duplicates`; `p50_ms`, `p99_ms`, `max_ms` from a pack's newest reading to the moment when
its gateway has heard that it is stored; `resent` packs; `rss_mb` (peak) and `cpu_s_per_million` of ingest;
`bytes_per_reading` of the store's file; while it runs, once a second, `latest_p95_ms` of ten thousand of the `streams`
streams, and `day_p95_ms`: five-minute steps of a day of one stream out of `rows` readings that were there before.
"""

import argparse
import asyncio
import json
import random
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.parts import filling, rig
from hub import logins
from hub.authority import Authority
from hub.store.querying import Querying
from hub.store.schema import FILE
from runtime.broker import EmbeddedBroker, User
from runtime.certificates import subject
from runtime.process import free_port

_CONNECTIONS = 8
_LATEST = 10_000  # streams whose newest values are asked for


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench ingest", description=__doc__)
    parser.add_argument("--gateways", type=int, default=1000, help="gateways (default 1000)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to send (default 600)")
    parser.add_argument("--rows", type=int, default=10_000_000, help="readings there before (default 10 million)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        said = asyncio.run(measure(Path(folder), given.gateways, given.seconds, given.rows))
    print(json.dumps(said))
    if said["missing"] or said["duplicates"]:
        raise SystemExit(1)


async def measure(data: Path, gateways: int, seconds: float, rows: int) -> dict[str, Any]:
    """Fill the store, then send for so many seconds; what it did."""
    before = await asyncio.to_thread(filling.fill, data, rows) if rows else filling.NOTHING
    port = free_port()
    users = [*logins.users(data), _load_user(data)]
    tls = Authority(data).broker(("127.0.0.1",))
    broker = EmbeddedBroker(data / "broker", host="127.0.0.1", port=port, users=users, tls=tls)
    running = asyncio.create_task(broker.run(), name="broker")
    try:
        await broker.ready.wait()
        pid = broker.pid or 0
        return await asyncio.to_thread(_run, data, f"{port} {_CONNECTIONS} {gateways} {seconds}".split(), before, pid)
    finally:
        running.cancel()
        await asyncio.wait((running,))


def _load_user(data: Path) -> User:
    """All homes log in with one certificate, which may speak for each of them."""
    name, serial = "load", "1"
    (data / "load.pem").write_bytes(b"".join(rig.certified(data, name, serial)))
    may = ["g/+/birth", "g/+/up/+"]
    return User(subject(name, serial), publish=may, subscribe=["g/+/cursor/+"])


def _run(data: Path, words: list[str], before: filling.Filled, broker: int) -> dict[str, Any]:
    with ExitStack() as stack:
        ingest = rig.start(stack, "hub", "ingest", "--data", str(data), "--mqtt-port", words[0], output=None)
        load = rig.start(stack, "bench.parts.home_load", str(data), *words, output=subprocess.PIPE)
        assert load.stdout
        stack.enter_context(load.stdout)
        if load.stdout.readline() != "ready\n":
            raise SystemExit("the load does not start")
        pids = {"ingest": ingest.pid, "broker": broker}
        cpu = {name: rig.cpu_s(pid) for name, pid in pids.items()}
        started = time.monotonic()
        asked = _ask_until_ended(load, Querying(data), before)
        took_s = time.monotonic() - started
        used = {name: rig.cpu_s(pid) - cpu[name] for name, pid in pids.items()}
        rss_mb = rig.peak_rss_mb(ingest.pid)
        sent = json.loads(load.stdout.readline())
        ingest.terminate()
        ingest.wait(30)
    store = Querying(data)
    stored = store.stored() - before.readings
    size = (data / FILE).stat().st_size
    return {
        **sent,
        "stored": stored,
        "missing": sent["made"] - stored,
        "duplicates": sum(one.duplicates for one in store.custody()),
        "rss_mb": round(rss_mb, 1),
        "cpu_s_per_million": round(used["ingest"] / stored * 1e6, 2),
        **{f"{name}_cores": round(spent / took_s, 2) for name, spent in used.items()},
        "bytes_per_reading": round(size / (stored + before.readings), 2),
        "rows": before.readings,
        **asked,
    }


def _ask_until_ended(load: "subprocess.Popen[str]", store: Querying, before: filling.Filled) -> dict[str, Any]:
    latest, days = [], []
    things = list({stream.thing: None for stream in store.streams()[:_LATEST]})
    while load.poll() is None:
        time.sleep(1)
        started = time.perf_counter()
        store.streams(*things)
        latest.append((time.perf_counter() - started) * 1000)
        if before.streams:
            started = time.perf_counter()
            store.steps(random.choice(before.streams), before.day_ms, before.day_ms + 86_400_000, 300_000)
            days.append((time.perf_counter() - started) * 1000)
    return {"streams": len(store.streams()), "latest_p95_ms": _p95(latest), "day_p95_ms": _p95(days)}


def _p95(times: list[float]) -> float | None:
    return round(sorted(times)[int(0.95 * len(times))], 1) if times else None


if __name__ == "__main__":
    main()
