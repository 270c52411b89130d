"""The characteristics of heart rate, temperature, oximetry, clock and battery, field by field.

Apart from the others (tables.py), because a wearable encodes these and has no memory for more.
Source: Bluetooth SIG GATT Specification Supplement and the characteristics' services (HRS, HTS, PLXS, CTS, BAS).
Reserved bits are left aside, as the SIG asks of a client. Which of its two units a value has is the device's choice and
is kept.
"""

from ..reading import BAD_INVALID, UNCERTAIN
from .fields import Bits, Field, Flag, Repeated
from .layout import Layout
from .values import Code, DateTime, Integer, MedicalFloat

UINT8 = Integer(1)
UINT16 = Integer(2)
SFLOAT = MedicalFloat(2)
FLOAT = MedicalFloat(4)
DATE_TIME = DateTime()
RR_STEP = Integer(2, step=9765625, exponent=-10)  # 1/1024 s
FRACTION_256 = Integer(1, step=390625, exponent=-8)  # 1/256 s

HEART_RATE = Layout(
    "heart rate measurement",
    1,
    (
        Field("heart_rate", UINT8, "/min", alternative=(0, UINT16, "/min")),
        Flag("sensor_contact", 1, when=2),
        Field("energy_expended", UINT16, "kJ", bit=3),
        Repeated("rr_interval", RR_STEP, "s", bit=4),
    ),
    doubts=(("sensor_contact", False, UNCERTAIN, ("heart_rate",)),),
)

TEMPERATURE_SITES = (
    (1, "armpit"),
    (2, "body"),
    (3, "ear"),
    (4, "finger"),
    (5, "gastrointestinal_tract"),
    (6, "mouth"),
    (7, "rectum"),
    (8, "toe"),
    (9, "tympanum"),
)

TEMPERATURE = Layout(
    "temperature measurement",
    1,
    (
        Field("body_temperature", FLOAT, "Cel", alternative=(0, FLOAT, "[degF]")),
        Field("device_time", DATE_TIME, bit=1),
        Field("temperature_site", Code(TEMPERATURE_SITES), bit=2),
    ),
)

_MEASUREMENT_STATUS = (
    (5, "measurement_ongoing"),
    (6, "early_estimate"),
    (7, "validated"),
    (8, "fully_qualified"),
    (9, "from_storage"),
    (10, "for_demonstration"),
    (11, "for_testing"),
    (12, "calibration_ongoing"),
    (13, "measurement_unavailable"),
    (14, "questionable_measurement"),
    (15, "invalid_measurement"),
)
_SENSOR_STATUS = (
    (0, "extended_display_update"),
    (1, "equipment_malfunction"),
    (2, "signal_irregularity"),
    (3, "inadequate_signal"),
    (4, "poor_signal"),
    (5, "low_perfusion"),
    (6, "erratic_signal"),
    (7, "nonpulsatile_signal"),
    (8, "questionable_pulse"),
    (9, "signal_analysis_ongoing"),
    (10, "sensor_interference"),
    (11, "sensor_off_user"),
    (12, "unknown_sensor"),
    (13, "sensor_displaced"),
    (14, "sensor_malfunction"),
    (15, "sensor_disconnected"),
)
_OXIMETER_VALUES = (
    "oxygen_saturation",
    "pulse_rate",
    "oxygen_saturation_fast",
    "pulse_rate_fast",
    "oxygen_saturation_slow",
    "pulse_rate_slow",
)
# A demonstration's or a test's values are no patient's: they must not be used either.
_OXIMETER_DOUBTS = (
    ("early_estimate", True, UNCERTAIN, _OXIMETER_VALUES),
    ("questionable_measurement", True, UNCERTAIN, _OXIMETER_VALUES),
    ("invalid_measurement", True, BAD_INVALID, _OXIMETER_VALUES),
    ("measurement_unavailable", True, BAD_INVALID, _OXIMETER_VALUES),
    ("for_demonstration", True, BAD_INVALID, _OXIMETER_VALUES),
    ("for_testing", True, BAD_INVALID, _OXIMETER_VALUES),
)

PLX_SPOT_CHECK = Layout(
    "PLX spot-check measurement",
    1,
    (
        Field("oxygen_saturation", SFLOAT, "%"),
        Field("pulse_rate", SFLOAT, "/min"),
        Field("device_time", DATE_TIME, bit=0),
        Bits(2, _MEASUREMENT_STATUS, bit=1),
        Bits(3, _SENSOR_STATUS, bit=2),
        Field("pulse_amplitude_index", SFLOAT, "%", bit=3),
        Flag("clock_not_set", 4),
    ),
    doubts=_OXIMETER_DOUBTS + (("clock_not_set", True, UNCERTAIN, ("device_time",)),),
)

PLX_CONTINUOUS = Layout(
    "PLX continuous measurement",
    1,
    (
        Field("oxygen_saturation", SFLOAT, "%"),
        Field("pulse_rate", SFLOAT, "/min"),
        Field("oxygen_saturation_fast", SFLOAT, "%", bit=0),
        Field("pulse_rate_fast", SFLOAT, "/min", bit=0),
        Field("oxygen_saturation_slow", SFLOAT, "%", bit=1),
        Field("pulse_rate_slow", SFLOAT, "/min", bit=1),
        Bits(2, _MEASUREMENT_STATUS, bit=2),
        Bits(3, _SENSOR_STATUS, bit=3),
        Field("pulse_amplitude_index", SFLOAT, "%", bit=4),
    ),
    doubts=_OXIMETER_DOUBTS,
)

CURRENT_TIME = Layout(
    "current time",
    0,
    (
        Field("device_time", DATE_TIME),
        Field("day_of_week", Integer(1, maximum=7)),  # 1 Monday ... 7 Sunday, 0 unknown
        Field("second_fraction", FRACTION_256, "s"),
        Bits(
            1,
            (
                (0, "manual_time_update"),
                (1, "external_time_update"),
                (2, "time_zone_changed"),
                (3, "daylight_saving_changed"),
            ),
        ),
    ),
)

BATTERY_LEVEL = Layout("battery level", 0, (Field("battery_level", Integer(1, maximum=100), "%"),))
