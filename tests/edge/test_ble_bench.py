"""The Bluetooth benchmark at a small count: what it promises holds there too, and it does not rot."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_benchmark_at_a_small_count():
    sizes = ("--peripherals=3", "--disconnects=9", "--records=300", "--record-disconnects=5", "--away=0.5")
    done = subprocess.run(
        [sys.executable, "-m", "bench.ble", *sizes], cwd=ROOT, capture_output=True, timeout=90, check=True, text=True
    )
    said = json.loads(done.stdout)
    assert (said["peripherals"], said["disconnects"], said["record_disconnects"]) == (3, 9, 5)
    assert said["p99_s"] <= 3
    assert said["adapter_return_s"] <= 15
    assert said["tasks_after"] <= said["tasks_before"]
    assert said["tasks_left"] == 0
    assert (said["records"], said["records_missing"], said["records_twice"]) == (300, 0, 0)
