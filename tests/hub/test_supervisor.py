"""`python -m hub`: parts that die are started again, none outlives the hub, and what is wrong is one sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from runtime.process import free_port
from tests.hub.conftest import ROOT, end_hub, start_hub


@pytest.fixture
def hub(data: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    port = free_port()
    process = start_hub(data, port, free_port())
    yield process, port
    end_hub(process)


def children(pid: int) -> dict[str, int]:
    """The hub's parts by name, with their process ids."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"nats-server" in words[0]:
            found["broker"] = int(child)
        elif words[1:3] == [b"-m", b"hub"] and words[3] != b"run":  # else it is just being started, or has ended
            found[words[3].decode()] = int(child)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_part_that_is_killed_is_started_again(hub: tuple["subprocess.Popen[bytes]", int]) -> None:
    process, port = hub
    before = children(process.pid)
    assert set(before) == {"broker", "ingest", "notify", "web"}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: (
            set(children(process.pid)) == set(before) and not set(children(process.pid).values()) & set(before.values())
        )
    )
    wait_for(lambda: answers(port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_takes_everything_with_it(data: Path, number: int) -> None:
    process = start_hub(data, free_port(), free_port())
    parts = children(process.pid)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert not any(alive(pid) for pid in parts.values())


def test_killed_it_leaves_no_part_behind(data: Path) -> None:
    process = start_hub(data, free_port(), free_port())
    parts = children(process.pid)
    process.kill()
    process.wait(5)
    wait_for(lambda: not any(alive(pid) for pid in parts.values()), 5)


@pytest.mark.parametrize("option", ["--port", "--mqtt-port"])
def test_a_port_in_use_is_one_sentence(data: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"--port": free_port(), "--mqtt-port": free_port(), option: taken.getsockname()[1]}
        options = [str(word) for pair in ports.items() for word in pair]
        command = [sys.executable, "-m", "hub", "run", "--data", str(data), *options]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert str(ports[option]) in ended.stderr
    assert option in ended.stderr


def test_data_that_is_no_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "hub", "ingest", "--data", str(tmp_path / "file")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
