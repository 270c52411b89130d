"""A whole block on one machine: hub, gateway and eight devices, each a process of its own, in one folder."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hardware import plans
from hardware.sim.device import bluetooth_address, public_key
from protocols import medication
from runtime.process import die_with_parent, free_port

CUFF = "C0:00:00:00:00:01"
OXIMETER = "C0:00:00:00:00:02"
GATEWAY = "block-gateway"
_PROGRAMS = ("hub", "gateway")
THINGS = ("wearable-1", "wearable-2", "room-1", "dispenser-1", "cuff-1", "oximeter-1", "meter-1", "gps-1")

_PYTHON = (sys.executable, "-P", "-m")  # -P: the caller's folder, which may be any, holds no modules of ours

_CONFIG = """\
[gateway]
id = "{gateway}"
name = {{ en = "Block gateway", zh = "演示网关" }}
data = "gateway"

[uplink]
kind = "hub"
url = "mqtts://127.0.0.1:{hub_mqtt}"
ca = "tls/ca.pem"
certificate = "tls/gateway.pem"
key = "tls/gateway.key"

[page]
port = {page}

[[links]]
name = "own"
kind = "mqtt"
port = {broker}
devices = [
    {{ thing = "wearable-1", model = "kerb-wearable" }},
    {{ thing = "room-1", model = "kerb-sensor-node" }},
    {{ thing = "dispenser-1", model = "kerb-dispenser" }},
]

[[links]]
name = "radio"
kind = "ble"
adapter = "hci:tcp-client:127.0.0.1:{hci}"
devices = [
    {{ thing = "cuff-1", model = "and-ua-651ble", address = "{cuff}" }},
    {{ thing = "oximeter-1", model = "nonin-3230", address = "{oximeter}" }},
    {{ thing = "wearable-2", model = "kerb-wearable-ble", address = "{wearable}" }},
]

[[links]]
name = "meters"
kind = "modbus"
host = "127.0.0.1"
port = {meter}
devices = [{{ thing = "meter-1", model = "eastron-sdm120", address = "1" }}]

[[links]]
name = "position"
kind = "serial"
port = "{gps}"
devices = [{{ thing = "gps-1", model = "u-blox-neo-m8" }}]
"""
# What happens in the room of the sensor node: the door is opened twice a minute, and once somebody cuts a wire.
_ROOM = {
    "wired": [
        {
            "model": "contact",
            "pins": {"contact": 14},
            "with": {"changes": [[0, 0], [5000, 1], [8000, 0]], "repeat_ms": 30000},
        },
        {"model": "contact", "pins": {"contact": 15}, "with": {"changes": [[0, 0]]}},
        {"model": "contact", "pins": {"contact": 16}, "with": {"changes": [[0, 0]]}},
        {"model": "loop", "pins": {"loop": 26}, "with": {"changes": [[0, 0], [90000, 2], [100000, 0]]}},
    ]
}
BATTERY = {"wired": [{"model": "battery", "pins": {"battery": 1}, "with": {"millivolts": 3920}}]}
_ROOM_SETTINGS = {
    "period_s": 5,
    "silence_s": 10,
    "deadband": {"temperature": 0.1, "humidity": 0.5, "pressure": 20, "co2": 20},
    "limits": [{"name": "overheat", "metric": "temperature", "above": 40, "hysteresis": 2, "output": "fan"}],
}
# The dispenser's cabinet, and a patient who presses the button two seconds after the buzzer.
_CABINET = {
    "wired": [
        {
            "model": "carousel",
            "pins": {
                "coil_1": 4, "coil_2": 5, "coil_3": 6, "coil_4": 7, "index": 10, "odd": 17, "drop": 11, "tray": 12,
                "door": 13, "button": 15, "buzzer": 16,
            },
            "with": {"memory": "cabinet.json", "patient_ms": 2000},
        }
    ]
}  # fmt: skip
_DOSE_EVERY = timedelta(minutes=5)
_PLAN = """\
device = "dispenser-1"
version = {version}
person = "Wang Xiuying"
language = "zh"
from = {begin}
until = {end}
zone = "UTC"
window_minutes = 4
least_gap_minutes = 1
doses = 28
times = [{times}]
medicines = [{{ name = {{ en = "Aspirin", zh = "阿司匹林肠溶片" }}, amount = {{ en = "1 tablet", zh = "1片" }} }}]
warnings = [{{ en = "No alcohol", zh = "不要饮酒" }}]
"""


class BlockError(Exception):
    """The block cannot be run: the message says what to do."""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass
class Child:
    """One process of the block."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0


@dataclass
class Block:
    """The processes of a block whose files are in `directory`; `hub_port` is where the hub's page is."""

    directory: Path
    hub_port: int
    cuff_period_s: float = 8.0
    page_port: int = 0  # where the gateway's page is, once prepared
    children: dict[str, Child] = field(default_factory=dict)

    def prepare(self) -> None:
        """Write the config, choose the ports, and have the gateway admit its devices."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / "block.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockError(f"another demo is running in {self.directory}; stop it, or give another folder") from None
        ports = {name: free_port() for name in ("hub_mqtt", "page", "meter", "hci", "boards", "broker")}
        self.page_port = ports["page"]
        gps = self.directory / "gps"
        config = self.directory / "gateway.toml"
        addresses = {"cuff": CUFF, "oximeter": OXIMETER, "wearable": bluetooth_address("wearable-2")}
        config.write_text(_CONFIG.format(gateway=GATEWAY, gps=gps, **addresses, **ports))
        hub_data = str(self.directory / "hub")
        hub = ["hub", "run", "--data", hub_data, "--port", str(self.hub_port), "--mqtt-port", str(ports["hub_mqtt"])]
        period = str(self.cuff_period_s)
        radio = [
            "--hci-port",
            str(ports["hci"]),
            "--boards-port",
            str(ports["boards"]),
            "--cuff",
            CUFF,
            "--oximeter",
            OXIMETER,
            "--period",
            period,
        ]
        self._add("hub", hub)
        self._add("meter-1", ["hardware.sim.meter", "--port", str(ports["meter"])])
        self._add("gps-1", ["hardware.sim.gps", "--link", str(gps)])
        self._add("radio", ["hardware.sim.ble", *radio])
        self._add("gateway", ["edge", "run", str(config)])
        self._add_device("wearable-1", "kerb-wearable", ports["broker"])
        self._add_peripheral("wearable-2", ports["boards"])
        self._add_device("room-1", "kerb-sensor-node", ports["broker"], world=_ROOM, settings=_ROOM_SETTINGS)
        key = self._prescribe("dispenser-1", datetime.now(UTC))
        settings = {"plan_key": key.hex(), "cartridge": 1}
        self._add_device("dispenser-1", "kerb-dispenser", ports["broker"], world=_CABINET, settings=settings)

    def _add(self, name: str, module: list[str]) -> None:
        self.children[name] = Child(name, [*_PYTHON, *module])

    def _add_device(self, name: str, board: str, broker: int, **files: object) -> None:
        """A device of our own: real firmware on a simulated board. The gateway signs its key, once for all its starts.

        `files`: what its launcher reads as JSON. Raises BlockError.
        """
        state = self.directory / name
        if not (state / "admission.json").exists():
            config = str(self.directory / "gateway.toml")
            (state / "admission.json").write_text(_output("edge", "admit", config, name, public_key(state)))
        line = ["--board", board, "--id", name, "--broker", f"127.0.0.1:{broker}", "--state", str(state)]
        for option, content in files.items():
            file = self.directory / f"{name}.{option}.json"
            file.write_text(json.dumps(content))
            line += [f"--{option}", str(file)]
        self._add(name, ["hardware.sim.device", *line])

    def _add_peripheral(self, name: str, radio: int) -> None:
        """A wearable that reaches the gateway by Bluetooth alone."""
        world = self.directory / f"{name}.world.json"
        world.write_text(json.dumps(BATTERY))
        line = ["--board", "kerb-wearable", "--app", "wearable_ble", "--id", name, "--broker", "127.0.0.1:1"]
        line += ["--state", str(self.directory / name), "--recording", "0", "--world", str(world)]
        self._add(name, ["hardware.sim.device", *line, "--radio", f"127.0.0.1:{radio}"])

    def _prescribe(self, name: str, now: datetime) -> bytes:
        """A medication plan for the gateway to pass on: a dose within 90 seconds, and one each five minutes.

        Returns the public key of the pharmacy that has signed it.
        """
        key = self.directory / "pharmacy.key"
        public = plans.public_key(key) if key.exists() else plans.make_key(key)
        first = now + timedelta(seconds=90)
        times = ", ".join(f'{{ at = "{first + place * _DOSE_EVERY:%H:%M}" }}' for place in range(12))
        begin, end = now - timedelta(days=1), now + timedelta(days=1)
        text = _PLAN.format(version=int(now.timestamp()) // 60, begin=_toml(begin), end=_toml(end), times=times)
        (self.directory / f"{name}.plan.toml").write_text(text, encoding="utf-8")
        folder = self.directory / "gateway" / "plans"
        folder.mkdir(parents=True, exist_ok=True)
        plan = plans.read(self.directory / f"{name}.plan.toml")
        (folder / f"{name}.plan").write_bytes(plans.sign(key, medication.encode(plan)))
        return public

    def enrol(self) -> None:
        """Wait for the hub and enrol the gateway there, once for all its starts. Raises BlockError."""
        directory = self.directory / "tls"
        new = not (directory / "gateway.pem").exists()
        token = make_token(self.directory / "hub", GATEWAY) if new else ""  # while the hub starts
        self.wait_for_hub()
        if new:
            enrol(f"http://127.0.0.1:{self.hub_port}", token, GATEWAY, directory)

    def start(self, name: str) -> None:
        """Start one child; its output goes to <name>.log."""
        child = self.children[name]
        with (self.directory / f"{name}.log").open("ab") as log:
            child.process = subprocess.Popen(
                child.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call, which no thread can hold up
                env=_environment(),
            )
        child.starts += 1

    def kill(self, name: str) -> bool:
        """End one child without a word, as a power cut would; False if there is no such process now."""
        process = self.children[name].process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def restart_dead(self) -> list[str]:
        """Start again what has ended; returns the names."""
        dead = [name for name, child in self.children.items() if child.process and child.process.poll() is not None]
        for name in dead:
            self.start(name)
        return dead

    def stop(self) -> None:
        """End every child, devices first."""
        self._end([name for name in reversed(list(self.children)) if name not in _PROGRAMS] + ["gateway", "hub"])

    def stop_devices(self) -> None:
        """End the devices; gateway and hub go on."""
        self._end([name for name in self.children if name not in _PROGRAMS])

    def _end(self, names: list[str]) -> None:
        for name in (name for name in names if name in self.children):
            process = self.children[name].process
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def hub(self, path: str) -> Any:
        """The hub's answer to GET, or None while it does not answer."""
        return get_json(f"http://127.0.0.1:{self.hub_port}{path}")

    def gateway(self, path: str = "/status.json") -> Any:
        """The gateway's answer to GET, or None while it does not answer."""
        return get_json(f"http://127.0.0.1:{self.page_port}{path}")

    def wait_for_hub(self, timeout_s: float = 30.0) -> None:
        """Return when the hub answers. Raises BlockError with the end of its log if it does not."""
        deadline = time.monotonic() + timeout_s
        while self.hub("/healthz") is None:
            process = self.children["hub"].process
            if time.monotonic() > deadline or process is None or process.poll() is not None:
                raise BlockError(f"the hub does not start; the end of its log:\n{self.tail('hub')}")
            time.sleep(0.1)

    def tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a child's log."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.directory / f"{name}.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return "(no log)"


def _toml(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def make_token(hub_data: Path, gateway: str) -> str:
    """A one-time token, as the hub's operator makes one. Raises BlockError."""
    return _output("hub", "enrol", gateway, "--data", str(hub_data))


def enrol(hub_url: str, token: str, gateway: str, directory: Path) -> None:
    """Get the gateway's key and certificates into the directory, as its technician does. Raises BlockError."""
    _output("edge", "enrol", "--hub", hub_url, "--token", token, "--id", gateway, "--dir", str(directory))


def _output(*command: str) -> str:
    done = subprocess.run([*_PYTHON, *command], capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise BlockError(f"kerb {' '.join(command[:2])} failed:\n{done.stderr.strip()}")
    return done.stdout.strip()


def get_json(url: str) -> Any:
    """The answer to GET, or None if there is none that is JSON."""
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None
