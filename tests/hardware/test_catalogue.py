"""Every device file: it loads, its examples decode to what they say, and a mistake in it is named where it stands."""

from pathlib import Path

import pytest

from edge.links.modbus_blocks import Block, Field, blocks_of, readings_of
from hardware.catalogue import DEVICES, DeviceModel, Example, catalogue, load_device
from hardware.sim.meter import Meter
from protocols import gatt, nmea
from protocols.reading import BAD, Reading, to_float
from runtime.toml import TomlFileError

MODELS = catalogue()


def decode_modbus(model: DeviceModel, example: Example) -> list[Reading]:
    metric = model.metrics[example.metric]
    raw = bytes.fromhex(example.raw)
    registers = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
    assert metric.register_ is not None
    assert model.modbus is not None
    field = Field(example.metric, metric.unit, metric.register_)
    block = Block(metric.register_.table, field.span[0], len(registers), (field,))
    return readings_of(block, registers, model.modbus, 0)


def decode_serial(_model: DeviceModel, example: Example) -> list[Reading]:
    return nmea.decode(nmea.parse(example.raw))


def decode_ble(_model: DeviceModel, example: Example) -> list[Reading]:
    assert example.characteristic is not None
    return gatt.decode(example.characteristic, bytes.fromhex(example.raw))


DECODERS = {"modbus": decode_modbus, "serial": decode_serial, "ble": decode_ble}
EXAMPLES = [
    pytest.param(model, example, id=f"{name}-{number}-{example.metric}")
    for name, model in MODELS.items()
    for number, example in enumerate(model.examples)
]


def test_every_file_is_a_model() -> None:
    assert set(MODELS) == {path.stem for path in DEVICES.glob("*.toml")}
    assert len(MODELS) >= 5


@pytest.mark.parametrize(("model", "example"), EXAMPLES)
def test_example(model: DeviceModel, example: Example) -> None:
    decoded = {each.metric: each for each in DECODERS[model.device.link](model, example)}
    assert example.metric in decoded
    found = decoded[example.metric]
    assert found.quality < BAD
    assert to_float(found.value) == pytest.approx(example.value, rel=1e-6)
    assert found.unit == model.metrics[example.metric].unit


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.device.link != "mqtt"])
def test_every_model_that_we_decode_has_an_example(name: str) -> None:
    assert MODELS[name].examples


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.modbus])
def test_the_simulator_holds_what_the_gateway_reads(name: str) -> None:
    """A meter simulated from the file and read by the gateway's plan gives every metric, as its course says."""
    model = MODELS[name]
    assert model.modbus is not None
    meter = Meter(model, seed=1, clock=lambda: 0.0)
    found: dict[str, Reading] = {}
    for block in blocks_of(model):
        held = meter.read(block.table, block.address, block.count)
        values = [held.get(block.address + word, 0) for word in range(block.count)]
        found |= {each.metric: each for each in readings_of(block, values, model.modbus, 0)}
    assert set(found) == set(model.metrics)
    for metric, declared in model.metrics.items():
        if declared.sim is not None:
            middle = declared.sim.mean if declared.sim.start is None else declared.sim.start
            off = 6 * declared.sim.noise + abs(middle) * 1e-6
            assert to_float(found[metric].value) == pytest.approx(middle, abs=off)


SDM120 = (DEVICES / "eastron-sdm120.toml").read_text(encoding="utf-8")
NEO_M8 = (DEVICES / "u-blox-neo-m8.toml").read_text(encoding="utf-8")
NONIN = (DEVICES / "nonin-3230.toml").read_text(encoding="utf-8")


def line_with(text: str, part: str) -> int:
    """The number of the first line that holds `part`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("original", "right", "wrong", "key", "reason"),
    [
        (SDM120, 'link = "modbus"', 'link = "canbus"', "device.link", "'modbus'"),
        (SDM120, 'maker = "Eastron"', "maker = 120", "device.maker", "string"),
        (SDM120, "period_ms = 1000", "period_ms = 0", "modbus.period_ms", "greater than 0"),
        (SDM120, "unit_id = 1", "unit_id = 256", "modbus.unit_id", "255"),
        (SDM120, "deadband = 0.2", "deadband = -0.2", "metrics.voltage.deadband", "greater than or equal to 0"),
        (SDM120, "deadband = 0.2", "dead_band = 0.2", "metrics.voltage.dead_band", "no such key"),
        (NEO_M8, "baud = 9600", "baud = -1", "serial.baud", "greater than 0"),
        (NEO_M8, 'framing = "nmea"', 'framing = "slip"', "serial.framing", "'nmea'"),
        (NONIN, "service = 0x1822", "service = 0x11822", "ble.service", "65535"),
    ],
)
def test_a_mistake_is_named_where_it_stands(
    tmp_path: Path, original: str, right: str, wrong: str, key: str, reason: str
) -> None:
    path = tmp_path / next(f"{name}.toml" for name in MODELS if f'model = "{name}"' in original)
    path.write_text(original.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(TomlFileError) as caught:
        load_device(path)
    assert (caught.value.path, caught.value.line, caught.value.key) == (path, line_with(original, right), key)
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"{path}:{caught.value.line}: {key}: ")


@pytest.mark.parametrize(
    ("original", "right", "wrong", "key", "reason"),
    [
        (SDM120, 'model = "eastron-sdm120"', 'model = "sdm120"', "device.model", "must be the file's name"),
        (SDM120, 'maker = "Eastron"\n', "", "device.maker", "required"),
        (SDM120, 'link = "modbus"', 'link = "ble"', "ble", "the table of the device's link is missing"),
        (NEO_M8, 'sentence = "GGA"\n', "", "metrics.altitude.sentence", "is missing"),
        (NEO_M8, 'metric = "latitude"', 'metric = "height"', "examples.0.metric", "height is no metric of this model"),
    ],
)
def test_what_is_missing_or_does_not_fit_together_is_named(
    tmp_path: Path, original: str, right: str, wrong: str, key: str, reason: str
) -> None:
    path = tmp_path / next(f"{name}.toml" for name in MODELS if f'model = "{name}"' in original)
    path.write_text(original.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(TomlFileError) as caught:
        load_device(path)
    assert (caught.value.path, caught.value.key) == (path, key)
    assert reason in caught.value.reason


def test_what_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "eastron-sdm120.toml"
    path.write_text(SDM120.replace('link = "modbus"', "link = modbus", 1), encoding="utf-8")
    with pytest.raises(TomlFileError) as caught:
        load_device(path)
    assert caught.value.line == line_with(SDM120, 'link = "modbus"')
    assert "not TOML" in caught.value.reason


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TomlFileError, match="there is no such file"):
        load_device(tmp_path / "absent.toml")
