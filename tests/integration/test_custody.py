"""Custody from end to end: hub, gateway and brokers are killed while readings flow, and each is found exactly once."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware.sim.block import enrol, make_token
from runtime.process import die_with_parent, free_port, port_in_use
from tests.integration.numbered import NumberedDevice

CONFIG = """\
[gateway]
id = "gw-1"
name = {{ en = "Test", zh = "测试" }}

[uplink]
kind = "hub"
url = "mqtts://127.0.0.1:{hub}"
ca = "tls/ca.pem"
certificate = "tls/gateway.pem"
key = "tls/gateway.key"

[page]
port = {page}

[[links]]
name = "numbered"
kind = "mqtt"
port = {broker}
devices = [{{ thing = "numbered-1", model = "kerb-wearable", password_file = "device.password" }}]

[[links]]
name = "meters"
kind = "modbus"
host = "127.0.0.1"
port = {meter}
devices = [{{ thing = "meter-1", model = "eastron-sdm120", address = "1" }}]
"""


class System:
    """Hub, gateway and a meter as real processes in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ports = {name: free_port() for name in ("hub", "web", "page", "broker", "meter")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "gateway.toml").write_text(CONFIG.format(**self.ports))
        (folder / "device.password").write_text("of the device")
        hub = ["hub", "run", "--data", str(folder / "hub"), "--port", str(self.ports["web"])]
        self.commands = {
            "hub": [*hub, "--mqtt-port", str(self.ports["hub"])],
            "gateway": ["edge", "run", str(folder / "gateway.toml")],
            "meter": ["hardware.sim.meter", "--port", str(self.ports["meter"])],
        }

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = [sys.executable, "-m", *self.commands[name]]
            self.processes[name] = subprocess.Popen(
                argv,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call, which no thread can hold up
            )

    def enrol(self) -> None:
        """Enrol the gateway at the running hub, through the real commands."""
        token = make_token(self.folder / "hub", "gw-1")
        url = f"http://127.0.0.1:{self.ports['web']}"
        deadline = time.monotonic() + 30
        while not port_in_use("127.0.0.1", self.ports["web"]):
            assert time.monotonic() < deadline, "the hub does not start"
            time.sleep(0.1)
        enrol(url, token, "gw-1", self.folder / "tls")

    def kill(self, name: str) -> None:
        """kill -9, and its children with it."""
        self.processes[name].kill()
        self.processes[name].wait()

    def kill_part(self, *words: str) -> None:
        """kill -9 one child process of ours by its command line; its supervisor starts it again."""
        killed = 0
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
                if str(self.folder) in line and all(word in line for word in words):
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed += 1
        assert killed == 1, f"{words}: {killed} processes"

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(15)

    def query(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        (file,) = [path for path in (self.folder / "hub").glob("*.db") if "reading" in path.name or "hub" in path.name]
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def counts(self) -> list[int]:
        """The numbers that the hub has stored, in order."""
        sql = "SELECT value FROM reading JOIN stream ON stream.id = reading.stream WHERE stream.metric = 'count'"
        with contextlib.suppress(sqlite3.OperationalError, ValueError):
            return sorted(int(value) for (value,) in self.query(sql))  # type: ignore[call-overload]
        return []


@pytest.fixture
def system(tmp_path):
    made = System(tmp_path)
    yield made
    made.stop()


@contextlib.asynccontextmanager
async def making(device: NumberedDevice, per_second: float):
    async def make():
        while True:
            device.make()
            await asyncio.sleep(1 / per_second)

    maker = asyncio.create_task(make())
    yield
    maker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await maker


async def stored(system, device, least, timeout_s=40.0):
    deadline = time.monotonic() + timeout_s
    while len(set(system.counts())) < least:
        device.check()
        if time.monotonic() > deadline:
            logs = "\n".join(path.name + ":\n" + path.read_text()[-3000:] for path in system.folder.glob("*.log"))
            pytest.fail(f"{len(set(system.counts()))} of {least} readings have arrived\n{logs}")
        await asyncio.sleep(0.2)


@pytest.mark.timeout(180)
async def test_every_reading_is_stored_once_whoever_is_killed(system):
    system.start("hub")
    system.start("meter")
    system.enrol()
    system.start("gateway")
    device = NumberedDevice("numbered-1", system.ports["broker"], "of the device")
    device.start()
    faults = [
        lambda: (system.kill("gateway"), system.start("gateway")),
        lambda: system.kill_part("hub", "ingest"),
        lambda: system.kill_part("nats-server", "hub/broker"),
        lambda: system.kill_part("nats-server", "broker-numbered"),
        lambda: (system.kill("hub"), system.start("hub")),
        lambda: (system.kill("gateway"), system.start("gateway")),
        lambda: (system.kill("hub"), system.kill("gateway"), system.start("gateway"), system.start("hub")),
    ]
    async with making(device, per_second=100):
        await stored(system, device, 50)
        for fault in faults:
            fault()
            await stored(system, device, device.made + 20)  # it has recovered, and the next fault meets it at work
    await stored(system, device, device.made)
    async with asyncio.timeout(10):
        while device.held():
            await asyncio.sleep(0.1)
    await device.stop()
    assert system.counts() == list(range(1, device.made + 1))
    (lost,) = system.query("SELECT coalesce(sum(count), 0) FROM lost")[0]
    assert lost == 0


@pytest.mark.timeout(120)
async def test_what_is_read_while_the_hub_is_away_arrives_afterwards_marked_and_once(system):
    system.start("meter")
    system.start("hub")
    system.enrol()
    system.kill("hub")
    system.start("gateway")
    device = NumberedDevice("numbered-1", system.ports["broker"], "of the device")
    device.start()
    async with making(device, per_second=100):
        while device.made - device.held() < 200:  # the gateway has taken them over, and there is no hub
            await asyncio.sleep(0.05)
        system.start("hub")
        await stored(system, device, device.made)
        system.kill("hub")
        before = device.made
        while device.made - device.held() < before + 100:
            await asyncio.sleep(0.05)
        system.start("hub")
        await stored(system, device, device.made)
    await stored(system, device, device.made)
    await device.stop()
    assert system.counts() == list(range(1, device.made + 1))
    (backfilled,) = system.query("SELECT count(*) FROM reading WHERE backfill")[0]
    assert backfilled >= 100
