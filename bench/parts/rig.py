"""What the benches of a gateway share: its config, its certificate, and the processes around it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub import logins
from hub.authority import Authority
from runtime.process import die_with_parent

ROOT = Path(__file__).parent.parent.parent
GATEWAY = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 30.0
_SENT_S = 120.0

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

[outbox]
commit_ms = {commit_ms}

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


def enrol(folder: Path) -> None:
    """A key and a certificate for the gateway."""
    certificate, private = certified(folder, GATEWAY, logins.admit(folder, GATEWAY))
    (folder / "gateway.pem").write_bytes(certificate)
    (folder / "gateway.key").write_bytes(private)


def certified(folder: Path, name: str, serial: str) -> tuple[bytes, bytes]:
    """A certificate by the hub of this folder, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    certificate = Authority(folder).sign(csr.public_bytes(serialization.Encoding.PEM), name, serial)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate, private


def write_config(
    folder: Path,
    *,
    devices: int,
    registers: int,
    period_s: float,
    mqtt: int,
    page: int,
    modbus: int,
    commands: str = "",
    commit_ms: int = 250,
) -> None:
    """A gateway with Modbus TCP devices, a link each, all served by one port; `commands` is appended to their model."""
    model = _MODEL.replace("PERIOD", str(max(1, round(period_s * 1000))))
    (folder / "models").mkdir()
    (folder / "models" / "bench-block.toml").write_text(
        model + "".join(_METRIC.format(address=address) for address in range(registers)) + commands, encoding="utf-8"
    )
    head = _CONFIG.format(gateway=GATEWAY, mqtt=mqtt, page=page, ca=Authority(folder).file, commit_ms=commit_ms)
    links = "".join(_LINK.format(number=number, port=modbus) for number in range(devices))
    (folder / "gateway.toml").write_text(head + links, encoding="utf-8")


def start(stack: ExitStack, module: str, *arguments: str, output: int | None) -> "subprocess.Popen[str]":
    """A module as a process, which ends with the stack."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=output,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  no lock is held that it could need
    )
    stack.callback(process.wait, 10)
    stack.callback(process.kill)
    return process


def end(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Terminate a process; what it prints as its last line."""
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def status(page: int) -> dict[str, Any]:
    """What the gateway's page shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/status.json", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_online(page: int, devices: int) -> None:
    """Until all devices are online."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        time.sleep(0.2)
        try:
            states = [thing["state"] for thing in status(page)["things"].values()]
        except OSError:
            continue
        if states == ["online"] * devices:
            return
    raise SystemExit(f"not all devices were online within {_START_S:g} s")


def read(page: int) -> int:
    """How many readings the gateway has made so far."""
    return sum(thing["read"] for thing in status(page)["things"].values())


def wait_sent(page: int, *, most: float) -> None:
    """Until at most so many readings are in the outbox."""
    until = time.monotonic() + _SENT_S
    while sum(thing["buffered"] for thing in status(page)["things"].values()) > most:
        if time.monotonic() > until:
            raise SystemExit(f"the outbox was not empty within {_SENT_S:g} s")
        time.sleep(0.5)


def cpu_s(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_rss_mb(pid: int) -> float:
    """The most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not tell the gateway's size")
