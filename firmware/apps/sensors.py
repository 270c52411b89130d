"""The sensors that a sensor node can have: how each is made and read, and the metrics that it gives.

A sensor is there if its board's file has its chip, its pins or its serial port. A driver is imported only then, since
memory is scarce. A new sensor is a function and a line here.
"""

from collections import namedtuple

from firmware.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    from firmware.core.config import Config
    from firmware.core.device import Device

    class Metric(NamedTuple):
        """A value in units of 10^exponent."""

        name: str
        unit: str
        exponent: int

    class Sensor(NamedTuple):
        """`make` is given device and place (see `places`); `read` names the method that gives the metrics' values."""

        make: Callable[[Device, dict[str, Any]], Any]
        read: str
        metrics: tuple[Metric, ...]

else:
    Metric = namedtuple("Metric", ("name", "unit", "exponent"))
    Sensor = namedtuple("Sensor", ("make", "read", "metrics"))


def _bus(device: "Device", place: "dict[str, Any]") -> "Any":
    bus = device.config.bus(place["bus"])
    return device.hal.i2c(bus["bus"], bus["scl"], bus["sda"], bus["freq_hz"])


def _bme280(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.bme280 import Bme280  # noqa: PLC0415

    return Bme280(_bus(device, place), address=place["address"])


def _max30205(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.max30205 import Max30205  # noqa: PLC0415

    return Max30205(_bus(device, place), address=place["address"])


def _mpu6050(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.mpu6050 import Mpu6050  # noqa: PLC0415

    return Mpu6050(_bus(device, place), address=place["address"])


def _scd41(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.scd41 import Scd41  # noqa: PLC0415

    return Scd41(_bus(device, place), address=place["address"])


def _hx711(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.hx711 import Hx711  # noqa: PLC0415

    scale = device.config.settings.get("scale", {})
    zero, counts_per_kg = scale.get("zero"), scale.get("counts_per_kg")
    if not isinstance(zero, int) or not isinstance(counts_per_kg, int) or not counts_per_kg:
        raise ConfigError("settings.scale", "needs zero and counts_per_kg, whole numbers of this scale's calibration")
    clock = device.hal.digital_out(place["scale_clock"])
    data = device.hal.digital_in(place["scale_data"], pull="driven")
    return Hx711(clock, data, zero=zero, counts_per_kg=counts_per_kg)


def _gps(device: "Device", place: "dict[str, Any]") -> "Any":
    from firmware.drivers.gps import Gps  # noqa: PLC0415

    uart = device.hal.uart(place["uart"], tx=place["tx"], rx=place["rx"], baud=place["baud"])
    return Gps(uart, device.clock, [(metric.name, metric.exponent) for metric in _FIX])


_FIX = (
    Metric("latitude", "deg", -7),
    Metric("longitude", "deg", -7),
    Metric("altitude", "m", -1),
    Metric("satellites", "1", 0),
)
_HUMIDITY = Metric("humidity", "%", -3)
# In this order: what two chips of a board measure is taken from the first one.
SENSORS = (
    ("bme280", Sensor(_bme280, "read", (Metric("temperature", "Cel", -2), Metric("pressure", "Pa", 0), _HUMIDITY))),
    ("scd41", Sensor(_scd41, "read", (Metric("co2", "[ppm]", 0), Metric("temperature", "Cel", -3), _HUMIDITY))),
    ("max30205", Sensor(_max30205, "temperature_mc", (Metric("temperature", "Cel", -3),))),
    (
        "mpu6050",
        Sensor(
            _mpu6050,
            "acceleration_mg",
            (
                Metric("acceleration_x", "[g]", -3),
                Metric("acceleration_y", "[g]", -3),
                Metric("acceleration_z", "[g]", -3),
            ),
        ),
    ),
    ("hx711", Sensor(_hx711, "read", (Metric("weight", "g", -1),))),
    ("gps", Sensor(_gps, "read", _FIX)),
)
PINS = {"hx711": ("scale_clock", "scale_data")}  # of sensors that are on no bus: the names of their pins


def places(config: "Config", name: str) -> "list[dict[str, Any]]":
    """Where the board has this sensor: entries of its chips or serial ports, or its pins by their names."""
    found = [each for each in config.entries("chips") if each["chip"] == name]
    found += [each for each in config.entries("serial") if each["name"] == name]
    pins = {each["name"]: each["pin"] for each in config.entries("pins") if each["name"] in PINS.get(name, ())}
    return found + ([pins] if pins else [])
