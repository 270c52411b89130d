"""Sensors that only advertise: BTHome, plain and encrypted, by way of the radio and of the link's own entrance."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ActionRefused, ConfigError
from edge.links.base import Attached
from edge.links.ble import BleLink
from edge.links.ble_sensor import Sensor, SensorKey
from edge.links.bleak_radio import Heard
from hardware.catalogue import Command, catalogue
from hardware.sim.ble_peripherals import Setting
from hardware.sim.ble_sensors import BthomeSensor
from protocols import bthome
from protocols.reading import BAD_RANGE, GOOD, DecimalFraction, Reading, reading
from tests.edge.ble_room import NOW_MS, Room, radio_room, running
from tests.edge.recorder import Recorder

SENSOR = "C0:54:48:E6:8F:80"
KEY = "231d39c1d7cc1ab1aee224cd096db932"
MODEL = catalogue()["shelly-blu-ht"]
HERE = Attached("room", MODEL, SENSOR)
T215 = reading("temperature", DecimalFraction(215, -1), "Cel")
T216 = reading("temperature", DecimalFraction(216, -1), "Cel")


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


class Desk:
    """A sensor's entrance without a radio, and a clock to turn."""

    def __init__(self, key: str | None = None, told: Recorder | None = None):
        self.told = told or Recorder()
        self.now = NOW_MS
        opener = SensorKey("room", SENSOR, key) if key else None
        self.sensor = Sensor(HERE, key=opener, intake=self.told, clock=lambda: self.now, cursors=self.told.cursors)

    def hear(self, data: bytes) -> None:
        self.sensor.advertises(Heard(SENSOR, None, {bthome.SERVICE: data}, frozenset(), -50, cast(Any, None)))

    def values(self, metric: str) -> list[object]:
        return [each.value for each in self.told.of("room", metric)]


def sealed(counter: int, readings: list[Reading], key: str = KEY) -> bytes:
    cipher = AESCCM(bytes.fromhex(key), tag_length=4)
    address = bytes.fromhex(SENSOR.replace(":", ""))
    return bthome.encode(
        readings,
        counter=counter,
        seal=lambda info, count, plain: cipher.encrypt(bthome.nonce(address, info, count), plain, None),
    )


class Steady(BthomeSensor):
    """A sensor that measures the same each time."""

    def readings(self) -> list[Reading]:
        return [T215]


@pytest.mark.parametrize("key", [None, KEY])
async def test_what_a_sensor_advertises_becomes_readings_once_each(room: Room, key: str | None):
    sensor = Steady(MODEL, Setting(room.link, SENSOR, 0.35), bytes.fromhex(key) if key else None)
    keys = {"room": key} if key else {}
    async with running(room.gateway(HERE, **keys).run()), running(sensor.run()):
        await room.told.until(lambda: len(room.told.readings) == 3)
        assert room.told.states_of("room") == ["waiting", "online"]
    assert sensor.counter in (3, 4)
    assert set(room.told.readings) == {
        ("room", Reading("temperature", DecimalFraction(215, -1), "Cel", GOOD, NOW_MS)),
    }


async def test_a_sensor_made_from_its_file_says_what_the_file_declares(room: Room):
    desk = Desk(KEY)
    desk.hear(BthomeSensor(MODEL, Setting(room.link, SENSOR, 1.0), bytes.fromhex(KEY)).measure())
    assert {each.metric for _, each in desk.told.readings} == {"temperature", "humidity", "battery_level"}
    assert all(each.quality == GOOD for _, each in desk.told.readings)


def test_repetitions_are_left_out_by_their_packet_id():
    desk = Desk()
    for packet in (1, 1, 1, 2, 2):
        desk.hear(bthome.encode([T215], packet_id=packet))
        desk.now += 60_000
    assert len(desk.values("temperature")) == 2


def test_without_a_packet_id_the_same_bytes_are_one_event_for_five_seconds():
    desk = Desk()
    press = bytes.fromhex("443a01")
    for _ in range(5):
        desk.hear(press)
        desk.now += 900
    assert desk.values("button") == ["press"]
    desk.now += 1000
    desk.hear(press)
    assert desk.values("button") == ["press", "press"]


def test_a_counter_that_goes_back_is_refused_also_after_a_restart():
    desk = Desk(KEY)
    desk.hear(sealed(10, [T215]))
    desk.hear(sealed(10, [T215]))  # said again, which is no replay
    desk.hear(sealed(9, [T216]))
    assert desk.told.counts["replayed_advertisements", "room"] == 1
    again = Desk(KEY, desk.told)
    again.hear(sealed(9, [T216]))
    again.hear(sealed(10, [T215]))
    assert desk.told.counts["replayed_advertisements", "room"] == 2
    again.hear(sealed(11, [T216]))
    assert desk.values("temperature") == [T215.value, T216.value]


def test_a_new_key_begins_a_new_count():
    desk = Desk(KEY)
    desk.hear(sealed(1000, [T215]))
    other = "00" * 16
    renewed = Desk(other, desk.told)
    renewed.hear(sealed(1, [T216], key=other))
    assert desk.values("temperature") == [T215.value, T216.value]


def test_what_was_not_sealed_with_the_key_is_refused_and_changes_nothing():
    desk = Desk(KEY)
    forged = bytearray(sealed(5, [T215]))
    forged[2] ^= 1
    desk.hear(bytes(forged))
    desk.hear(sealed(0xFFFFFFFF, [T215], key="00" * 16))  # would shut out the sensor if its counter were believed
    assert desk.told.counts["checksum_errors", "room"] == 2
    desk.hear(bthome.encode([T215]))
    assert desk.told.counts["decode_errors", "room"] == 1
    assert not desk.told.readings
    desk.hear(sealed(6, [T216]))
    assert desk.values("temperature") == [T216.value]


def test_what_is_encrypted_without_a_key_here_is_refused():
    desk = Desk()
    desk.hear(sealed(1, [T215]))
    assert desk.told.counts["decode_errors", "room"] == 1
    [(_, state, reason)] = desk.told.states
    assert state == "offline"
    assert "there is no key" in reason


def test_a_value_beyond_the_models_range_is_bad():
    desk = Desk()
    desk.hear(bthome.encode([reading("temperature", DecimalFraction(3000, -2), "Cel")]))
    desk.hear(bytes.fromhex("4002ff7f"))  # 327.67 degrees Celsius
    [good, bad] = desk.told.of("room", "temperature")
    assert good.quality == GOOD
    assert (bad.value, bad.quality) == (None, BAD_RANGE)


def test_unknown_objects_are_counted_and_what_came_before_is_taken():
    desk = Desk()
    desk.hear(bytes.fromhex("400161ee00"))
    assert desk.values("battery_level") == [97]
    assert desk.told.counts["unknown_objects", "room"] == 1


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_taken_or_counted(data: bytes, keyed: bool):
    desk = Desk(KEY if keyed else None)
    desk.hear(data)
    counted = desk.told.counts["decode_errors", "room"] + desk.told.counts["checksum_errors", "room"]
    assert counted == (desk.told.states_of("room") != ["online"])
    for _, each in desk.told.readings:
        if each.metric in ("humidity", "battery_level"):
            assert each.value is None or 0 <= each.value <= 100
    assert keyed <= (not desk.told.readings)  # nobody guesses a seal of 32 bits within these tries


@pytest.mark.parametrize("key", ["", "231d", "zz" * 16, KEY + "00"])
def test_a_key_that_is_none_is_refused(key: str):
    with pytest.raises(ConfigError, match="room: its key must be 16 bytes in hex"):
        BleLink(
            name="ble", adapter="bluez", devices=[HERE], keys={"room": key}, intake=Recorder(), clock=lambda: NOW_MS
        )


async def test_a_sensor_takes_no_commands():
    command = Command.model_validate({"name": {"en": "a", "zh": "a"}, "characteristic": 0x2A56})
    with pytest.raises(ActionRefused, match="only advertises"):
        await Desk().sensor.act(command, 1)


async def test_a_sensor_of_which_all_is_refused_is_offline_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    """As after a change of its battery, when it counts from the beginning: it needs a new key."""
    monkeypatch.setattr("edge.links.ble_sensor.SILENT_S", 0.1)
    desk = Desk(KEY)
    desk.hear(sealed(10, [T215]))
    async with running(desk.sensor.run(cast(Any, SimpleNamespace()))):
        while "offline" not in desk.told.states_of("room"):
            desk.hear(sealed(1, [T216]))
            await asyncio.sleep(0.02)
        assert desk.told.states[-1] == ("room", "offline", "what it says is refused: counter 1 after 10")
        desk.hear(sealed(11, [T216]))
        assert desk.told.states_of("room")[-1] == "online"


async def test_a_sensor_that_sends_by_the_clock_is_missed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edge.links.ble_sensor.SILENT_S", 0.05)
    desk = Desk()
    desk.hear(bthome.encode([T215]))
    async with running(desk.sensor.run(cast(Any, SimpleNamespace()))):
        await desk.told.until(lambda: "offline" in desk.told.states_of("room"))
