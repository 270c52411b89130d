"""Every device file: it loads, its examples decode to what they say, and a mistake in it is named where it stands."""

from pathlib import Path

import pytest

from edge.links import ble_declared
from edge.links.base import Attached
from edge.links.condition import Condition
from edge.links.modbus import TCP_COSTS
from edge.links.modbus_blocks import tables_of
from edge.links.modbus_values import Decoder, Field
from edge.links.serial_talk import talk_of
from hardware.catalogue import DEVICES, DeviceModel, Example, catalogue, load_device
from hardware.sim.meter import Meter
from protocols import bthome, gatt
from protocols.reading import BAD, Reading, to_float
from runtime.toml import TomlFileError
from tests.edge.recorder import Recorder

MODELS = catalogue()


def decode_modbus(model: DeviceModel, example: Example) -> list[Reading]:
    metric = model.metrics[example.metric]
    assert metric.register_ is not None
    assert model.modbus is not None
    field = Field(example.metric, metric, metric.register_)
    heard = Recorder({"it": model})
    decoder = Decoder(
        metric.register_.table, field.span, [field], model.modbus, lambda metrics: heard.channel("it", metrics)
    )
    decoder.take(bytes.fromhex(example.raw), 0, Condition(Attached("it", model, ""), heard))
    return [each for _, each in heard.readings]


def decode_serial(model: DeviceModel, example: Example) -> list[Reading]:
    assert model.serial is not None
    talk = talk_of(model)
    talk.feed(b"\r\n")  # where lines are all there is, one begins behind another
    raw = f"{example.raw}\r\n".encode() if model.serial.framing == "nmea" else bytes.fromhex(example.raw)
    ((_, readings),) = talk.feed(raw)
    return readings


def decode_ble(model: DeviceModel, example: Example) -> list[Reading]:
    raw = bytes.fromhex(example.raw)
    said = bthome.decode(raw).readings if example.characteristic is None else gatt.decode(example.characteristic, raw)
    return ble_declared.declared(model.metrics, said, 0)


DECODERS = {"modbus": decode_modbus, "serial": decode_serial, "ble": decode_ble}
EXAMPLES = [
    pytest.param(model, example, id=f"{name}-{number}-{example.metric}")
    for name, model in MODELS.items()
    for number, example in enumerate(model.examples)
]


def test_every_file_is_a_model() -> None:
    assert set(MODELS) == {path.stem for path in DEVICES.glob("*.toml")}
    assert len(MODELS) >= 12


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


def of_registers(model: DeviceModel) -> bool:
    return model.modbus is not None and all(
        each.register_ is not None and each.register_.table in ("holding", "input") for each in model.metrics.values()
    )


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if of_registers(model)])
def test_the_simulator_holds_what_the_gateway_reads(name: str) -> None:
    """A meter simulated from the file and read by the gateway's plan gives every metric, as its course says."""
    model = MODELS[name]
    assert model.modbus is not None
    meter = Meter(model, seed=1, clock=lambda: 0.0)
    heard = Recorder({"it": model})
    condition = Condition(Attached("it", model, ""), heard)
    for group in (None, *model.modbus.groups):
        for table in tables_of(model, group, TCP_COSTS, lambda metrics: heard.channel("it", metrics)):
            for request in table.requests:
                start, count = request.block
                held = meter.read(table.table, start, count)
                words = [held.get(start + word, 0) for word in range(count)]
                request.take(b"".join(word.to_bytes(2, "big") for word in words), 0, condition)
    found = {each.metric: each for _, each in heard.readings}
    assert set(found) == set(model.metrics)
    for metric, declared in model.metrics.items():
        if declared.sim is not None:
            middle = declared.sim.mean if declared.sim.start is None else declared.sim.start
            off = 6 * declared.sim.noise + abs(middle) * 1e-6
            assert to_float(found[metric].value) == pytest.approx(middle, abs=off)


SDM120 = (DEVICES / "eastron-sdm120.toml").read_text(encoding="utf-8")
NEO_M8 = (DEVICES / "u-blox-neo-m8.toml").read_text(encoding="utf-8")
SDM630 = (DEVICES / "eastron-sdm630.toml").read_text(encoding="utf-8")
PMS5003 = (DEVICES / "plantower-pms5003.toml").read_text(encoding="utf-8")
MH_Z19B = (DEVICES / "winsen-mh-z19b.toml").read_text(encoding="utf-8")
ADAM = (DEVICES / "advantech-adam-6060.toml").read_text(encoding="utf-8")
EM340 = (DEVICES / "carlo-gavazzi-em340.toml").read_text(encoding="utf-8")
SHELLY = (DEVICES / "shelly-blu-ht.toml").read_text(encoding="utf-8")
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
        (SDM120, '"float32" }', '"float31" }', "metrics.voltage.register", "float31 is unknown"),
        (SDM120, "0x0000", "0xFFFF", "metrics.voltage.register", "beyond the last register"),
        (SDM120, "0x0000", "0x10000", "metrics.voltage.register.address", "65535"),
        (SDM120, '"float32" }', '"float32", bit = 3 }', "metrics.voltage.register", "no bits to pick from"),
        (SDM120, '"float32" }', '"bits", bit = 9, width = 8 }', "metrics.voltage.register", "not within a register"),
        (SDM120, '"float32" }', '"bool", width = 2 }', "metrics.voltage.register", "one bit wide"),
        (SDM120, '"float32" }', '"float32", scale = 0 }', "metrics.voltage.register", "scale must not be 0"),
        (SDM120, 'table = "input"', 'table = "inputs"', "metrics.voltage.register.table", "'input'"),
        (PMS5003, "42 4D 00 1C", "42 4", "serial.frame.start", "not bytes in hex"),
        (PMS5003, '"sum16"', '"sum17"', "serial.frame.check", "there is no check sum17"),
        (PMS5003, 'at = 12, type = "uint16"', 'at = 12, type = "uint64"', "metrics.pm2_5.field.type", "no type uint64"),
        (PMS5003, "at = 12, ", "", "metrics.pm2_5.field", "needs either at"),
        (MH_Z19B, "period_ms = 5000", "period_ms = 1", "serial.period_ms", "20"),
        (EM340, "0x7FFFFFFF", "0x80000000", "metrics.voltage_l1.register", "that int32 can hold"),
        (
            SDM120,
            '"float32" }',
            '"float32", no_value = 1 }',
            "metrics.voltage.register",
            "no_value must be a whole number",
        ),
        (EM340, "values = [340, 341]", "values = []", "modbus.fingerprint.values", "at least 1"),
        (EM340, "address = 0x000B }", 'address = 11, type = "float32" }', "modbus.fingerprint", "whole number"),
        (NONIN, "service = 0x1822", "service = 0x11822", "ble.service", "65535"),
        (MH_Z19B, "{value:uint8}", "{value:uint9}", "commands.self_calibration.frame", "there is no type uint9"),
        (MH_Z19B, "{value:uint8}", "{value}", "commands.self_calibration.frame", "is not bytes in hex"),
        (EM340, "scale = 0.1", "scale = nan", "metrics.voltage_l1.register.scale", "finite"),
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
        (NEO_M8, 'sentence = "GGA"\n', "", "metrics.altitude", "needs sentence"),
        (
            SDM120,
            "max_registers = 80",
            "max_registers = 1",
            "metrics.voltage",
            "takes 2 registers, and max_registers is 1",
        ),
        (NEO_M8, 'sentence = "GGA"', 'sentence = "GLL"', "metrics.altitude", "needs sentence: one of RMC"),
        (NEO_M8, "[metrics.hdop]", "[metrics.pdop]", "metrics.pdop", "is not in GGA, which has"),
        (NEO_M8, 'unit = "m/s"', 'unit = "km/h"', "metrics.speed", "comes in m/s, not in km/h"),
        (NONIN, "[metrics.pulse_rate]", "[metrics.puls_rate]", "metrics.puls_rate", "nothing that the device says"),
        (NONIN, 'unit = "/min"', 'unit = "/s"', "metrics.pulse_rate", "comes in /min, not in /s"),
        (NONIN, "[0x2A5F]", "[0x2A00]", "ble", "characteristic 0x2A00 is none that can be read"),
        (SHELLY, "[metrics.humidity]", "[metrics.humid]", "metrics.humid", "nothing that the device says"),
        (SDM630, 'group = "slow"', 'group = "rare"', "metrics.import_energy.group", "there is no group rare"),
        (PMS5003, 'field = { at = 12, type = "uint16" }\n', "", "metrics.pm2_5", "needs field"),
        (PMS5003, "at = 12", "at = 29", "metrics.pm2_5", "is beyond byte 29"),
        (PMS5003, 'at = 12, type = "uint16"', "index = 1", "metrics.pm2_5", "index is for frames with a separator"),
        (
            ADAM,
            'register = { table = "coil", address = 21 }\n',
            'frame = "00"\n',
            "commands.switch_relay_6",
            "needs register",
        ),
        (PMS5003, "length = 32", "length = 6", "serial", "frame.length must be more than 6"),
        (MH_Z19B, "baud = 9600", "baud = 9600\nsilence_ms = 0", "serial", "it has to answer"),
        (PMS5003, 'start = "42 4D 00 1C", ', "", "serial", "frame.start is missing"),
        (PMS5003, 'framing = "fixed"', 'framing = "nmea"', "serial", "framing nmea has no frame"),
        (PMS5003, 'framing = "fixed"', 'framing = "delimited"', "serial", "a delimited frame has an end"),
        (
            ADAM,
            "address = 21 }\nrange = [0, 1]",
            "address = 21 }\nrange = [1, 0]",
            "commands.switch_relay_6",
            "range is empty",
        ),
        (
            ADAM,
            'table = "coil", address = 21 }\nrange',
            'table = "input", address = 21 }\nrange',
            "commands.switch_relay_6",
            "cannot be written",
        ),
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
