"""From the label to readings at the gateway: production, a technician with a cable, and a gateway that runs."""

import asyncio
import sys
import urllib.request
from pathlib import Path

from bench.parts.new_device import DEVICE, on_a_cable, powered, produce
from hardware.sim.device import ROOT
from runtime.process import free_port

GATEWAY = """\
[gateway]
id = "gw"
name = {{ en = "Ward 3", zh = "三病区" }}
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:{nowhere}"
[page]
port = {page}
[[links]]
name = "devices"
kind = "mqtt"
port = {broker}
devices = [{{ thing = "wearable-7", model = "kerb-wearable" }}]
"""


async def test_a_provisioned_device_hands_its_readings_over(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("nowhere", "page", "broker")}
    (tmp_path / "gateway.toml").write_text(GATEWAY.format(**ports))
    label = produce(tmp_path / "device")
    gateway = await _edge("run", str(tmp_path / "gateway.toml"))
    try:
        async with on_a_cable() as cable:
            async with powered(tmp_path / "device", console=cable.console) as device:
                await cable.until(b"waits on")
                technician = await _edge(
                    "provision", str(tmp_path / "gateway.toml"), "--serial", cable.port, "--host", "127.0.0.1",
                    label=label.text(),
                )  # fmt: skip
                assert await technician.wait() == 0
                assert await device.wait() == 75
            async with powered(tmp_path / "device", console=cable.console), asyncio.timeout(40):
                while not await asyncio.to_thread(_reads, ports["page"]):
                    await asyncio.sleep(0.1)  # another process reads it
    finally:
        gateway.terminate()
        await gateway.wait()


async def _edge(*arguments: str, label: str = "") -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin
    process.stdin.write(label.encode() + b"\n")
    process.stdin.close()
    return process


def _reads(page: int) -> bool:
    """Whether the gateway has read something of the device."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False  # it has not begun yet
    counts = [line for line in lines if line.startswith("kerb_gateway_readings_read_total") and DEVICE in line]
    return any(float(line.rsplit(" ", 1)[1]) > 0 for line in counts)
