"""CGM Measurement (2AA7): one or more records, each led by its size, each with a CRC-16 where the sensor supports that.

Source: Bluetooth SIG Continuous Glucose Monitoring Service 1.0, section 3.1 and E2E-CRC.
"""

from ..errors import ChecksumError, DecodeError, EncodeError, TruncatedError
from ..reading import Reading
from .fields import Bits, Field
from .layout import Layout
from .values import Integer, MedicalFloat

SUBJECT = "CGM measurement"
_SFLOAT = MedicalFloat(2)

RECORD = Layout(
    SUBJECT,
    1,
    (
        Field("glucose", _SFLOAT, "mg/dL"),
        Field("time_offset", Integer(2), "min"),
        Bits(
            1,
            (
                (0, "session_stopped"),
                (1, "battery_low"),
                (2, "sensor_type_incorrect"),
                (3, "sensor_malfunction"),
                (4, "device_alert"),
                (5, "device_fault"),
            ),
            bit=7,
        ),
        Bits(
            1,
            (
                (0, "time_synchronization_required"),
                (1, "calibration_not_allowed"),
                (2, "calibration_recommended"),
                (3, "calibration_required"),
                (4, "sensor_temperature_too_high"),
                (5, "sensor_temperature_too_low"),
            ),
            bit=6,
        ),
        Bits(
            1,
            (
                (0, "below_patient_low_level"),
                (1, "above_patient_high_level"),
                (2, "below_hypoglycaemia_level"),
                (3, "above_hyperglycaemia_level"),
                (4, "falling_too_fast"),
                (5, "rising_too_fast"),
                (6, "result_too_low"),
                (7, "result_too_high"),
            ),
            bit=5,
        ),
        Field("glucose_trend", _SFLOAT, "mg/dL/min", bit=0),
        Field("glucose_quality", _SFLOAT, "%", bit=1),
    ),
)


def crc16(data: bytes) -> int:
    """CRC-16 with start 0xFFFF and the reflected polynomial 0x8408; it goes on the wire low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def decode(data: bytes, crc: bool) -> "list[Reading]":
    """The readings of every record, each record beginning with its glucose. Raises DecodeError, ChecksumError."""
    if not data:
        raise TruncatedError(SUBJECT, 1, 0)
    readings: "list[Reading]" = []
    at = 0
    while at < len(data):
        size = data[at]
        end = at + size
        if size < (8 if crc else 6):
            raise DecodeError(SUBJECT, f"size octet {size}")
        if end > len(data):
            raise TruncatedError(SUBJECT, end, len(data))
        if crc:
            end -= 2
            got = data[end] | data[end + 1] << 8
            if got != crc16(data[at:end]):
                raise ChecksumError(SUBJECT, f"CRC {got:04x} where {crc16(data[at:end]):04x} is wanted")
        readings += RECORD.decode(data[at + 1 : end])
        at += size
    return readings


def encode(readings: "list[Reading]", crc: bool) -> bytes:
    """The records; every glucose reading opens one. Raises EncodeError."""
    records: "list[list[Reading]]" = []
    for item in readings:
        if item.metric == "glucose":
            records.append([])
        if not records:
            raise EncodeError(SUBJECT, f"{item.metric} before the first glucose")
        records[-1].append(item)
    if not records:
        raise EncodeError(SUBJECT, "glucose is missing")
    data = b""
    for record in records:
        body = RECORD.encode(record)
        framed = bytes([len(body) + (3 if crc else 1)]) + body
        data += framed + (crc16(framed).to_bytes(2, "little") if crc else b"")
    return data
