"""The GATT characteristics of Bluetooth health devices as readings, and back.

Source: Bluetooth SIG GATT Specification Supplement. `decode(uuid, encode(uuid, readings))` gives the same
readings when they are in the order of the fields; reserved bits are left aside. Tables are loaded when they are first
needed: a wearable has no memory for those of a glucose meter.
"""

from ..errors import DecodeError, EncodeError
from ..reading import Reading, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .layout import Layout

HEART_RATE_MEASUREMENT = 0x2A37
TEMPERATURE_MEASUREMENT = 0x2A1C
BLOOD_PRESSURE_MEASUREMENT = 0x2A35
GLUCOSE_MEASUREMENT = 0x2A18
GLUCOSE_MEASUREMENT_CONTEXT = 0x2A34
PLX_SPOT_CHECK_MEASUREMENT = 0x2A5E
PLX_CONTINUOUS_MEASUREMENT = 0x2A5F
WEIGHT_MEASUREMENT = 0x2A9D
BODY_COMPOSITION_MEASUREMENT = 0x2A9C
CGM_MEASUREMENT = 0x2AA7
RECORD_ACCESS_CONTROL_POINT = 0x2A52
CURRENT_TIME = 0x2A2B
DATE_TIME = 0x2A08
BATTERY_LEVEL = 0x2A19

_VITALS = {
    HEART_RATE_MEASUREMENT: "HEART_RATE",
    TEMPERATURE_MEASUREMENT: "TEMPERATURE",
    PLX_SPOT_CHECK_MEASUREMENT: "PLX_SPOT_CHECK",
    PLX_CONTINUOUS_MEASUREMENT: "PLX_CONTINUOUS",
    CURRENT_TIME: "CURRENT_TIME",
    BATTERY_LEVEL: "BATTERY_LEVEL",
}
_TABLES = {
    BLOOD_PRESSURE_MEASUREMENT: "BLOOD_PRESSURE",
    GLUCOSE_MEASUREMENT: "GLUCOSE",
    GLUCOSE_MEASUREMENT_CONTEXT: "GLUCOSE_CONTEXT",
    WEIGHT_MEASUREMENT: "WEIGHT",
    BODY_COMPOSITION_MEASUREMENT: "BODY_COMPOSITION",
    DATE_TIME: "DATE_AND_TIME",
}
_STRINGS = {
    0x2A29: "manufacturer_name",
    0x2A24: "model_number",
    0x2A25: "serial_number",
    0x2A26: "firmware_revision",
}
CHARACTERISTICS = tuple(sorted(list(_VITALS) + list(_TABLES) + list(_STRINGS) + [CGM_MEASUREMENT]))


def metrics_of(uuid16: int) -> "dict[str, tuple[str, ...]]":
    """The metrics that a characteristic may give, and the units of each; none for an unknown uuid16."""
    if uuid16 in _STRINGS:
        return {_STRINGS[uuid16]: ("",)}
    layout = _layout(uuid16)
    return layout.units() if layout else {}


def decode(uuid16: int, data: bytes, *, crc: bool = False) -> "list[Reading]":
    """The readings in a characteristic's value, without times. Raises DecodeError, also for an unknown uuid16.

    `crc`: the CGM measurement's records end with a CRC-16, as its feature characteristic says.
    """
    data = bytes(data)
    if uuid16 == CGM_MEASUREMENT:
        from . import cgm

        return cgm.decode(data, crc)
    if uuid16 == RECORD_ACCESS_CONTROL_POINT:
        from . import racp

        return racp.decode(data)
    layout = _layout(uuid16)
    if layout:
        return layout.decode(data)
    if uuid16 in _STRINGS:
        return [reading(_STRINGS[uuid16], _text(_STRINGS[uuid16], data), "")]
    raise DecodeError("characteristic", f"{uuid16:04X} is unknown")


def encode(uuid16: int, readings: "list[Reading]", *, crc: bool = False) -> bytes:
    """The characteristic's value of readings. Raises EncodeError for what it cannot carry, and for an unknown uuid16.

    Optional fields are written when they are given. A missing number is written as NaN, or +infinity for BAD_RANGE.
    """
    if uuid16 == CGM_MEASUREMENT:
        from . import cgm

        return cgm.encode(readings, crc)
    if uuid16 == RECORD_ACCESS_CONTROL_POINT:
        from . import racp

        return racp.encode(readings)
    layout = _layout(uuid16)
    if layout:
        return layout.encode(readings)
    if uuid16 in _STRINGS:
        return _text_bytes(_STRINGS[uuid16], readings)
    raise EncodeError("characteristic", f"{uuid16:04X} is unknown")


def _layout(uuid16: int) -> "Layout | None":
    if uuid16 in _VITALS:
        from . import vitals

        return getattr(vitals, _VITALS[uuid16])  # type: ignore[no-any-return]
    if uuid16 in _TABLES:
        from . import tables

        return getattr(tables, _TABLES[uuid16])  # type: ignore[no-any-return]
    if uuid16 == CGM_MEASUREMENT:
        from . import cgm

        return cgm.RECORD
    return None


def _text(metric: str, data: bytes) -> str:
    """The UTF-8 text without the zeros that some devices pad it with."""
    try:
        text = data.decode("utf-8")
    except UnicodeError:
        raise DecodeError(metric, "is not UTF-8") from None
    return text.rstrip("\0")


def _text_bytes(metric: str, readings: "list[Reading]") -> bytes:
    if len(readings) != 1 or readings[0].metric != metric or not isinstance(readings[0].value, str):
        raise EncodeError(metric, "must be the one reading, and text")
    if readings[0].value.endswith("\0"):
        raise EncodeError(metric, "ends in a zero")
    return readings[0].value.encode("utf-8")
