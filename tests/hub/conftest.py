"""What the hub's tests share: a writer, and one whole hub that has stored a known set of readings."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hub import birth as births
from hub.store.querying import Querying
from hub.store.writing import Writer
from protocols.custody import Header, epoch_number
from protocols.pack import Body
from protocols.reading import DecimalFraction, reading
from protocols.status import Sample
from runtime.process import free_port
from tests.hub.gateway import ID, INCARNATION, Gateway, birth, body, status_of

ROOT = Path(__file__).parents[2]
EPOCH = epoch_number(INCARNATION, 3, 0)


@dataclass(frozen=True)
class RunningHub:
    """A hub in processes of its own. `now_ms`: the time of the newest readings that it was given."""

    process: "subprocess.Popen[bytes]"
    data: Path
    port: int
    mqtt_port: int
    now_ms: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def writer(data: Path) -> Iterator[Writer]:
    made = Writer(data)
    yield made
    made.close()


@pytest.fixture
def querying(writer: Writer, data: Path) -> Querying:
    return Querying(data)


def parsed(message: bytes, gateway: str = ID) -> births.Birth:
    """A birth message."""
    made = births.parse(gateway, message)
    assert isinstance(made, births.Birth)
    return made


@pytest.fixture
def born(writer: Writer) -> Writer:
    """A writer that has taken the birth of the demo's gateway."""
    with writer.transaction():
        writer.write_birth(parsed(birth()))
    return writer


def store_body(
    writer: Writer, made: Body, seq: int = 1, *, backfill: bool = False, epoch: int = EPOCH, oldest: int = EPOCH
) -> None:
    """Have a pack written, in a transaction of its own."""
    with writer.transaction():
        writer.write_pack(ID, "bulk", Header(epoch, seq, 1, oldest, backfill, seq), made)


def start_hub(data: Path, port: int, mqtt_port: int, *, health: int = 200) -> "subprocess.Popen[bytes]":
    """`python -m hub run`, as soon as its web answers, and says that it is as healthy as that."""
    command = [
        sys.executable,
        "-m",
        "hub",
        "run",
        "--data",
        str(data),
        "--port",
        str(port),
        "--mqtt-port",
        str(mqtt_port),
    ]
    # A process group of its own, so that nothing of it can outlive a test that fails.
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == health:
                return process
        time.sleep(0.1)
    end_hub(process)
    raise AssertionError(f"the hub did not come up; exit code {process.returncode}")


def processes(*words: str) -> list[int]:
    """The ids of those whose command lines have these words in a row."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may end as we look
            if entry.name.isdigit() and "\0".join(words).encode() + b"\0" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def end_hub(process: "subprocess.Popen[bytes]") -> None:
    """End it in order; what does not end is killed."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with two minutes of readings, one each second: pulse from 60.0 by 0.1 /min, power from 900.2 by 1.5 W."""
    data = tmp_path_factory.mktemp("hub")
    port, mqtt_port = free_port(), free_port()
    process = start_hub(data, port, mqtt_port)
    try:
        now_ms = time.time_ns() // 1_000_000
        asyncio.run(_feed(data, mqtt_port, now_ms))
        yield RunningHub(process, data, port, mqtt_port, now_ms)
    finally:
        end_hub(process)


async def _feed(data: Path, mqtt_port: int, now_ms: int) -> None:
    def counted(second: int) -> dict[str, tuple[int, int]]:
        """Each second a pulse is suppressed beside the one that is sent."""
        return {"wearable-1": (2 * second + 2, second + 1), "meter-1": (2 * second + 2, 0)}

    gateway = Gateway(data, mqtt_port)
    for second in range(120):
        at = now_ms - (119 - second) * 1000
        pulse = DecimalFraction(600 + second, -1)
        made = [
            ("wearable-1", reading("heart_rate", pulse, "/min", time_ms=at)),
            ("meter-1", reading("active_power", 900.2 + 1.5 * second, "W", time_ms=at)),
            ("meter-1", reading("voltage", None, "V", 17, at)),
        ]
        gateway.put(body(made, tallies=counted(second)))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(gateway.run())
        await gateway.emptied()
        # It has five readings more than it has sent, and four that gave way.
        past = [Sample(now_ms - 60_000 * minute, 10 * minute, now_ms - 61_000 * minute) for minute in range(30, 0, -1)]
        counts = [(gateway.epoch, 490, 121)]
        told = status_of(counts, readings=5, oldest_ms=now_ms - 90_000, time_ms=now_ms, lost=4, past=past)
        gateway.tell(told)
        while Querying(data).accounts()[0].heard is None:
            await asyncio.sleep(0.05)
        running.cancel()
