"""What one connected device may say, and what it can be told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from bumble.att import ATT_Error, Attribute
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ActionFailed, ActionRefused
from edge.links.base import Attached
from edge.links.ble_records import RecordMemory
from edge.links.ble_session import Session
from edge.links.ble_time import DeviceClock
from edge.links.condition import Condition
from hardware.catalogue import Command, DeviceModel, catalogue
from protocols import gatt
from protocols.reading import BAD, BAD_RANGE, DecimalFraction, to_float
from tests.edge.ble_room import (  # fmt: skip
    KILOPASCAL,
    MODELS,
    NOW_MS,
    OXIMETER,
    OXIMETER_MODEL,
    FixedOximeter,
    Room,
    radio_room,
    running,
)
from tests.edge.recorder import Recorder

CONNECTED = {name: model for name, model in catalogue().items() if model.ble and not model.ble.advertises}
LEVEL = 0x2AF9  # Generic Level, which stands for what can be set


class Desk:
    """A session without a radio: what arrives goes in by hand."""

    def __init__(self, model: DeviceModel):
        self.told = Recorder()
        here = Attached("device", model, OXIMETER)
        self.session = Session(
            cast(Any, None),
            here,
            intake=self.told,
            condition=Condition(here, self.told),
            memory=RecordMemory("device", {}, size=8),
            clock=DeviceClock(lambda: NOW_MS, ZoneInfo("UTC")),
        )

    def arrives(self, uuid16: int, data: bytes) -> None:
        self.session._arrived(uuid16, data)


@pytest.mark.parametrize("name", CONNECTED)
def test_any_bytes_are_taken_or_counted(name: str):
    model = CONNECTED[name]
    assert model.ble

    @given(st.sampled_from((*model.ble.characteristics, gatt.RECORD_ACCESS_CONTROL_POINT)), st.binary(max_size=30))
    def check(uuid16: int, data: bytes) -> None:
        desk = Desk(model)
        desk.arrives(uuid16, data)
        refused = desk.told.counts["decode_errors", "device"]
        assert refused in (0, 1)
        assert not (refused and desk.told.readings)
        for _, each in desk.told.readings:
            metric = model.metrics[each.metric]
            assert each.unit == metric.unit
            assert each.time_ms is not None
            assert each.time_ms <= NOW_MS
            assert (each.value is None) == (each.quality & 0x7F >= BAD)
            if metric.range and each.value is not None:
                assert metric.range[0] <= to_float(cast(Any, each.value)) <= metric.range[1]

    check()


def test_a_cuff_set_to_kilopascal_is_understood():
    desk = Desk(CONNECTED["and-ua-651ble"])
    desk.arrives(gatt.BLOOD_PRESSURE_MEASUREMENT, KILOPASCAL)  # 16, 11 and 13 kPa
    assert [each.value for _, each in desk.told.readings] == [120, 83, 98]


def test_control_solution_is_nobodys_blood():
    desk = Desk(CONNECTED["accu-chek-guide"])
    desk.arrives(gatt.GLUCOSE_MEASUREMENT, bytes.fromhex("060100ea0903010800 0037c0 4a".replace(" ", "")))
    [(_, only)] = desk.told.readings
    assert only.value is None
    assert only.quality & 0x7F >= BAD


def test_what_no_meter_can_measure_is_bad():
    desk = Desk(CONNECTED["accu-chek-guide"])
    desk.arrives(gatt.GLUCOSE_MEASUREMENT, bytes.fromhex("060100ea09030108000055e111"))  # 341 mmol/L
    [(_, only)] = desk.told.readings
    assert (only.value, only.quality & 0x7F) == (None, BAD_RANGE)


def test_the_context_has_the_time_of_its_measurement_and_comes_once():
    desk = Desk(CONNECTED["accu-chek-guide"])
    measurement, context = bytes.fromhex("160100ea09030108000037c011"), bytes.fromhex("02010001")
    for _ in range(2):
        desk.arrives(gatt.GLUCOSE_MEASUREMENT, measurement)
        desk.arrives(gatt.GLUCOSE_MEASUREMENT_CONTEXT, context)
    assert [(each.metric, each.value) for _, each in desk.told.readings] == [
        ("glucose", DecimalFraction(55, -1)), ("meal", "before_meal"),
    ]  # fmt: skip
    assert len({each.time_ms for _, each in desk.told.readings}) == 1
    desk.arrives(gatt.GLUCOSE_MEASUREMENT_CONTEXT, bytes.fromhex("02070001"))
    assert desk.told.counts["decode_errors", "device"] == 1


def test_stored_records_without_a_date_come_once_though_they_are_given_each_time():
    desk = Desk(CONNECTED["plx-spot-check"])
    for _ in range(3):
        desk.arrives(gatt.PLX_SPOT_CHECK_MEASUREMENT, bytes.fromhex("0061004800"))
    assert [each.metric for _, each in desk.told.readings] == ["oxygen_saturation", "pulse_rate"]
    assert desk.told.counts["repeated_records", "device"] == 2


class Settable(FixedOximeter):
    """An oximeter with a level that can be set up to 100; the rest is refused."""

    level = b"\x00"
    step = 1  # to which it rounds
    writes = 0
    answers = True

    def more_characteristics(self):
        def write(_connection: Connection, value: bytes) -> None:
            self.writes += 1
            if value[0] > 100:
                raise ATT_Error(0x80, "out of range")
            self.level = bytes([value[0] // self.step * self.step])

        def read(_connection: Connection) -> bytes:
            return self.level if self.answers else self.level * 3

        permissions = Attribute.Permissions.READABLE | Attribute.Permissions.WRITEABLE
        properties = Characteristic.Properties.READ | Characteristic.Properties.WRITE
        value = CharacteristicValue(read=read, write=write)
        return [Characteristic(UUID.from_16_bits(LEVEL), properties, permissions, value)]


def command(**more: object) -> Command:
    given = {"name": {"en": "Level", "zh": "级别"}, "characteristic": LEVEL, "type": "uint8", **more}
    return Command.model_validate(given)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


async def test_a_command_writes_once_and_reads_back(room: Room):
    model = OXIMETER_MODEL.model_copy(update={"commands": {"level": command()}})
    MODELS[Settable] = model
    link = room.gateway(Attached("oximeter", model, OXIMETER))
    with pytest.raises(ActionRefused, match="not connected"):
        await link.act("oximeter", command(), 7)
    async with room.device(Settable, OXIMETER) as device, running(link.run()):
        await room.told.until(lambda: "online" in room.told.states_of("oximeter"))
        await asyncio.sleep(0.05)
        assert await link.act("oximeter", command(), 42) == 42
        assert await link.act("oximeter", command(), 43.0) == 43
        assert await link.act("oximeter", command(read_back=False), 44) is None
        assert device.writes == 3
        assert device.level == bytes([44])
        for value, reason in ((101, "refuses"), (256, "out of range"), (1.5, "uint8"), ("7", "no number")):
            with pytest.raises(ActionRefused, match=reason):
                await link.act("oximeter", command(), value)
        assert device.writes == 4  # what does not fit is not even tried
        with pytest.raises(ActionRefused, match="2AFA"):
            await link.act("oximeter", command(characteristic=0x2AFA), 1)
        device.step = 10
        assert await link.act("oximeter", command(), 30) == 30
        with pytest.raises(ActionFailed, match="reads back as 40"):
            await link.act("oximeter", command(), 42)
        device.answers = False
        with pytest.raises(ActionFailed, match="3 bytes"):
            await link.act("oximeter", command(), 1)
        with pytest.raises(ActionRefused, match="no device"):
            await link.act("cuff", command(), 1)
