"""Modbus TCP to MQTT, every point durable in the outbox: what one gateway process carries, and at what cost.

A device is a Modbus server with one block of holding registers (uint16), all of which change with every read; the
deadband is on. Packs go by TLS to a broker and a receiver that says "stored" only after the outbox has committed.
Fields: `points_per_s`, `cpu_s_per_million` (user and system, of the gateway alone), `rss_mb` (peak),
`requests_per_cycle`, `p50_ms` and `p99_ms` (from the response to the arrival at the receiver), `seconds`, `missing`
(read, but neither suppressed, received nor in the outbox), `bytes_per_point` (on the wire).
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.outbox_file import OutboxFile
from hub import logins
from hub.authority import Authority
from runtime.broker import EmbeddedBroker
from runtime.process import die_with_parent, free_port

_ROOT = Path(__file__).parent.parent
_GATEWAY = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 20.0

_CONFIG = """\
[gateway]
id = "{gateway}"
name = {{ en = "Bench", zh = "测试" }}
models = "models"

[uplink]
kind = "hub"
url = "mqtts://127.0.0.1:{mqtt}"
ca = "{ca}"
certificate = "gateway.pem"
key = "gateway.key"

[page]
port = {page}
"""
_LINK = """
[[links]]
name = "link-{number}"
kind = "modbus"
host = "127.0.0.1"
port = {port}
devices = [{{ thing = "device-{number}", model = "bench-block", address = "1" }}]
"""
_MODEL = """\
[device]
model = "bench-block"
maker = "Kerb"
kind = "block"
link = "modbus"
name = { en = "Block of registers", zh = "寄存器块" }

[modbus]
period_ms = PERIOD
"""
_METRIC = """
[metrics.r{address}]
name = {{ en = "Register {address}", zh = "寄存器 {address}" }}
unit = "1"
register = {{ table = "holding", address = {address}, type = "uint16" }}
deadband = 0
"""


@dataclass(frozen=True)
class Options:
    """What to run: devices, registers each, poll period (0: as fast as it goes), seconds measured and of warm-up."""

    devices: int
    registers: int
    period_s: float
    seconds: float
    warm_up_s: float


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench modbus", description=__doc__)
    parser.add_argument("--devices", type=int, default=100, help="Modbus TCP servers, a link each (default 100)")
    parser.add_argument("--registers", type=int, default=100, help="registers of each (default 100)")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between polls; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure (default 30)")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that (default 5)")
    given = parser.parse_args()
    options = Options(given.devices, given.registers, given.period, given.seconds, given.warm_up)
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options))))


async def measure(folder: Path, options: Options) -> dict[str, Any]:
    """Broker, receiver, Modbus servers and the gateway under test; what they did."""
    mqtt, page, modbus = free_port(), free_port(), free_port()
    _enrol(folder)
    _write_config(folder, options, mqtt=mqtt, page=page, modbus=modbus)
    authority = Authority(folder)
    broker = EmbeddedBroker(
        folder / "broker", host="127.0.0.1", port=mqtt, users=logins.users(folder), tls=authority.broker(("127.0.0.1",))
    )
    running = asyncio.create_task(broker.run(), name="broker")
    try:
        await broker.ready.wait()
        return await asyncio.to_thread(_run, folder, options, mqtt, page, modbus)
    finally:
        running.cancel()
        await asyncio.wait((running,))


def _run(folder: Path, options: Options, mqtt: int, page: int, modbus: int) -> dict[str, Any]:
    with ExitStack() as stack:
        receiver = _start(stack, "bench.receiver", str(folder), str(mqtt), output=subprocess.PIPE)
        server = _start(
            stack, "bench.modbus_server", "--port", str(modbus), "--registers", str(options.registers),
            output=subprocess.PIPE,
        )  # fmt: skip
        gateway = _start(stack, "edge", "run", str(folder / "gateway.toml"), output=None)
        _wait_online(page, options)
        time.sleep(options.warm_up_s)
        before = _read(page)  # asking costs the gateway something, which is not to be measured
        receiver.send_signal(signal.SIGUSR1)
        cpu_before, started = _cpu_s(gateway.pid), time.monotonic()
        time.sleep(options.seconds)
        cpu_after, seconds, rss_mb = _cpu_s(gateway.pid), time.monotonic() - started, _peak_rss_mb(gateway.pid)
        after = _read(page)
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(30)
        served = _end(server)
        time.sleep(2)  # what is under way arrives
        received = _end(receiver)
    points = after - before
    return {
        "devices": options.devices,
        "registers": options.registers,
        "period_s": options.period_s,
        "points_per_s": round(points / seconds),
        "cpu_s_per_million": round((cpu_after - cpu_before) / points * 1e6, 3),
        "rss_mb": round(rss_mb, 1),
        "requests_per_cycle": round(served["requests"] / (served["registers"] / options.registers), 2),
        "p50_ms": received["p50_ms"],
        "p99_ms": received["p99_ms"],
        "seconds": round(seconds, 1),
        "missing": _missing(folder, received["points"]),
        "bytes_per_point": round(received["bytes"] / max(received["points"], 1), 2),
    }


def _enrol(folder: Path) -> None:
    """A key and a certificate for the gateway."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _GATEWAY)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    serial = logins.admit(folder, _GATEWAY)
    certificate = Authority(folder).sign(csr.public_bytes(serialization.Encoding.PEM), _GATEWAY, serial)
    (folder / "gateway.pem").write_bytes(certificate)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "gateway.key").write_bytes(private)


def _write_config(folder: Path, options: Options, *, mqtt: int, page: int, modbus: int) -> None:
    model = _MODEL.replace("PERIOD", str(max(1, round(options.period_s * 1000))))
    (folder / "models").mkdir()
    (folder / "models" / "bench-block.toml").write_text(
        model + "".join(_METRIC.format(address=address) for address in range(options.registers)), encoding="utf-8"
    )
    head = _CONFIG.format(gateway=_GATEWAY, mqtt=mqtt, page=page, ca=Authority(folder).file)
    links = "".join(_LINK.format(number=number, port=modbus) for number in range(options.devices))
    (folder / "gateway.toml").write_text(head + links, encoding="utf-8")


def _start(stack: ExitStack, module: str, *arguments: str, output: int | None) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=_ROOT,
        stdout=output,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  no lock is held that it could need
    )
    stack.callback(process.wait, 10)
    stack.callback(process.kill)
    return process


def _end(process: "subprocess.Popen[str]") -> dict[str, Any]:
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _status(page: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/status.json", timeout=10) as answer:
        status: dict[str, Any] = json.load(answer)
    return status


def _wait_online(page: int, options: Options) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        time.sleep(0.2)
        try:
            states = [thing["state"] for thing in _status(page)["things"].values()]
        except OSError:
            continue
        if states == ["online"] * options.devices:
            return
    raise SystemExit(f"not all devices were online within {_START_S:g} s")


def _read(page: int) -> int:
    """How many readings the gateway has made so far."""
    return sum(thing["read"] for thing in _status(page)["things"].values())


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not tell the gateway's size")


def _missing(folder: Path, received: int) -> int:
    """Readings that the gateway made and that are neither suppressed, received, nor in its outbox.

    A pack in the outbox may have been received too: what is left is never below 0 for that.
    """
    file = OutboxFile(folder / "data" / "outbox.db", max_bytes=1 << 30)
    try:
        read = sum(read - suppressed for read, suppressed in file.tallies().values())
        return max(0, read - received - sum(file.buffered().values()))
    finally:
        file.close()


if __name__ == "__main__":
    main()
