"""A disk that is full, or that has damaged the store: said aloud, never made anew, and over when the cause is."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hub.errors import StoreError
from hub.intake import Intake
from hub.store.checking import problems
from hub.store.querying import Querying
from hub.store.schema import FILE, prepare
from hub.store.writing import Writer
from protocols.pack import Body
from protocols.reading import Reading, reading
from runtime.mqtt import Message
from runtime.process import free_port
from tests.hub.conftest import ROOT, end_hub, start_hub
from tests.hub.gateway import Gateway, body
from tests.hub.test_intake import BORN, UP, header, message, packed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "kerb", folder], check=False).returncode
    ):
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def pulses(first: int, count: int) -> Body:
    made = [("wearable-1", reading("heart_rate", first + n, "/min", time_ms=1000 * (first + n))) for n in range(count)]
    return body(made, tallies={"wearable-1": (first + count, 0)})


def health(port: int) -> tuple[int, str]:
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10)
    return answer.status_code, answer.json().get("detail", "")


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(90)
async def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path) -> None:
    data, port, mqtt_port = small_disk / "hub", free_port(), free_port()
    process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
    gateway = Gateway(data, mqtt_port)
    sending = asyncio.create_task(gateway.run())
    try:
        gateway.put(pulses(0, 50))
        await gateway.emptied()
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        made = 50
        deadline = time.monotonic() + 30
        while (said := await asyncio.to_thread(health, port))[0] == 200:  # what the log had room for is used up first
            assert time.monotonic() < deadline
            gateway.put(pulses(made, 200))
            made += 200
            await asyncio.sleep(0.02)
        assert said[0] == 503
        assert "full" in said[1]
        assert gateway.held
        ballast.unlink()
        await gateway.emptied(40)
        await until(lambda: health(port)[0] == 200)
        store = Querying(data)
        points, _ = store.history(store.streams("wearable-1")[0].id, 0, 1 << 53)
        assert [point.value for point in points] == list(range(made))[-10_000:]
        assert store.stored() == made
        assert sum(one.duplicates for one in store.custody()) == 0
    finally:
        sending.cancel()
        await asyncio.wait((sending,))
        await asyncio.to_thread(end_hub, process)


@pytest.mark.timeout(90)
def test_a_store_that_cannot_be_opened_is_left_alone_and_the_hub_says_so(data: Path) -> None:
    prepare(data)
    good = (data / FILE).read_bytes()
    noise = b"not what SQLite wrote" * 1000
    (data / FILE).write_bytes(noise)
    port = free_port()
    process = start_hub(data, port, free_port(), health=503)
    try:
        assert health(port) == (503, "ingest: file is not a database")
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/things").json()["detail"] == "file is not a database"
        assert (data / FILE).read_bytes() == noise
        (data / FILE).write_bytes(good)  # as `kerb hub restore` would do it
        asyncio.run(until(lambda: health(port)[0] == 200))
    finally:
        end_hub(process)


@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_the_log_of_a_file_that_is_gone_is_not_deleted(data: Path, how: str) -> None:
    """SQLite itself would do so, and begin anew."""
    writer = Writer(data)
    Intake(writer, "one").take([BORN, packed(1)])
    log = data / f"{FILE}-wal"
    kept = log.read_bytes()
    writer.close()
    log.write_bytes(kept)  # as after a kill
    (data / FILE).write_bytes(b"")
    if how == "deleted":
        (data / FILE).unlink()
    with pytest.raises(StoreError, match="its log is there"):
        Writer(data)
    assert log.read_bytes() == kept


def test_a_damaged_page_costs_its_readings_only(data: Path) -> None:
    """Blocks are damaged on the disk: what comes is stored all the same, and what is whole can be read."""
    writer = Writer(data)
    intake = Intake(writer, "one")
    made = [("wearable-1", reading("heart_rate", n * n % 977, "/min", time_ms=1000 * n)) for n in range(9000)]
    made += [("meter-1", reading("voltage", 230 + n / 7, "V", time_ms=1000 * n)) for n in range(3000)]
    intake.take([BORN, *(_pack(seq, made[begin : begin + 500]) for seq, begin in enumerate(range(0, 12_000, 500), 1))])
    writer.seal_all()
    writer._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = (data / FILE).read_bytes()
    block = writer._db.execute("SELECT data FROM block WHERE stream = 1 ORDER BY id LIMIT 1").fetchone()[0]
    writer.close()
    place = whole.index(block[40:80])
    (data / FILE).write_bytes(whole[:place] + b"\xff" * 30 + whole[place + 30 :])
    querying = Querying(data)
    streams = {stream.metric: stream for stream in querying.streams()}
    with pytest.raises(StoreError, match="day 0: a block is damaged"):
        querying.history(streams["heart_rate"].id, 0, 1 << 53)
    assert list(problems(data)) == ["wearable-1 heart_rate, 1970-01-01: a block of 4096 readings is damaged"]
    points, _ = querying.history(streams["heart_rate"].id, 4_100_000, 9_000_000)
    assert len(points) == 4_900
    assert len(querying.history(streams["voltage"].id, 0, 1 << 53)[0]) == 3000
    writer = Writer(data)
    again = Intake(writer, "two")
    assert again.take([packed(25, 71)]).failure == ""
    writer.seal_all()
    writer.close()
    assert querying.stored() == 12_001
    assert (data / FILE).read_bytes().count(block[80:200]) == 1  # what is damaged is still there


def _pack(seq: int, made: list[tuple[str, Reading]]) -> Message:
    return Message(UP, message(header(seq), body(made)), False)


def test_the_check_says_what_is_damaged(data: Path) -> None:
    def check() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "hub", "check", "--data", str(data)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    writer = Writer(data)
    intake = Intake(writer, "one")
    intake.take([BORN, packed(1), packed(2)])
    writer.seal_all()
    intake.take([packed(3)])
    assert (check().returncode, check().stdout) == (0, f"the store in {data} is whole\n")
    writer._db.execute("UPDATE block SET day = 5")
    writer._db.execute("INSERT INTO summary VALUES (1, 7, x'00')")
    writer._db.execute("UPDATE hot SET data = x'0011'")
    writer.close()
    said = check()
    assert said.returncode == 1
    assert said.stdout.splitlines() == [
        "wearable-1 heart_rate, 1970-01-06: a block of 2 readings is damaged",
        "wearable-1 heart_rate, 1970-01-08: the steps that are left of it are damaged",
        "shelf 0: a row of what has come lately is damaged",
    ]
    (data / FILE).write_bytes(b"noise")
    said = check()
    assert (said.returncode, said.stderr.count("\n"), "not a database" in said.stderr) == (2, 1, True)
