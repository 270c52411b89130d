"""The sensors that a sensor node can have: chip -> how it is started and read, and the metrics that it gives.

A driver is imported when the board has its chip, since memory is scarce; a new one is a function and a line here.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    class Metric(NamedTuple):
        """A value in units of 10^exponent."""

        name: str
        unit: str
        exponent: int

    class Sensor(NamedTuple):
        """`make` is given bus and address; `read` names the method that gives a value for each metric."""

        make: Callable[[Any, int], Any]
        read: str
        metrics: tuple[Metric, ...]

else:
    Metric = namedtuple("Metric", ("name", "unit", "exponent"))
    Sensor = namedtuple("Sensor", ("make", "read", "metrics"))


def _bme280(bus: "Any", address: int) -> "Any":
    from firmware.drivers.bme280 import Bme280  # noqa: PLC0415

    return Bme280(bus, address=address)


def _max30205(bus: "Any", address: int) -> "Any":
    from firmware.drivers.max30205 import Max30205  # noqa: PLC0415

    return Max30205(bus, address=address)


def _mpu6050(bus: "Any", address: int) -> "Any":
    from firmware.drivers.mpu6050 import Mpu6050  # noqa: PLC0415

    return Mpu6050(bus, address=address)


def _scd41(bus: "Any", address: int) -> "Any":
    from firmware.drivers.scd41 import Scd41  # noqa: PLC0415

    return Scd41(bus, address=address)


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
)
