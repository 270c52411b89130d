"""kerb edge scan: what stands on buses, ports and the air is found, and printed as a config that loads."""

import asyncio
import os
import signal
import subprocess
import sys
import termios
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import load_config
from edge.links.modbus_rtu import RtuOverTcpLine
from edge.scan.ble import scan_air
from edge.scan.found import Fit, FoundDevice, FoundLink, blocks
from edge.scan.modbus import Bus, scan_bus
from edge.scan.search import Search, Setting
from edge.scan.serial import scan_port
from hardware.catalogue import catalogue
from hardware.sim.ble_devices import Oximeter
from hardware.sim.ble_peripherals import Setting as Place
from hardware.sim.ble_sensors import BthomeSensor
from hardware.sim.gps import bursts
from hardware.sim.meter import READ, Meter
from hardware.sim.rtu import RtuBus
from protocols.modbus import exception_response, parse_request, parse_rtu, read_response, rtu, rtu_request_size
from tests.edge.ble_room import OXIMETER, radio_room, running
from tests.edge.test_serial_frames import Device, device

HEAD = """
[gateway]
id = "g"
name = { en = "G", zh = "G" }
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
"""


class Told:
    """What a scan told of its progress."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.count = 0

    def at(self, text: str, done: int, of: int) -> None:
        assert text
        self.steps.append((done, of))

    def found(self, count: int = 1) -> None:
        self.count += count


def search(**changes: object) -> Search:
    defaults: dict[str, object] = {
        "models": catalogue(), "units": range(1, 11), "timeout_s": 0.03, "settings": [Setting(9600)], "air_s": 0.8,
        "watch": Told(), "found": [],
    }  # fmt: skip
    return Search(**(defaults | changes))


class Meters:
    """Units with simulated meters, for an RtuBus."""

    def __init__(self, models: dict[int, str]):
        self._meters = {unit: Meter(catalogue()[model]) for unit, model in models.items()}

    def __call__(self, unit: int, pdu: bytes) -> bytes | None:
        if unit not in self._meters:
            return None
        request = parse_request(pdu)
        if request.function not in READ:
            return exception_response(request.function, 1)
        span = range(request.address, request.address + request.quantity)
        meter = self._meters[unit]
        if not set(span) <= set(meter.addresses(READ[request.function])):
            return exception_response(request.function, 2)
        held = meter.read(READ[request.function], request.address, request.quantity)
        return read_response(request.function, b"".join(held.get(each, 0).to_bytes(2, "big") for each in span))


async def found_on(port: str, looking: Search) -> list[FoundLink]:
    await scan_port(port, looking)
    return [link for link in looking.found if link.devices]


def found_models(link: FoundLink) -> dict[str, tuple[str, bool]]:
    return {each.address: (each.fits[0].model.device.model, each.fits[0].sure) for each in link.devices if each.fits}


async def test_meters_on_a_serial_bus_are_found_at_their_baud_rate() -> None:
    meters = Meters({2: "eastron-sdm120", 5: "carlo-gavazzi-em340", 6: "eastron-sdm630", 9: "xy-md02"})
    bus: RtuBus

    def answer(unit: int, pdu: bytes) -> bytes | None:
        fd = os.open(bus.port, os.O_RDWR | os.O_NOCTTY)
        try:
            speed = termios.tcgetattr(fd)[5]
        finally:
            os.close(fd)
        return meters(unit, pdu) if speed == termios.B19200 else None

    settings = [Setting(9600), Setting(9600, "even"), Setting(19200), Setting(38400)]
    bus = RtuBus(answer, baud=115_200, turnaround_s=0.001)
    told = Told()
    without_talkers = {name: model for name, model in catalogue().items() if model.serial is None}
    with bus:
        [link] = await found_on(bus.port, search(models=without_talkers, settings=settings, watch=told))
    assert link.settings == {
        "kind": "modbus", "serial": {"port": bus.port, "baud": 19200, "parity": "none", "stop_bits": 1},
    }  # fmt: skip
    assert found_models(link) == {
        "2": ("eastron-sdm120", False),
        "5": ("carlo-gavazzi-em340", True),
        "6": ("eastron-sdm630", False),
        "9": ("xy-md02", False),
    }
    assert told.count == 4
    assert told.steps[-10:] == [(done, 10) for done in range(10)]


async def test_who_answers_for_every_unit_is_one_device() -> None:
    everybody = Meters(dict.fromkeys(range(256), "eastron-sdm120"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        with suppress(ConnectionResetError), closing(writer):
            while chunk := await reader.read(256):
                data += chunk
                while (size := rtu_request_size(data)) is not None and len(data) >= size:
                    unit, pdu = parse_rtu(data[:size])
                    data = data[size:]
                    writer.write(rtu(unit, everybody(unit, pdu) or b""))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bus = Bus(RtuOverTcpLine("127.0.0.1", port, lambda: 0, lambda _: None), 0.5)
        devices: list[FoundDevice] = []
        await scan_bus(bus, search(units=range(1, 248)), devices)
        [only] = devices
        bus.close()
    assert (only.address, only.fits[0].model.device.model, only.said) == (
        "1", "eastron-sdm120", "answers for every unit id",
    )  # fmt: skip


async def test_an_unknown_unit_is_a_comment() -> None:
    bus = RtuBus(lambda unit, pdu: exception_response(pdu[0], 2) if unit == 3 else None, turnaround_s=0.001)
    without_talkers = {name: model for name, model in catalogue().items() if model.serial is None}
    with bus:
        [link] = await found_on(bus.port, search(models=without_talkers, units=[2, 3, 4]))
    assert [(each.address, each.fits) for each in link.devices] == [("3", [])]
    text = blocks([link])
    assert tomllib.loads(text) == {}
    assert "# 3 fits no known model: answers Modbus requests" in text


@contextmanager
def saying(line: Device, said: bytes, every_s: float) -> Iterator[None]:
    async def talk() -> None:
        while True:
            line.say(said)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()


async def test_a_receiver_is_known_by_its_sentences() -> None:
    with device() as line, saying(line, b"\xff\x00noise$GP" + next(bursts(1, lambda: 1_790_000_000_000)), 0.1):
        [link] = await found_on(line.port, search())
    assert link.settings == {"kind": "serial", "port": line.port}
    assert found_models(link) == {"": ("u-blox-neo-m8", False)}


async def test_a_sensor_that_answers_is_known_by_its_answer() -> None:
    with device() as line:

        async def answer() -> None:
            heard = b""
            while True:
                heard += line.heard()
                if bytes.fromhex("FF0186000000000079") in heard:
                    line.say(bytes.fromhex("FF86 03 20 12 34 00 00 11".replace(" ", "")))
                    heard = b""
                await asyncio.sleep(0.01)

        async with running(answer()):
            [link] = await found_on(line.port, search())
    assert found_models(link) == {"": ("winsen-mh-z19b", False)}


async def test_devices_are_known_by_what_they_advertise(tmp_path: Path) -> None:
    sealed = "C0:00:00:00:00:08"
    models = {name: model for name, model in catalogue().items() if name != "and-ut-201ble-a"}
    async with radio_room(tmp_path) as room, room.device(Oximeter, OXIMETER):
        sensor = BthomeSensor(catalogue()["shelly-blu-ht"], Place(room.link, "C0:00:00:00:00:07", 0.1))
        other = BthomeSensor(catalogue()["shelly-blu-ht"], Place(room.link, sealed, 0.1), key=bytes(16))
        async with running(sensor.run()), running(other.run()):
            looking = search(models=models)
            await scan_air(f"hci:{room.transport}", looking)
    [link] = looking.found
    assert link.settings == {"kind": "ble", "adapter": f"hci:{room.transport}"}
    assert found_models(link) == {
        OXIMETER: ("nonin-3230", True),
        "C0:00:00:00:00:07": ("shelly-blu-ht", False),
        sealed: ("shelly-blu-ht", False),
    }
    [note] = [each.said for each in link.devices if each.address == sealed]
    assert "FCD2" in note
    assert "key_file" in note


NAMES = st.text(max_size=30)
DEVICES = st.lists(
    st.tuples(NAMES, st.lists(st.sampled_from(sorted(catalogue())), max_size=3), NAMES).map(
        lambda each: FoundDevice(each[0], [Fit(catalogue()[name], sure=False) for name in each[1]], each[2])
    ),
    max_size=4,
)


@given(st.lists(st.tuples(NAMES, DEVICES).map(lambda each: FoundLink({"kind": "ble", "adapter": each[0]}, each[1]))))
def test_whatever_names_are_on_the_air_the_blocks_are_toml_with_just_the_devices(links: list[FoundLink]) -> None:
    told = tomllib.loads(blocks(links)).get("links", [])
    wanted = [link for link in links if any(each.fits for each in link.devices)]
    assert [each["adapter"] for each in told] == [link.settings["adapter"] for link in wanted]
    things = []
    for link, said in zip(wanted, told, strict=True):
        known = [each for each in link.devices if each.fits]
        assert [each["model"] for each in said["devices"]] == [each.fits[0].model.device.model for each in known]
        things += [each["thing"] for each in said["devices"]]
    assert len(things) == len(set(things))


@contextmanager
def meter(*arguments: str) -> Iterator[int]:
    command = [sys.executable, "-m", "hardware.sim.meter", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.terminate()


def kerb(*arguments: str, language: str = "C") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge", "scan", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"LC_ALL": language},
    )  # fmt: skip


def test_the_command_prints_a_config_that_loads(tmp_path: Path) -> None:
    with meter("--unit", "7") as first, meter("--model", "carlo-gavazzi-em340") as second:
        ports = [f"--tcp=127.0.0.1:{port}" for port in (first, second)]
        done = kerb(*ports, "--units", "1,6-7", "--timeout-ms", "150")
    assert done.returncode == 0
    assert "unit 1 of 7" in done.stderr
    (tmp_path / "gateway.toml").write_text(HEAD + done.stdout)
    links = load_config(tmp_path / "gateway.toml").links
    assert [(link.where, device.model, device.address) for link in links for device in link.devices] == [
        (f"127.0.0.1:{first}", "eastron-sdm120", "7"),
        (f"127.0.0.1:{second}", "carlo-gavazzi-em340", "1"),
    ]


def test_what_was_found_before_an_interruption_is_printed() -> None:
    with meter("--unit", "2") as port:
        command = [sys.executable, "-m", "edge", "scan", "--tcp", f"127.0.0.1:{port}", "--units", "2,9-247"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            while "1 found" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert [each["model"] for link in tomllib.loads(said)["links"] for each in link["devices"]] == ["eastron-sdm120"]
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--tcp", "127.0.0.1:1"], 2, "kerb edge: no connection to 127.0.0.1:1"),
        (["--serial", "/dev/absent"], 2, "cannot open /dev/absent"),
        (["--ble", "hci:tcp-client:127.0.0.1:1"], 2, "127.0.0.1"),
        (["--tcp", "host:x"], 2, "x is no port"),
        (["--units", "1-x"], 2, "is no list of numbers"),
        (["--parities", "mark"], 2, "none, even or odd"),
    ],
)
def test_what_cannot_be_scanned_is_said(arguments: list[str], code: int, said: str) -> None:
    done = kerb(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_found_is_said_in_the_readers_language() -> None:
    with meter() as port:
        done = kerb("--tcp", f"127.0.0.1:{port}", "--units", "9", "--timeout-ms", "100", language="zh_CN.UTF-8")
    assert (done.returncode, done.stdout) == (0, f"# 在 127.0.0.1:{port} 上未找到任何设备。\n")
