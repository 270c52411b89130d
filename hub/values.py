"""Stored values as programs and people read them."""

from hub.store.readings import Stored
from protocols.reading import DecimalFraction, to_text


def plain(value: Stored) -> bool | int | float | str | None:
    """The value as JSON carries it."""
    return value == b"\x01" if isinstance(value, bytes) else value


def exact_text(value: Stored, exponent: int | None) -> str:
    """The value with exactly the decimals that it claims: 37.6 of exponent -2 is "37.60"; empty if absent."""
    if exponent is None or not isinstance(value, int | float):
        return to_text(plain(value))
    return to_text(DecimalFraction(round(value * 10.0**-exponent), exponent))
