"""The sensor node: what it sends of what it measures, its inputs, its limits; and all of it on real MicroPython."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.apps import sensor_node
from firmware.apps.inputs import make_inputs
from firmware.apps.limits import Deadband, Limit
from firmware.apps.sensors import PINS, SENSORS
from firmware.core.config import Config
from firmware.drivers.contact import Debounce, SupervisedLoop
from firmware.errors import ConfigError
from hardware import boards, images
from hardware.catalogue import catalogue
from hardware.sim.chips.loop import ACTIVE, CUT, REST, SHORTED
from protocols.reading import BAD_TIMEOUT, GOOD, DecimalFraction, Reading
from tests.firmware.test_device_process import gateway, wearable

# --- what is sent ---


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(1, 50)), max_size=30), st.integers(0, 20))
def test_a_deadband_never_hides_more_than_its_width_nor_longer_than_its_silence(
    values: list[tuple[int, int]], width: int
) -> None:
    deadband = Deadband(width, 60)
    now_ms, last, at_ms = 0, None, 0
    for value, later_ms in values:
        now_ms += later_ms
        if deadband.passes(value, GOOD, now_ms):
            last, at_ms = value, now_ms
        assert last is not None
        assert abs(value - last) <= width
        assert now_ms - at_ms < 60


def test_a_failure_and_its_end_pass_a_deadband_once() -> None:
    deadband = Deadband(10, 1000)
    told = [(50, GOOD), (51, GOOD), (None, BAD_TIMEOUT), (None, BAD_TIMEOUT), (51, GOOD), (52, GOOD)]
    assert [deadband.passes(*each, now_ms=at) for at, each in enumerate(told)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(0, 9))
def test_a_limit_ends_only_beyond_its_hysteresis(values: list[int], hysteresis: int) -> None:
    limit = Limit(above=40, below=10, hysteresis=hysteresis)
    for value in values:
        before = limit.active
        changed = limit.feed(value)
        assert changed == (limit.active != before)
        if value > 40 or value < 10:
            assert limit.active
        elif 10 + hysteresis <= value <= 40 - hysteresis:
            assert not limit.active
        else:
            assert limit.active == before


# --- inputs ---


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=40))
def test_only_what_lasts_is_believed(levels: list[tuple[bool, int]]) -> None:
    debounce = Debounce(on_ms=50, off_ms=100)
    now_ms, since_ms, level = 0, 0, levels[0][0]
    debounce.feed(level, now_ms)
    for state, later_ms in levels:
        now_ms += later_ms
        if state != level:
            level, since_ms = state, now_ms
        before = debounce.state
        changed = debounce.feed(state, now_ms)
        assert changed == (debounce.state != before)
        if now_ms - since_ms >= (50 if level else 100):
            assert debounce.state == level
        elif changed:
            raise AssertionError("it did not last")


def test_a_board_without_a_pin_has_no_input_and_outputs_are_none(simulate: Any) -> None:
    made = simulate()
    pins = [each.model_dump() for each in boards.find("kerb-sensor-node").pins]
    found = make_inputs(pins, made.hal)
    assert [name for each in found for name, _ in each.states()] == [
        "door", "smoke", "tamper", "cabinet", "cabinet_tamper",
    ]  # fmt: skip


def test_a_door_that_bounces_is_told_once_and_smoke_must_last(simulate: Any) -> None:
    made = simulate()
    pins = [{"name": name, "pin": pin, "use": "input", "pull": "up"} for name, pin in (("door", 14), ("smoke", 15))]
    door, smoke = make_inputs(pins, made.hal)
    made.board.line(14).drive(0)
    made.board.line(15).drive(0)
    assert [door.look(0), smoke.look(0)] == [True, True]
    assert [*door.states(), *smoke.states()] == [("door", False), ("smoke", False)]
    changes = []
    for now_ms in range(10, 1500, 10):
        made.board.line(14).drive(1 if now_ms > 200 or now_ms % 30 == 0 else 0)
        made.board.line(15).drive(1 if now_ms < 400 or now_ms >= 700 else 0)
        changes += [(now_ms, state) for each in (door, smoke) if each.look(now_ms) for state in each.states()]
    assert changes == [(260, ("door", True)), (1200, ("smoke", True))]


@pytest.mark.parametrize(
    ("state", "active", "tampered"),
    [(REST, False, False), (ACTIVE, True, False), (CUT, False, True), (SHORTED, False, True)],
)
def test_a_loop_tells_its_four_states_apart(simulate: Any, state: int, active: bool, tampered: bool) -> None:
    """Each with every resistor off by 5 %."""
    made = simulate(wired=[{"model": "loop", "pins": {"loop": 26}, "with": {"changes": [[0, REST], [1000, state]]}}])
    for off in (0.93, 1.0, 1.07):
        loop = SupervisedLoop(made.hal.analog_in(26), on_ms=50, off_ms=50)
        for seconds in (0, 2):
            made.board.wired[0]._next = 0
            made.now_us = 0
            made.pass_time(seconds)
            line = made.board.line(26)
            line.u16 = min(65535, round(line.u16 * off)) if line.u16 < 60000 else line.u16
            for now_ms in range(0, 200, 20):
                loop.look(seconds * 1000 + now_ms)
        assert (loop.active, loop.tampered) == (active, tampered)


def test_an_alarm_outlasts_the_cut_of_its_wire() -> None:
    levels = {"now": 43690}
    loop = SupervisedLoop(SimpleNamespace(read_u16=lambda: levels["now"]), on_ms=0, off_ms=0)  # type: ignore[arg-type]
    assert loop.look(0)
    levels["now"] = 65535
    assert loop.look(10)
    assert (loop.active, loop.tampered) == (True, True)


# --- the app ---


class Kept:
    """Stands for a device: keeps what is published."""

    def __init__(self, made: Any, settings: dict[str, Any], board: str = "kerb-sensor-node"):
        self.hal = made.hal
        found = boards.find(board)
        self.config = Config(
            {
                "device": "n",
                "app": "sensor_node",
                "broker": {"host": "h", "port": 1},
                "board": found.model_dump(mode="json", include={"i2c", "chips", "pins"}, exclude_none=True),
                "settings": settings,
            }
        )
        self.clock = SimpleNamespace(monotonic_ms=lambda: made.now_us // 1000)
        self.packs: list[list[Reading]] = []
        self.lanes: list[str] = []
        self.checks: dict[str, Any] = {}

    def publish(self, readings: list[Reading], *, lane: str = "bulk") -> None:
        self.packs.append(readings)
        self.lanes.append(lane)

    def watch(self, task: str, limit_ms: int = 0) -> Any:
        return lambda: None

    def check(self, name: str, well: Any) -> None:
        self.checks[name] = well


CHIPS = [
    {"chip": "scd41", "bus": 0, "scl": 5, "sda": 4, "address": 0x62},
    {"chip": "bme280", "bus": 1, "scl": 7, "sda": 6, "address": 0x77},
]


class _EndError(Exception):
    """The test's time is over."""


async def sampled(made: Any, device: Kept, sensor: int, seconds: float) -> None:
    """Let one of the node's sensors be sampled for so long."""
    node = sensor_node._SensorNode(device)  # type: ignore[arg-type]
    end_us = made.now_us + round(seconds * 1_000_000)

    def alive(*_: Any) -> Any:
        def report() -> None:
            if made.now_us > end_us:
                raise _EndError

        return report

    device.watch = alive  # type: ignore[method-assign]
    with pytest.raises(_EndError):
        await node._sample(*node._sensors[sensor])


async def test_what_is_measured_leaves_by_deadband_and_silence(simulate: Any) -> None:
    made = simulate(chips=CHIPS)
    device = Kept(made, {"period_s": 10, "silence_s": 55, "deadband": {"temperature": 0.5}})
    await sampled(made, device, 0, 125)
    assert len(device.packs) == 3  # at once, and after a minute, and after two
    assert device.packs[0] == [
        Reading("temperature", DecimalFraction(2508, -2), "Cel", GOOD, None),
        Reading("pressure", 100653, "Pa", GOOD, None),
        Reading("humidity", device.packs[0][2].value, "%", GOOD, None),
    ]
    device.packs.clear()
    await sampled(made, device, 1, 20)
    assert [[each.metric for each in pack] for pack in device.packs] == [["co2"]]  # the BME280 has the others
    assert device.packs[0][0].value == 500


async def test_a_sensor_that_fails_is_said_to_and_comes_back(simulate: Any) -> None:
    made = simulate(chips=CHIPS)
    device = Kept(made, {"period_s": 10})
    made.board.fail(1, 0x77)
    await sampled(made, device, 0, 25)
    assert [(each.metric, each.value, each.quality) for each in device.packs[0]] == [
        (metric, None, BAD_TIMEOUT) for metric in ("temperature", "pressure", "humidity")
    ]
    assert len(device.packs) == 1
    assert device.checks["sensors"]() is False
    made.board.fail(1, 0x77, failing=False)
    await sampled(made, device, 0, 15)
    assert device.packs[-1][0].value == DecimalFraction(2508, -2)
    assert device.checks["sensors"]()


async def test_a_limit_drives_its_output_and_is_told_with_the_reading_that_passed_it(simulate: Any) -> None:
    made = simulate(chips=CHIPS)
    limits = [{"name": "overheat", "metric": "temperature", "above": 30, "hysteresis": 2.5, "output": "fan"}]
    device = Kept(made, {"period_s": 10, "deadband": {"temperature": 50}, "limits": limits})
    warm = {"raw": 519888}
    made.board.chips[1, 0x77]._climate = lambda at_us: (warm["raw"], 415148, 30000)
    node = sensor_node._SensorNode(device)  # type: ignore[arg-type]
    fan = made.board.line(17)
    _, sensor, channels, _ = node._sensors[0]
    assert sensor is SENSORS[0][1]
    for hundredths, active in ((2508, 0), (3000, 0), (3001, 1), (2800, 1), (2750, 0), (2900, 0)):
        node._publish(channels, (hundredths, 100653, 50000), GOOD)
        assert fan.level == active
    told = [[(each.metric, each.value) for each in pack] for pack in device.packs]
    assert told[1:] == [
        [("temperature", DecimalFraction(3001, -2)), ("overheat", 1)],
        [("temperature", DecimalFraction(2750, -2)), ("overheat", 0)],
    ]
    assert device.lanes == ["bulk", "urgent", "urgent"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"period_s": 0}, "period_s: 0 is not a number of 1 or more"),
        ({"period_s": "often"}, "period_s: 'often' is not a number"),
        ({"deadband": {"temperature": None}}, "temperature: None is not a number"),
        ({"limits": [{"name": "x", "metric": "light", "above": 1}]}, "needs a name and one of the metrics"),
        ({"limits": [{"name": "x", "metric": "co2", "above": 1, "output": "siren"}]}, "has no name siren"),
        ({"limits": [{"name": "x", "metric": "co2", "above": 1, "output": "door"}]}, "door is no output"),
    ],
)
def test_what_cannot_be_set_is_said(simulate: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sensor_node._SensorNode(Kept(simulate(chips=CHIPS), settings))  # type: ignore[arg-type]


def test_the_device_file_knows_what_a_node_can_tell() -> None:
    metrics = catalogue()["kerb-sensor-node"].metrics
    for name in ("bme280", "scd41", "hx711", "gps"):
        for metric in dict(SENSORS)[name].metrics:
            assert metrics[metric.name].unit == metric.unit
    for board in (boards.find(name) for name in boards.names()):
        if board.board.app == "sensor_node":
            inputs = {pin.name for pin in board.pins if pin.use != "output"} - set(PINS["hx711"])
            assert inputs <= set(metrics)


def test_the_image_has_the_drivers_that_are_loaded_when_they_are_needed() -> None:
    files = images.files("sensor_node", images.SIMULATED)
    assert {f"firmware/drivers/{name}.mpy" for name, _ in SENSORS} <= set(files)
    assert "firmware/drivers/max30102.mpy" not in files


# --- the whole of it ---


async def test_a_node_on_micropython(tmp_path: Path) -> None:
    """Climate, CO2, a door that opens and a wire that is cut, by real MicroPython and a real broker."""
    world = tmp_path / "world.json"
    door = {"changes": [[0, 0], [3000, 1]]}
    cabinet = {"changes": [[0, REST], [4000, CUT]]}
    world.write_text(
        json.dumps(
            {
                "wired": [
                    {"model": "contact", "pins": {"contact": 14}, "with": door},
                    {"model": "loop", "pins": {"loop": 26}, "with": cabinet},
                ]
            }
        )
    )
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"period_s": 3}))
    options = ["--board", "kerb-sensor-node", "--world", str(world), "--settings", str(settings)]
    seen: dict[str, list[Any]] = {}

    def told() -> bool:
        seen.clear()
        for pack in sorted(playing.packs.values(), key=lambda pack: pack.readings[0].time_ms or 0):
            for each in pack.readings:
                seen.setdefault(each.metric, []).append(each.value)
        return "co2" in seen and seen.get("cabinet_tamper") == [0, 1] and seen.get("door") == [0, 1]

    async with gateway(tmp_path) as (playing, port), wearable(tmp_path, port, *options):
        await playing.until(told)
    assert playing.births[0]["model"] == "kerb-sensor-node"
    assert "crash" not in playing.births[0]
    assert seen["co2"] == [500]
    assert seen["temperature"] == [DecimalFraction(2508, -2)]
    assert seen["cabinet"] == [0, 0]
