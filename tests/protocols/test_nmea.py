"""Properties of NMEA sentences; their meaning is held by tests/vectors/nmea.json."""

from datetime import datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import nmea
from protocols.errors import ChecksumError, DecodeError, EncodeError
from protocols.reading import DecimalFraction, Reading

LATITUDES = st.integers(-900000000, 900000000).map(lambda m: DecimalFraction(m, -7))
LONGITUDES = st.integers(-1800000000, 1800000000).map(lambda m: DecimalFraction(m, -7))
TIMES = st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2079, 12, 31)).map(
    lambda time: time.strftime("%Y-%m-%dT%H:%M:%S")
)
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"


def values(text: str) -> dict[str, object]:
    return {item.metric: item.value for item in nmea.decode(nmea.parse(text))}


@given(TIMES, LATITUDES, LONGITUDES, st.integers(0, 100000), st.integers(0, 3600))
def test_rmc_round_trips(
    time: str, latitude: DecimalFraction, longitude: DecimalFraction, speed: int, course: int
) -> None:
    text = nmea.encode_rmc(
        time, latitude, longitude, speed=DecimalFraction(speed, -3), course=DecimalFraction(course, -1)
    )
    assert len(text) <= nmea.MAX_LENGTH
    got = values(text)
    assert (got["device_time"], got["latitude"], got["longitude"]) == (time, latitude, longitude)
    assert got["course"] == DecimalFraction(course, -1)
    back = got["speed"]
    assert isinstance(back, DecimalFraction)
    # Written in 10^-4 knot, read in 10^-5 m/s: half a step of each.
    assert abs(Fraction(back.mantissa, 10**5) - Fraction(speed, 1000)) <= Fraction(3, 10**5)


DETAILS = st.fixed_dictionaries(
    {
        "altitude": st.integers(-5000, 90000).map(lambda m: DecimalFraction(m, -1)),
        "satellites": st.integers(0, 99),
        "hdop": st.integers(0, 9999).map(lambda m: DecimalFraction(m, -2)),
    }
)


@given(TIMES, LATITUDES, LONGITUDES, DETAILS)
def test_gga_round_trips(time: str, latitude: DecimalFraction, longitude: DecimalFraction, details: dict) -> None:
    text = nmea.encode_gga(time, latitude, longitude, **details)
    assert len(text) <= nmea.MAX_LENGTH
    assert values(text) == {"latitude": latitude, "longitude": longitude, **details}


@given(st.binary(max_size=110) | st.text(max_size=110))
def test_any_input_parses_or_raises_decode_error(text: bytes | str) -> None:
    with pytest.raises(DecodeError):
        nmea.decode(nmea.parse(text))


FIELD = st.text("0123456789.NSEWAVM-x", max_size=6)


@given(st.sampled_from(["RMC", "GGA"]), st.lists(FIELD, min_size=9, max_size=15))
def test_any_checked_fields_decode_or_raise_decode_error(type_: str, fields: list[str]) -> None:
    try:
        readings = nmea.decode(nmea.Sentence("GP", type_, tuple(fields)))
    except DecodeError:
        return
    assert all(isinstance(item, Reading) for item in readings)


@given(st.integers(1, len(RMC) - 6), st.integers(0, 7))
def test_every_flipped_bit_between_start_and_star_is_noticed(at: int, bit: int) -> None:
    broken = RMC[:at] + bytes([RMC[at] ^ 1 << bit]) + RMC[at + 1 :]
    with pytest.raises(DecodeError):
        nmea.parse(broken)


def test_a_wrong_digit_is_a_checksum_error() -> None:
    with pytest.raises(ChecksumError) as caught:
        nmea.parse(RMC.replace(b"4807", b"4808"))
    assert caught.value.subject == "NMEA sentence"


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_different_knots_give_different_speeds(a: int, b: int) -> None:
    def speed(knots: int) -> object:
        return nmea.decode(nmea.Sentence("GP", "RMC", ("120000", "A", "4807.038", "N", "01131.000", "E",
            f"{abs(knots) // 1000}.{abs(knots) % 1000:03d}", "0.0", "010126", "", "", "A")))[2].value  # fmt: skip

    assert (speed(a) == speed(b)) == (abs(a) == abs(b))


@pytest.mark.parametrize("body", ["GPRMC,\n", "GP*", "GP$", "x" * 77, "GPTXT,é"])
def test_bodies_that_cannot_be_sent(body: str) -> None:
    with pytest.raises(EncodeError):
        nmea.sentence(body)
