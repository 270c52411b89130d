"""From nothing to a live chart: seconds until the hub serves a reading, on a fresh clone and again on the same one.

Fields: `first_s` (with the installation, no package cache), `second_s`, `runs` (of the second kind), `second_all_s`.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from runtime.process import free_port

_ROOT = Path(__file__).parent.parent
_LIMIT_S = 600.0


def main() -> None:
    """Clone this tree into a temporary folder and start the demo there."""
    parser = argparse.ArgumentParser(prog="kerb bench startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often to start it again (default 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        clone = Path(folder) / "kerb"
        subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(clone)], check=True)
        first_s = _until_a_reading(clone)
        again = [_until_a_reading(clone) for _ in range(options.runs)]
    result = {
        "first_s": round(first_s, 1),
        "second_s": round(statistics.median(again), 1),
        "runs": options.runs,
        "second_all_s": [round(seconds, 1) for seconds in again],
    }
    print(json.dumps(result))


def _until_a_reading(clone: Path) -> float:
    port = free_port()
    started = time.monotonic()
    demo = subprocess.Popen(
        [clone / "kerb", "demo", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PIP_NO_CACHE_DIR": "1"},
    )
    try:
        while not _has_reading(port):
            if demo.poll() is not None or time.monotonic() - started > _LIMIT_S:
                raise SystemExit(f"the demo ended with {demo.poll()} before a reading was there")
            time.sleep(0.1)
        return time.monotonic() - started
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)


def _has_reading(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/latest", timeout=2) as answer:
            return any(stream["latest"] for stream in json.load(answer))
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    main()
