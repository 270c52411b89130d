"""SFLOAT and FLOAT: every word, and every number that fits, comes back as it went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodeError
from protocols.ieee11073 import (
    FLOAT_SPECIAL,
    NAN,
    NEGATIVE_INFINITY,
    NRES,
    POSITIVE_INFINITY,
    RESERVED,
    decode_float,
    decode_sfloat,
    encode_float,
    encode_sfloat,
)
from protocols.reading import DecimalFraction, to_text


def test_every_sfloat_word_round_trips() -> None:
    # Zero with an exponent is still a word of its own: 0.00 is not 0.
    assert all(encode_sfloat(decode_sfloat(word)) == word for word in range(0x10000))


def test_exactly_five_sfloat_words_are_special() -> None:
    special = {word: decode_sfloat(word) for word in range(0x10000) if isinstance(decode_sfloat(word), str)}
    assert special == {
        0x07FF: NAN,
        0x07FE: POSITIVE_INFINITY,
        0x0802: NEGATIVE_INFINITY,
        0x0800: NRES,
        0x0801: RESERVED,
    }


@given(st.integers(0, 0xFFFFFFFF) | st.sampled_from(sorted(FLOAT_SPECIAL)))
def test_float_words_round_trip(word: int) -> None:
    assert encode_float(decode_float(word)) == word


def exact(number: DecimalFraction, places: int) -> int:
    return number.mantissa * int(10 ** (number.exponent + places))


@given(st.integers(-(10**9), 10**9), st.integers(-20, 20))
def test_sfloat_keeps_the_number_or_refuses(mantissa: int, exponent: int) -> None:
    value = DecimalFraction(mantissa, exponent)
    try:
        back = decode_sfloat(encode_sfloat(value))
    except EncodeError:
        # It may refuse only what no 12-bit mantissa and 4-bit exponent can express.
        scaled = exact(value, 20)
        ordinary = (m * 10 ** (e + 20) for e in range(-8, 8) for m in _mantissas(scaled, e))
        assert scaled not in ordinary
        return
    assert isinstance(back, DecimalFraction)
    assert exact(back, 20) == exact(value, 20)


def _mantissas(scaled: int, exponent: int) -> list[int]:
    mantissa, rest = divmod(scaled, 10 ** (exponent + 20))
    special = exponent == 0 and not -2045 <= mantissa <= 2045
    return [mantissa] if rest == 0 and -2048 <= mantissa <= 2047 and not special else []


def test_precision_survives_into_text() -> None:
    two = decode_sfloat(0xE0C8)
    assert isinstance(two, DecimalFraction)
    assert to_text(two) == "2.00"


@pytest.mark.parametrize("value", [True, 1.0, None, "infinity"])
def test_refuses_what_is_no_decimal(value: bool | float | str | None) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_float(value)
    assert caught.value.subject == "FLOAT"
