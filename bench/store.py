"""The hub's store with ten million readings in it: its size, its queries, the expiry of a day, backup and restore.

Most readings are of streams that have one each second, with the noise, jitter and gaps of real devices; ten thousand
streams in all. Fields: `readings`, `streams`, `days`; `fill_per_s` readings written and sealed; `bytes_per_reading` of
the whole file, `block_bytes_per_reading` of the blocks alone; `day_p95_ms` and `day_p50_ms`: a day of a stream with a
reading each second in steps of five minutes; `latest_p95_ms` of all streams; `backup_s` and `restore_s`, with
hashes verified; `expire_day_ms`: the oldest day goes;
`summarise_day_s`: the next one goes, and leaves steps of five minutes.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.parts import filling
from bench.parts.filling import DAY_MS, Filled
from hub.backup import backup, restore
from hub.retention import ALL, Policy, set_policy
from hub.store.querying import Querying
from hub.store.schema import FILE, connect
from hub.store.writing import Writer

_STEP_MS = 300_000


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench store", description=__doc__)
    parser.add_argument("--readings", type=int, default=10_000_000, help="readings (default 10 million)")
    parser.add_argument("--streams", type=int, default=10_000, help="streams (default 10,000)")
    parser.add_argument("--days", type=int, default=5, help="days that they are of (default 5)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        print(json.dumps(measure(Path(folder), given.readings, given.streams, given.days)))


def measure(data: Path, readings: int, streams: int, days: int) -> dict[str, Any]:
    """Fill a store and ask it; the figures."""
    started = time.perf_counter()
    filled = filling.fill(data, readings, days=days, streams=streams)
    took_s = time.perf_counter() - started
    store = Querying(data)
    day = _times(200, lambda: _day(store, filled, days))
    latest = _times(20, lambda: len(store.streams()))
    size, block_size = _bytes_used(data), _block_bytes(data)
    backup_s, restore_s, file_size = _there_and_back(data, filled.readings)
    return {
        "readings": filled.readings,
        "streams": streams,
        "days": days,
        "fill_per_s": round(filled.readings / took_s),
        "bytes_per_reading": round(size / filled.readings, 2),
        "block_bytes_per_reading": round(block_size / filled.readings, 2),
        "day_p50_ms": _share(day, 0.5),
        "day_p95_ms": _share(day, 0.95),
        "latest_p95_ms": _share(latest, 0.95),
        "backup_s": backup_s,
        "restore_s": restore_s,
        "backup_mb": round(file_size / 1e6, 1),
        "expire_day_ms": _expired_ms(data, Policy(days=days - 1)),
        "summarise_day_s": round(_expired_ms(data, Policy(days=days - 2, step_minutes=5)) / 1000, 1),
    }


def _day(store: Querying, filled: Filled, days: int) -> None:
    begin = filled.day_ms - random.randrange(days) * DAY_MS
    steps = store.steps(random.choice(filled.streams), begin, begin + DAY_MS, _STEP_MS)
    assert len(steps) == DAY_MS // _STEP_MS


def _there_and_back(data: Path, readings: int) -> tuple[float, float, int]:
    """Seconds that a backup takes and its restore, hashes verified, and the file's size."""
    file, again = data / "backup.tar", data / "again"
    started = time.perf_counter()
    size = backup(data, file).size
    made = time.perf_counter()
    restore(file, again)
    done = time.perf_counter()
    assert Querying(again).stored() == readings
    file.unlink()
    shutil.rmtree(again)
    return round(made - started, 2), round(done - made, 2), size


def _expired_ms(data: Path, policy: Policy) -> float:
    """How long it takes to let one day go."""
    set_policy(data, ALL, policy)
    writer = Writer(data)
    try:
        started = time.perf_counter()
        while writer.tidy():
            pass
        return round((time.perf_counter() - started) * 1000, 1)
    finally:
        writer.close()


def _times(count: int, call: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)


def _share(times: list[float], share: float) -> float:
    return round(times[int(share * len(times))], 2)


def _bytes_used(data: Path) -> int:
    """Of the file, without pages that have become free."""
    connection = connect(data / FILE, readonly=True)
    try:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    finally:
        connection.close()
    return int((pages - free) * size)


def _block_bytes(data: Path) -> int:
    connection = connect(data / FILE, readonly=True)
    try:
        return int(connection.execute("SELECT sum(length(data)) FROM block").fetchone()[0])
    finally:
        connection.close()


if __name__ == "__main__":
    main()
