"""The objects of BTHome v2: what each id means. Source: bthome.io/format; units are UCUM codes."""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Number(NamedTuple):
        """A number: `raw x step x 10^exponent`, of `size` bytes; above `most` (raw) there is none."""

        metric: str
        size: int
        unit: str
        exponent: int
        signed: bool
        step: int
        most: int | None
else:
    Number = namedtuple("Number", ("metric", "size", "unit", "exponent", "signed", "step", "most"))


def _number(
    metric: str,
    size: int,
    unit: str,
    exponent: int = 0,
    *,
    signed: bool = False,
    step: int = 1,
    most: "int | None" = None,
) -> "Number":
    return Number(metric, size, unit, exponent, signed, step, most)


PACKET_ID = 0x00
BUTTON = 0x3A
DIMMER = 0x3C  # 0 nothing, 1 so many steps to the left, 2 to the right
TEXT = 0x53
RAW = 0x54
VERSIONS = {0xF1: 4, 0xF2: 3}

BUTTON_EVENTS = {
    0x01: "press",
    0x02: "double_press",
    0x03: "triple_press",
    0x04: "long_press",
    0x05: "long_double_press",
    0x06: "long_triple_press",
    0x80: "hold_press",
}

NUMBERS = {
    0x01: _number("battery_level", 1, "%", most=100),
    0x02: _number("temperature", 2, "Cel", -2, signed=True),
    0x03: _number("humidity", 2, "%", -2, most=10000),
    0x04: _number("pressure", 3, "hPa", -2),
    0x05: _number("illuminance", 3, "lx", -2),
    0x06: _number("mass", 2, "kg", -2),
    0x07: _number("mass", 2, "[lb_av]", -2),
    0x08: _number("dew_point", 2, "Cel", -2, signed=True),
    0x09: _number("count", 1, "1"),
    0x0A: _number("energy", 3, "kW.h", -3),
    0x0B: _number("power", 3, "W", -2),
    0x0C: _number("voltage", 2, "V", -3),
    0x0D: _number("pm2_5", 2, "ug/m3"),
    0x0E: _number("pm10", 2, "ug/m3"),
    0x12: _number("co2", 2, "[ppm]"),
    0x13: _number("tvoc", 2, "ug/m3"),
    0x14: _number("moisture", 2, "%", -2, most=10000),
    0x2E: _number("humidity", 1, "%", most=100),
    0x2F: _number("moisture", 1, "%", most=100),
    0x3D: _number("count", 2, "1"),
    0x3E: _number("count", 4, "1"),
    0x3F: _number("rotation", 2, "deg", -1, signed=True),
    0x40: _number("distance", 2, "mm"),
    0x41: _number("distance", 2, "m", -1),
    0x42: _number("duration", 3, "s", -3),
    0x43: _number("current", 2, "A", -3),
    0x44: _number("speed", 2, "m/s", -2),
    0x45: _number("temperature", 2, "Cel", -1, signed=True),
    0x46: _number("uv_index", 1, "1", -1),
    0x47: _number("volume", 2, "L", -1),
    0x48: _number("volume", 2, "mL"),
    0x49: _number("volume_flow_rate", 2, "m3/h", -3),
    0x4A: _number("voltage", 2, "V", -1),
    0x4B: _number("gas", 3, "m3", -3),
    0x4C: _number("gas", 4, "m3", -3),
    0x4D: _number("energy", 4, "kW.h", -3),
    0x4E: _number("volume", 4, "L", -3),
    0x4F: _number("water", 4, "L", -3),
    0x50: _number("timestamp", 4, "s"),
    0x51: _number("acceleration", 2, "m/s2", -3),
    0x52: _number("angular_speed", 2, "deg/s", -3),
    0x55: _number("stored_volume", 4, "L", -3),
    0x56: _number("conductivity", 2, "uS/cm"),
    0x57: _number("temperature", 1, "Cel", signed=True),
    0x58: _number("temperature", 1, "Cel", -2, signed=True, step=35),
    0x59: _number("count", 1, "1", signed=True),
    0x5A: _number("count", 2, "1", signed=True),
    0x5B: _number("count", 4, "1", signed=True),
    0x5C: _number("power", 4, "W", -2, signed=True),
    0x5D: _number("current", 2, "A", -3, signed=True),
    0x5E: _number("direction", 2, "deg", -2, most=36000),
    0x5F: _number("precipitation", 2, "mm", -1),
    0x60: _number("channel", 1, "1"),
    0x61: _number("rotational_speed", 2, "/min"),
    0x62: _number("speed", 4, "m/s", -6, signed=True),
    0x63: _number("acceleration", 4, "m/s2", -6, signed=True),
    0x64: _number("light_level", 1, "1"),
    0xF0: _number("device_type", 2, "1"),
}

# True is what the name says; a word was added where the format has a number of the same name.
STATES = {
    0x0F: "generic_state",
    0x10: "power_on",
    0x11: "open",
    0x15: "battery_low",
    0x16: "battery_charging",
    0x17: "carbon_monoxide",
    0x18: "cold",
    0x19: "connected",
    0x1A: "door_open",
    0x1B: "garage_door_open",
    0x1C: "gas_detected",
    0x1D: "heat",
    0x1E: "light_detected",
    0x1F: "unlocked",
    0x20: "moisture_detected",
    0x21: "motion",
    0x22: "moving",
    0x23: "occupancy",
    0x24: "plugged_in",
    0x25: "presence",
    0x26: "problem",
    0x27: "running",
    0x28: "safe",
    0x29: "smoke",
    0x2A: "sound",
    0x2B: "tamper",
    0x2C: "vibration",
    0x2D: "window_open",
}
