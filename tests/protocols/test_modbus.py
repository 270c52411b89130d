"""Properties of Modbus values; layouts are held by tests/vectors/modbus.json."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, EncodeError
from protocols.modbus import TYPES, decode_registers, encode_registers, register_count

ORDERS = st.sampled_from(["big", "little"])
INTEGERS = {
    f"{sign}int{bits}{half}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits - (0 if sign else 1)) - 1)
    for sign in ("u", "")
    for bits, halves in ((8, ("_high", "_low")), (16, ("",)), (32, ("",)), (64, ("",)))
    for half in halves
}


def test_the_table_has_all_widths() -> None:
    assert set(TYPES) == set(INTEGERS) | {"bcd16", "bcd32", "float32", "float64", "bool", "bits"}


@given(st.data(), st.sampled_from(sorted(INTEGERS)), ORDERS, ORDERS)
def test_integers_round_trip(data: st.DataObject, type_: str, byte_order: str, word_order: str) -> None:
    value = data.draw(st.integers(*INTEGERS[type_]))
    registers = encode_registers(value, type_, byte_order=byte_order, word_order=word_order)
    assert len(registers) == register_count(type_)
    assert decode_registers(registers, type_, byte_order=byte_order, word_order=word_order) == value


@pytest.mark.parametrize("type_", sorted(INTEGERS))
def test_integers_out_of_range_are_refused(type_: str) -> None:
    least, most = INTEGERS[type_]
    for value in (least - 1, most + 1):
        with pytest.raises(EncodeError):
            encode_registers(value, type_)


@given(st.integers(0, 99_999_999), ORDERS, ORDERS)
def test_decimal_digits_are_the_digits_of_the_registers(value: int, byte_order: str, word_order: str) -> None:
    digits = f"{value:08d}"
    registers = encode_registers(value, "bcd32", byte_order=byte_order, word_order=word_order)
    assert decode_registers(registers, "bcd32", byte_order=byte_order, word_order=word_order) == value
    assert [f"{register:04x}" for register in encode_registers(value, "bcd32")] == [digits[:4], digits[4:]]


@given(st.floats(allow_nan=False, allow_infinity=False), ORDERS, ORDERS)
def test_float64_round_trips(value: float, byte_order: str, word_order: str) -> None:
    registers = encode_registers(value, "float64", byte_order=byte_order, word_order=word_order)
    assert decode_registers(registers, "float64", byte_order=byte_order, word_order=word_order) == value


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), ORDERS, ORDERS)
def test_float32_round_trips(value: float, byte_order: str, word_order: str) -> None:
    registers = encode_registers(value, "float32", byte_order=byte_order, word_order=word_order)
    assert decode_registers(registers, "float32", byte_order=byte_order, word_order=word_order) == value


@given(st.lists(st.integers(0, 0xFFFF), max_size=5), st.sampled_from([*sorted(TYPES), "string[2]", "string[9", "?"]))
def test_any_registers_decode_or_raise_decode_error(registers: list[int], type_: str) -> None:
    try:
        value = decode_registers(registers, type_)
    except DecodeError:
        return
    assert value is None or isinstance(value, (int, float, str))
    assert not isinstance(value, float) or math.isfinite(value)


@given(st.integers(0, 0xFFFF), st.integers(0, 15), st.data())
def test_bit_fields_are_the_shifted_mask(register: int, bit: int, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 16 - bit))
    value = decode_registers([register], "bits", bit=bit, width=width)
    assert value == int(f"{register:016b}"[::-1][bit : bit + width][::-1], 2)
    assert (
        decode_registers(encode_registers(value, "bits", bit=bit, width=width), "bits", bit=bit, width=width) == value
    )


@given(
    st.integers(-32768, 32767), st.sampled_from([0.001, 0.01, 0.1, 0.5, 2.0, 10.0]), st.sampled_from([0.0, -40.0, 7.5])
)
def test_scaled_values_round_trip(raw: int, scale: float, offset: float) -> None:
    registers = encode_registers(raw, "int16")
    value = decode_registers(registers, "int16", scale=scale, offset=offset)
    assert encode_registers(value, "int16", scale=scale, offset=offset) == registers


def test_a_decimal_scale_gives_the_nearest_decimal() -> None:
    assert all(decode_registers([raw], "uint16", scale=0.1) == float(f"{raw // 10}.{raw % 10}") for raw in range(2000))
