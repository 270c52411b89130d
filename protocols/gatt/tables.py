"""The characteristics of cuffs, glucose meters and scales, field by field; those of a wearable are in vitals.py.

Source: Bluetooth SIG GATT Specification Supplement and the characteristics' services (BLS, GLS, WSS, BCS). Reserved
bits are left aside, as the SIG asks of a client. Which of its two units a value has is the device's choice and is kept.
"""

from ..reading import BAD_INVALID, BAD_RANGE, UNCERTAIN
from .fields import Bits, Field, Flag, Nibbles
from .layout import Layout
from .values import Code, DateTime, Integer, MedicalFloat

UINT8 = Integer(1)
UINT16 = Integer(2)
SFLOAT = MedicalFloat(2)
DATE_TIME = DateTime()
USER = Integer(1, special=((0xFF, BAD_INVALID),))  # 255: unknown user
TENTHS = Integer(2, exponent=-1)
KILOGRAMS = Integer(2, step=5, exponent=-3)
POUNDS = Integer(2, exponent=-2)
MEASURED_KILOGRAMS = Integer(2, step=5, exponent=-3, special=((0xFFFF, BAD_INVALID),))  # 65535: measurement failed
MEASURED_POUNDS = Integer(2, exponent=-2, special=((0xFFFF, BAD_INVALID),))
MEASURED_TENTHS = Integer(2, exponent=-1, special=((0xFFFF, BAD_INVALID),))
METRES = Integer(2, exponent=-3)
# On the wire kg/L, mol/L, kg and L: the units of the SI. Here those that people read, by a step of powers of ten.
MG_PER_DL = MedicalFloat(2, shift=5)
MMOL_PER_L = MedicalFloat(2, shift=3)
THOUSANDTHS = MedicalFloat(2, shift=3)  # kg as g, L as mL
MILLIONTHS = MedicalFloat(2, shift=6)  # kg as mg

_KILOPASCAL = (0, SFLOAT, "kPa")

BLOOD_PRESSURE = Layout(
    "blood pressure measurement",
    1,
    (
        Field("systolic", SFLOAT, "mm[Hg]", alternative=_KILOPASCAL),
        Field("diastolic", SFLOAT, "mm[Hg]", alternative=_KILOPASCAL),
        Field("mean_arterial_pressure", SFLOAT, "mm[Hg]", alternative=_KILOPASCAL),
        Field("device_time", DATE_TIME, bit=1),
        Field("pulse_rate", SFLOAT, "/min", bit=2),
        Field("user_id", USER, bit=3),
        Bits(
            2,
            (
                (0, "body_movement"),
                (1, "cuff_loose"),
                (2, "irregular_pulse"),
                (3, "pulse_rate_too_high"),
                (4, "pulse_rate_too_low"),
                (5, "improper_position"),
            ),
            bit=4,
        ),
    ),
)

SAMPLE_TYPES = (
    (1, "capillary_whole_blood"),
    (2, "capillary_plasma"),
    (3, "venous_whole_blood"),
    (4, "venous_plasma"),
    (5, "arterial_whole_blood"),
    (6, "arterial_plasma"),
    (7, "undetermined_whole_blood"),
    (8, "undetermined_plasma"),
    (9, "interstitial_fluid"),
    (10, "control_solution"),
)
SAMPLE_SITES = (
    (1, "finger"),
    (2, "alternate_site"),
    (3, "earlobe"),
    (4, "control_solution"),
    (15, "not_available"),
)

_STRIP_FAULTS = (
    "sensor_malfunction", "sample_too_small", "strip_insertion_error", "strip_type_incorrect", "strip_pulled_too_soon",
    "device_fault",
)  # fmt: skip

GLUCOSE = Layout(
    "glucose measurement",
    1,
    (
        Field("sequence_number", UINT16),
        Field("device_time", DATE_TIME),
        Field("time_offset", Integer(2, signed=True), "min", bit=0),
        Field("glucose", MG_PER_DL, "mg/dL", bit=1, alternative=(2, MMOL_PER_L, "mmol/L")),
        Nibbles(
            ("sample_type", Code(SAMPLE_TYPES, most=15)),
            ("sample_site", Code(SAMPLE_SITES, most=15)),
            bit=1,
        ),
        Bits(
            2,
            (
                (0, "battery_low"),
                (1, "sensor_malfunction"),
                (2, "sample_too_small"),
                (3, "strip_insertion_error"),
                (4, "strip_type_incorrect"),
                (5, "result_too_high"),
                (6, "result_too_low"),
                (7, "sensor_temperature_too_high"),
                (8, "sensor_temperature_too_low"),
                (9, "strip_pulled_too_soon"),
                (10, "device_fault"),
                (11, "time_fault"),
            ),
            bit=3,
        ),
        Flag("context_follows", 4),
    ),
    # What a meter measures of its control solution is nobody's blood.
    doubts=(
        ("sample_type", "control_solution", BAD_INVALID, ("glucose",)),
        ("sample_site", "control_solution", BAD_INVALID, ("glucose",)),
    )
    + tuple([(fault, True, UNCERTAIN, ("glucose",)) for fault in _STRIP_FAULTS]),
)

CARBOHYDRATES = (
    (1, "breakfast"), (2, "lunch"), (3, "dinner"), (4, "snack"), (5, "drink"), (6, "supper"), (7, "brunch"),
)  # fmt: skip
MEALS = ((1, "before_meal"), (2, "after_meal"), (3, "fasting"), (4, "casual"), (5, "bedtime"))
TESTERS = ((1, "self"), (2, "health_care_professional"), (3, "laboratory_test"), (15, "not_available"))
HEALTHS = (
    (1, "minor_health_issues"), (2, "major_health_issues"), (3, "during_menses"), (4, "under_stress"),
    (5, "no_health_issues"), (15, "not_available"),
)  # fmt: skip
MEDICATIONS = (
    (1, "rapid_acting_insulin"), (2, "short_acting_insulin"), (3, "intermediate_acting_insulin"),
    (4, "long_acting_insulin"), (5, "pre_mixed_insulin"),
)  # fmt: skip

GLUCOSE_CONTEXT = Layout(
    "glucose measurement context",
    1,
    (
        Field("sequence_number", UINT16),
        Field("extended_flags", UINT8, bit=7),
        Field("carbohydrate_kind", Code(CARBOHYDRATES), bit=0),
        Field("carbohydrate", THOUSANDTHS, "g", bit=0),
        Field("meal", Code(MEALS), bit=1),
        Nibbles(("tester", Code(TESTERS, most=15)), ("health", Code(HEALTHS, most=15)), bit=2),
        Field("exercise_duration", Integer(2, special=((0xFFFF, BAD_RANGE),)), "s", bit=3),  # 65535: longer than that
        Field("exercise_intensity", UINT8, "%", bit=3),
        Field("medication_kind", Code(MEDICATIONS), bit=4),
        Field("medication", MILLIONTHS, "mg", bit=4, alternative=(5, THOUSANDTHS, "mL")),
        Field("hba1c", SFLOAT, "%", bit=6),
    ),
)

WEIGHT = Layout(
    "weight measurement",
    1,
    (
        Field("weight", MEASURED_KILOGRAMS, "kg", alternative=(0, MEASURED_POUNDS, "[lb_av]")),
        Field("device_time", DATE_TIME, bit=1),
        Field("user_id", USER, bit=2),
        Field("body_mass_index", TENTHS, "kg/m2", bit=3),
        Field("height", METRES, "m", bit=3, alternative=(0, TENTHS, "[in_i]")),
    ),
)

_IN_POUNDS = (0, POUNDS, "[lb_av]")

BODY_COMPOSITION = Layout(
    "body composition measurement",
    2,
    (
        Field("body_fat", MEASURED_TENTHS, "%"),
        Field("device_time", DATE_TIME, bit=1),
        Field("user_id", USER, bit=2),
        Field("basal_metabolism", UINT16, "kJ", bit=3),
        Field("muscle_percentage", TENTHS, "%", bit=4),
        Field("muscle_mass", KILOGRAMS, "kg", bit=5, alternative=_IN_POUNDS),
        Field("fat_free_mass", KILOGRAMS, "kg", bit=6, alternative=_IN_POUNDS),
        Field("soft_lean_mass", KILOGRAMS, "kg", bit=7, alternative=_IN_POUNDS),
        Field("body_water_mass", KILOGRAMS, "kg", bit=8, alternative=_IN_POUNDS),
        Field("impedance", TENTHS, "Ohm", bit=9),
        Field("weight", KILOGRAMS, "kg", bit=10, alternative=_IN_POUNDS),
        Field("height", METRES, "m", bit=11, alternative=(0, TENTHS, "[in_i]")),
        Flag("continued_in_next_packet", 12),
    ),
)

DATE_AND_TIME = Layout("date time", 0, (Field("device_time", DATE_TIME),))
