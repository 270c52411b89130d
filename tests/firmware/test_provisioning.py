"""Provisioning a real device (MicroPython) over a cable, by the command line that a technician uses."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.parts.new_device import BOARD, DEVICE, Cable, hold, on_a_cable, powered, produce, untouched
from edge.errors import ProvisionError
from edge.provision import conversation
from edge.provision.conversation import provision
from edge.provision.serial_line import serial_line
from hardware.sim.device import ROOT
from protocols.provisioning import content, wire
from protocols.provisioning.content import Description, Provision
from runtime.label import Label

PASSWORD = "correct horse battery staple"
CONFIG = {
    "device": DEVICE,
    "app": "wearable",
    "broker": {"host": "192.0.2.1", "port": 8884},
    "board": {},
    "wifi": {"ssid": "ward", "password": PASSWORD},
}


class Bench:
    """A new device on a cable, and a technician without a gateway."""

    def __init__(self, state: Path, cable: Cable):
        self.state = state
        self.label = produce(state)
        self.cable = cable
        self.process: asyncio.subprocess.Process
        self._power = AsyncExitStack()

    async def start(self, but: str = "") -> None:
        opening = powered(self.state, console=self.cable.console, but=but)
        self.process = await self._power.enter_async_context(opening)
        await self.cable.until(b"waits on", b"kerb 0.1.0 wearable wearable-7", b"main:")

    async def stop(self) -> None:
        await self._power.aclose()

    async def start_again(self, but: str = "") -> None:
        await self.stop()
        await self.start(but)

    async def provision(self, config: dict[str, Any] = CONFIG, label: Label | None = None) -> Description:
        given = Provision(config, b"certificate", b"ca")
        async with serial_line(self.cable.port) as line:
            return await provision(line, label or self.label, lambda _: given, lambda _: None)

    def config(self) -> Any:
        path = self.state / "config.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    async with on_a_cable() as cable:
        bench = Bench(tmp_path / "device", cable)
        await bench.start()
        yield bench
        await bench.stop()


GATEWAY = """\
[gateway]
id = "gw"
name = { en = "Ward 3", zh = "三病区" }
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
[[links]]
name = "gps"
kind = "serial"
port = "/dev/null"
devices = [{ thing = "gps", model = "u-blox-neo-m8" }]
"""


async def test_a_technician_provisions_a_device(tmp_path: Path) -> None:
    label = produce(tmp_path / "device")
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    (tmp_path / "label").write_text(label.text() + "\n")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "settings").write_text('{"deadband": 5}')
    async with on_a_cable() as cable, powered(tmp_path / "device", console=cable.console) as device:
        await cable.until(b"waits on")
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge", "provision", str(tmp_path / "gateway.toml"), "--serial", cable.port,
            "--label-file", str(tmp_path / "label"), "--host", "192.0.2.1", "--wifi", "ward",
            "--wifi-password-file", str(tmp_path / "password"), "--settings", str(tmp_path / "settings"),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await command.communicate()
        assert command.returncode == 0, err.decode()
        assert await device.wait() == 75  # it starts anew
        traffic = b"".join(message for _, message in cable.heard)
    assert "is provisioned, in" in err.decode()
    assert out.decode().splitlines()[2:] == [
        "[[links]]",
        'name = "devices"',
        'kind = "mqtt"',
        'host = "0.0.0.0"',
        "",
        "[[links.devices]]",
        'thing = "wearable-7"',
        'model = "kerb-wearable"',
    ]
    config = json.loads((tmp_path / "device" / "config.json").read_text())
    assert config["broker"] == {"host": "192.0.2.1", "port": 8884}
    assert config["wifi"] == {"ssid": "ward", "password": PASSWORD}
    assert config["settings"] == {"deadband": 5}
    assert config["board"]["chips"][0]["chip"] == "max30102"
    admission = json.loads((tmp_path / "device" / "admission.json").read_text())
    certificate = x509.load_der_x509_certificate(bytes.fromhex(admission["certificate"]))
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(bytes.fromhex(admission["ca"])))
    point = certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    private = (tmp_path / "device" / "key.der").read_bytes()
    assert private.endswith(point)
    for secret in (private[7:39], label.secret, PASSWORD.encode(), b"192.0.2.1", point):
        assert secret not in traffic
        for form in (secret, secret.hex().encode()):
            assert form not in cable.log + out + err


async def test_a_device_says_what_it_is(device: Bench) -> None:
    assert (await device.provision())[:2] == (BOARD, "0.1.0")


CHANGED = "changed on the way|does not know the secret"
UNKNOWN = "before the device said whether"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, CHANGED),  # hello
        (1, "this is the label of another device|" + CHANGED),  # challenge
        (2, CHANGED),  # proof
        (3, CHANGED),  # answer
        (4, CHANGED),  # describe
        (5, CHANGED),  # description
        (6, UNKNOWN),  # config
        (7, UNKNOWN),  # result: what the device has taken is the technician's
    ],
)
async def test_whoever_changes_a_message_changes_nothing_else(device: Bench, number: int, said: str) -> None:
    count = 0

    def change(message: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        return [message[:-1] + bytes([message[-1] ^ 1]) if count == number + 1 else message]

    device.cable.to_device = device.cable.to_technician = change
    with pytest.raises(ProvisionError, match=said):
        await device.provision()
    assert device.config() == (CONFIG if number == 7 else None)
    if number < 7:
        device.cable.to_device = device.cable.to_technician = untouched
        await device.provision()
        assert device.config() == CONFIG


async def test_what_was_recorded_is_of_no_use(device: Bench) -> None:
    """Every message of one session is played to the device again, in the same order, and each alone in a new one."""
    await device.provision({**CONFIG, "wifi": {"ssid": "first", "password": "x"}})
    recorded = [message for to_device, message in device.cable.heard if to_device]
    hold(device.state, held=True)
    await device.start_again()
    for message in recorded:
        device.cable.tell_device(message)
    for message in recorded[1:]:
        device.cable.to_device = lambda original, message=message: [original, message]  # type: ignore[misc]
        with pytest.raises(ProvisionError):
            await device.provision()
    assert device.config()["wifi"]["ssid"] == "first"


async def test_failed_attempts_are_counted_also_when_the_power_is_cut(device: Bench) -> None:
    """The count is on flash before the answer is on the line: nobody gets more attempts by pulling the plug."""
    stranger = Label.make(DEVICE)
    for _ in range(3):
        with pytest.raises(ProvisionError, match="does not know the secret"):
            await device.provision(label=stranger)
        await device.start_again()
    for label in (stranger, device.label):
        with pytest.raises(ProvisionError, match="wants 1 seconds"):
            await device.provision(label=label)
    await asyncio.sleep(1)  # what it wants
    await device.provision()
    assert (device.state / "failed-console").read_text() == "0"


async def test_the_count_is_on_flash_before_the_answer_is_on_the_line(device: Bench) -> None:
    counts = []

    def look(message: bytes) -> list[bytes]:
        if message[0] == wire.REFUSED:
            counts.append((device.state / "failed-console").read_text())
        return [message]

    device.cable.to_technician = look
    with pytest.raises(ProvisionError, match="does not know the secret"):
        await device.provision(label=Label.make(DEVICE))
    assert counts == ["1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "another"}, "device: is not wearable-7"),
        ({"app": "nothing"}, "app: there is no app nothing"),
        ({"broker": {"host": "192.0.2.1"}}, "broker.port: is missing"),
    ],
)
async def test_a_config_that_cannot_be_used_is_refused_with_the_reason(
    device: Bench, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProvisionError, match=said):
        await device.provision({**CONFIG, **change})
    assert device.config() is None
    assert not (device.state / "admission.json").exists()
    await device.provision()


async def test_a_config_as_long_as_can_be(device: Bench) -> None:
    rest = {**CONFIG, "more": "x" * 5700}
    await device.provision(rest)
    assert device.config() == rest
    with pytest.raises(ProvisionError, match="would have"):
        await device.provision({**CONFIG, "more": "x" * 6000})


async def test_the_cable_is_pulled(device: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_S", 0.3)
    device.cable.to_technician = lambda message: []
    with pytest.raises(ProvisionError, match="does not answer"):
        await device.provision()
    monkeypatch.undo()
    device.cable.to_technician = untouched
    await device.provision()


@pytest.mark.parametrize("there", [[], ["admission.json"], ["admission.json", "config.json"]])
async def test_it_ends_what_a_loss_of_power_has_cut_off(tmp_path: Path, there: list[str]) -> None:
    """All that it was given lies on flash in one piece before anything of it is used."""
    state = tmp_path / "device"
    produce(state)
    for name in there:
        (state / name).write_text("{}")
    (state / "provision.json").write_bytes(content.encode_provision(Provision(CONFIG, b"certificate", b"ca")))
    async with powered(state) as process:
        assert await process.wait() == 75
    assert json.loads((state / "config.json").read_text()) == CONFIG
    admission = json.loads((state / "admission.json").read_text())
    assert admission == {"certificate": b"certificate".hex(), "ca": b"ca".hex()}
    assert not (state / "provision.json").exists()


async def test_provisioned_again_with_the_label_when_its_button_is_held(device: Bench) -> None:
    await device.provision()
    key = (device.state / "key.der").read_bytes()
    hold(device.state, held=True)
    await device.start_again()
    with pytest.raises(ProvisionError, match="does not know the secret"):
        await device.provision(label=Label.make(DEVICE))
    again = {**CONFIG, "broker": {"host": "192.0.2.2", "port": 8884}}
    await device.provision(again)
    assert device.config() == again
    assert (device.state / "key.der").read_bytes() == key


async def test_without_its_button_it_begins_its_work(device: Bench) -> None:
    await device.provision()
    await device.start_again()
    assert b"kerb 0.1.0 wearable wearable-7" in device.cable.log


async def test_a_button_that_is_stuck_keeps_it_from_its_work_for_a_while_only(device: Bench) -> None:
    await device.provision()
    hold(device.state, held=True)
    await device.start_again(but="from firmware.core import provisioning; provisioning._PATIENCE_S = 1")
    await device.cable.until(b"nobody came; the device goes on as it was")
    assert await device.process.wait() == 75
    for held, begins in ((True, b"kerb 0.1.0 wearable"), (False, b"kerb 0.1.0 wearable"), (True, b"waits on console")):
        hold(device.state, held=held)
        await device.stop()
        opening = powered(device.state, console=device.cable.console)
        async with opening:
            await device.cable.until(begins)


async def test_a_device_without_a_label_says_so(tmp_path: Path) -> None:
    produce(tmp_path / "device")
    (tmp_path / "device" / "label.json").unlink()
    async with on_a_cable() as cable, powered(tmp_path / "device", console=cable.console) as process:
        await cable.until(b"label.json: is missing: the device was never given the secret")
        assert await process.wait() == 75
