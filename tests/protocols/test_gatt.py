"""Properties of the GATT codec; the layouts themselves are held by tests/vectors/gatt.json."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import gatt
from protocols.errors import DecodeError, EncodeError, TruncatedError
from protocols.gatt import racp, units
from protocols.reading import BAD_INVALID, BAD_RANGE, UNCERTAIN, DecimalFraction, Reading, reading

UUIDS = [
    0x2A37, 0x2A1C, 0x2A35, 0x2A18, 0x2A34, 0x2A08, 0x2A5E, 0x2A5F, 0x2A9D, 0x2A9C, 0x2AA7, 0x2A52, 0x2A2B, 0x2A19,
    0x2A29, 0x2A24, 0x2A25, 0x2A26,
]  # fmt: skip


def sizes_right(uuid: int, body: bytes) -> bytes:
    """A CGM record whose size octet is right, so that random bytes get past it."""
    return bytes([len(body) + 1]) + body if uuid == gatt.CGM_MEASUREMENT else body


@given(st.sampled_from(UUIDS), st.binary(max_size=40), st.booleans())
def test_any_bytes_decode_or_raise_decode_error(uuid: int, data: bytes, crc: bool) -> None:
    try:
        readings = gatt.decode(uuid, data, crc=crc)
    except DecodeError:
        return
    assert all(isinstance(item, Reading) and item.time_ms is None for item in readings)


def accepted(uuid: int, data: bytes) -> list[Reading] | None:
    """The readings of the longest prefix that is a whole characteristic."""
    for end in range(len(data), -1, -1):
        try:
            return gatt.decode(uuid, sizes_right(uuid, data[:end]))
        except DecodeError:
            continue
    return None


YEARS = st.integers(0, 9999).map(lambda year: year.to_bytes(2, "little"))
REST_OF_DATE = st.tuples(*(st.integers(0, most) for most in (12, 31, 23, 59, 59))).map(bytes)
DATES = st.tuples(YEARS, REST_OF_DATE).map(b"".join)
# Where random bytes hardly ever make a whole characteristic, they are drawn by its shape.
SHAPES = {
    0x2A08: DATES,
    0x2A18: st.tuples(st.binary(min_size=3, max_size=3), DATES, st.binary(max_size=7)).map(b"".join),
    0x2A2B: st.tuples(DATES, st.integers(0, 7).map(lambda day: bytes([day])), st.binary(min_size=2, max_size=2)).map(
        b"".join
    ),
    0x2A52: st.tuples(
        st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(1, 2)).map(bytes),
        st.binary(max_size=4) | DATES,
    ).map(b"".join),
    # Without the date's flag
    0x2A9C: st.tuples(
        st.integers(0, 0x1FFF).map(lambda flags: (flags & ~2).to_bytes(2, "little")),
        st.binary(min_size=24, max_size=24),
    ).map(b"".join),
}


@pytest.mark.parametrize("uuid", UUIDS)
def test_what_decodes_comes_back(uuid: int) -> None:
    seen = 0

    @given(SHAPES.get(uuid, st.binary(min_size=20, max_size=40)))
    def check(data: bytes) -> None:
        nonlocal seen
        readings = accepted(uuid, data)
        if readings is not None:
            seen += 1
            assert gatt.decode(uuid, gatt.encode(uuid, readings)) == readings

    check()
    assert seen > 5


FULL = {
    0x2A35: "1e8a00580078000000041114293b3c00012700",
    0x2A5E: "1f61004800e807031d081e0020012000000cf0",
    0x2A9C: "fe1fd700e807031d081e00017018a5012823f82aa028401f0314ec36d606",
}


@pytest.mark.parametrize("uuid", FULL)
def test_order_of_readings_does_not_matter_to_encode(uuid: int) -> None:
    data = bytes.fromhex(FULL[uuid])

    @given(st.permutations(gatt.decode(uuid, data)))
    def check(readings: list[Reading]) -> None:
        assert gatt.encode(uuid, readings) == data

    check()


def test_errors_name_the_characteristic_and_the_lengths() -> None:
    with pytest.raises(TruncatedError) as caught:
        gatt.decode(0x2A35, bytes.fromhex("008a005800"))
    assert (caught.value.subject, caught.value.wanted, caught.value.got) == ("blood pressure measurement", 7, 5)
    with pytest.raises(DecodeError, match="2AFF"):
        gatt.decode(0x2AFF, b"")
    with pytest.raises(EncodeError, match="2AFF"):
        gatt.encode(0x2AFF, [])


def test_bytearrays_decode() -> None:
    assert gatt.decode(0x2A19, bytearray(b"\x39")) == [reading("battery_level", 57, "%")]


def test_missing_numbers_say_why() -> None:
    readings = gatt.decode(0x2A5F, bytes.fromhex("00ff070208"))
    assert [(item.value, item.quality) for item in readings] == [(None, BAD_INVALID), (None, BAD_RANGE)]


def test_poor_contact_makes_the_heart_rate_uncertain() -> None:
    assert gatt.decode(0x2A37, b"\x04\x48")[0].quality == UNCERTAIN


def test_racp_request() -> None:
    assert racp.request("report", "all") == b"\x01\x01"
    assert racp.request("report", "at_least", minimum=0x1234) == b"\x01\x03\x01\x34\x12"
    assert racp.request("abort") == b"\x03\x00"
    with pytest.raises(EncodeError):
        racp.request("report", "range", minimum=1)


def test_a_simulated_scale_needs_no_more_than_its_weight() -> None:
    assert gatt.encode(0x2A9D, [reading("weight", DecimalFraction(703, -1), "kg")]).hex() == "00ec36"


@pytest.mark.parametrize(
    ("value", "unit", "to", "want"),
    [
        (99, "mg/dL", "mmol/L", DecimalFraction(55, -1)),  # 99 / 18.0156 = 5.495
        (DecimalFraction(55, -1), "mmol/L", "mg/dL", 99),  # 99.09
        (DecimalFraction(184, -1), "kPa", "mm[Hg]", 138),  # 138.01
        (11, "kPa", "mm[Hg]", 83),  # 82.51: never coarser than 1
        (DecimalFraction(997, -1), "[degF]", "Cel", DecimalFraction(376, -1)),  # 37.61
        (DecimalFraction(-400, -1), "[degF]", "Cel", DecimalFraction(-400, -1)),
        (DecimalFraction(15500, -2), "[lb_av]", "kg", DecimalFraction(7031, -2)),  # 70.307
        (DecimalFraction(689, -1), "[in_i]", "m", DecimalFraction(1750, -3)),  # 1.75006
        (120, "mm[Hg]", "mm[Hg]", 120),
        (DecimalFraction(2, 1), "kPa", "mm[Hg]", 150),  # 20 kPa are 150.01 mmHg
    ],
)
def test_units_that_a_person_may_set(value: int | DecimalFraction, unit: str, to: str, want: object) -> None:
    assert units.converts(unit, to)
    assert units.convert(value, unit, to) == want


def test_units_that_do_not_go_together() -> None:
    assert not units.converts("%", "kg")
