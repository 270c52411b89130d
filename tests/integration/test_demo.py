"""The demo as its user starts it: eight real devices, an account that balances, clear ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware.sim.block import THINGS
from hardware.sim.report import balanced
from runtime.process import free_port

DEMO = [sys.executable, "-m", "hardware.sim.demo"]


def processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder."""
    return [command for _, command in children_of(folder)]


def children_of(folder: Path) -> list[tuple[int, str]]:
    """(process id, command line) of those that name the folder."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                lines.append((int(entry.name), line))
    return lines


@pytest.mark.timeout(120)
def test_all_devices_get_through_and_every_reading_is_accounted_for(tmp_path):
    report = tmp_path / "out.json"
    keep = tmp_path / "block"
    options = ["--seconds", "15", "--report", str(report), "--port", str(free_port()), "--keep", str(keep)]
    done = subprocess.run([*DEMO, *options], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads(report.read_text())
    assert set(made["devices"]) == set(THINGS)
    assert balanced(made) == []
    for row in (*made["devices"].values(), made["total"]):
        assert row["stored"] > 0
        assert row["read"] == row["suppressed"] + row["stored"] + row["buffered"] + row["declared_lost"]
        assert row["duplicates"] == 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert processes_of(keep) == []


@pytest.mark.timeout(120)
def test_the_account_balances_though_the_gateway_was_killed(tmp_path):
    report = tmp_path / "out.json"
    options = ["--seconds", "25", "--report", str(report), "--port", str(free_port()), "--keep", str(tmp_path)]
    demo = subprocess.Popen([*DEMO, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = []
    killed = False
    for line in demo.stdout:
        seen.append(line)
        if not killed and line.startswith("wearable-1 ") and " online " in line:
            (gateway,) = [pid for pid, command in children_of(tmp_path) if " edge run " in command]
            os.kill(gateway, signal.SIGKILL)
            killed = True
    with demo:
        pass
    assert demo.wait() == 0, "".join(seen)
    assert "gateway had ended and was started again" in "".join(seen)
    assert balanced(json.loads(report.read_text())) == []


@pytest.mark.timeout(60)
def test_ctrl_c_ends_every_child(tmp_path):
    demo = subprocess.Popen(
        [*DEMO, "--port", str(free_port()), "--keep", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    for line in demo.stdout:
        if line.startswith("the hub's page"):
            break
    assert len(processes_of(tmp_path)) >= 6
    demo.send_signal(signal.SIGINT)
    with demo:
        demo.stdout.read()
    assert demo.wait(20) == 0
    assert processes_of(tmp_path) == []


@pytest.mark.timeout(60)
def test_killing_the_demo_ends_every_child_too(tmp_path):
    demo = subprocess.Popen(
        [*DEMO, "--port", str(free_port()), "--keep", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    for line in demo.stdout:
        if line.startswith("the hub's page"):
            break
    demo.kill()
    with demo:
        pass
    deadline = time.monotonic() + 10
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []


def test_a_port_in_use_is_one_sentence_and_exit_2():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*DEMO, "--port", port], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"kerb demo: port {port} is in use; stop what uses it, or give another one with --port"
    ]


def test_a_report_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    report = str(tmp_path / "missing" / "out.json")
    options = ["--report", report, "--seconds", "1", "--port", str(free_port())]
    done = subprocess.run([*DEMO, *options], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "missing" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_account_that_does_not_balance_is_told():
    row = {"read": 5, "suppressed": 1, "stored": 3, "buffered": 0, "declared_lost": 0, "duplicates": 0}
    good = {**row, "read": 4}
    silent = dict.fromkeys(row, 0)
    twice = {**row, "stored": 5, "duplicates": 1}
    problems = balanced({"devices": {"good": good, "short": row, "silent": silent, "twice": twice}, "total": row})
    assert problems == [
        "short: read 5 readings, but 4 are accounted for",
        "silent: no reading has arrived at the hub",
        "twice: 1 readings are stored twice",
    ]
