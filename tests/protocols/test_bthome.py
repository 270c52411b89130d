"""Properties of the BTHome codec; the objects themselves are held by tests/vectors/bthome.json."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import bthome
from protocols.bthome_objects import NUMBERS, PACKET_ID, STATES
from protocols.errors import ChecksumError, DecodeError, EncodeError
from protocols.reading import BAD, DecimalFraction, Reading, reading, to_float


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_decode_or_raise_decode_error(data: bytes, keyed: bool) -> None:
    try:
        said = bthome.decode(data, (lambda _info, _counter, sealed: sealed[:-4]) if keyed else None)
    except DecodeError:
        return
    assert all(isinstance(each, Reading) and each.time_ms is None for each in said.readings)
    assert len({each.metric for each in said.readings}) == len(said.readings)
    for each in said.readings:
        assert (each.value is None) == (each.quality >= BAD)
        if each.unit == "%" and each.value is not None:
            assert 0 <= to_float(each.value) <= 100


@st.composite
def objects(draw: st.DrawFn) -> tuple[int, int]:
    """(id, raw value) of a number within its range."""
    kind = draw(st.sampled_from(sorted(NUMBERS)))
    number = NUMBERS[kind]
    bits = 8 * number.size
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if number.signed else (0, (1 << bits) - 1)
    return kind, draw(st.integers(least, most if number.most is None else number.most))


@given(objects(), st.none() | st.integers(0, 255), st.booleans())
def test_what_is_encoded_decodes(chosen: tuple[int, int], packet_id: int | None, triggered: bool) -> None:
    kind, raw = chosen
    number = NUMBERS[kind]
    scaled = raw * number.step
    given_reading = reading(
        number.metric, DecimalFraction(scaled, number.exponent) if number.exponent else scaled, number.unit
    )
    said = bthome.decode(bthome.encode([given_reading], packet_id=packet_id, trigger_based=triggered))
    assert (said.packet_id, said.trigger_based, said.unknown) == (packet_id, triggered, None)
    [found] = said.readings
    assert (found.metric, found.unit) == (number.metric, number.unit)
    assert to_float(found.value) == pytest.approx(to_float(given_reading.value))


def test_every_id_means_one_thing() -> None:
    assert not set(NUMBERS) & set(STATES)
    assert PACKET_ID not in NUMBERS
    assert len(set(STATES.values())) == len(STATES)
    assert not {number.metric for number in NUMBERS.values()} & set(STATES.values())


def test_the_seal_is_checked_before_anything_is_read() -> None:
    def unseal(_info: bytes, _counter: bytes, _sealed: bytes) -> bytes:
        raise ChecksumError("BTHome advertisement", "was not sealed with this key")

    with pytest.raises(ChecksumError):
        bthome.decode(bytes.fromhex("41a47266c95f730011223378237214"), unseal)


def test_a_sealed_advertisement_is_laid_out_as_the_format_says() -> None:
    data = bthome.encode(
        [reading("temperature", DecimalFraction(2506, -2), "Cel"), reading("humidity", DecimalFraction(5055, -2), "%")],
        counter=0x33221100,
        seal=lambda info, counter, plain: (
            bytes.fromhex("a47266c95f73" + "78237214")
            if (info, counter, plain) == (b"\x41", bytes.fromhex("00112233"), bytes.fromhex("02ca0903bf13"))
            else b""
        ),
    )
    assert data == bytes.fromhex("41a47266c95f730011223378237214")


@pytest.mark.parametrize("value", [True, "20", None, 2.5])
def test_a_temperature_is_a_decimal_number(value: object) -> None:
    with pytest.raises(EncodeError):
        bthome.encode([reading("temperature", value, "Cel")])  # type: ignore[arg-type]
