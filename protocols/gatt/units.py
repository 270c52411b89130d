"""The units that a person may set a health device to, and the one in which its readings are kept.

The result has as many decimal places as the device's precision is worth in the other unit, but is never coarser than 1.
"""

from ..reading import DecimalFraction

# (from, to): value x numerator / denominator after adding the offset; the decimal places that it has more or less.
_CONVERSIONS = {
    ("mg/dL", "mmol/L"): (0, 10_000, 180_156, 1),  # of glucose, 180.156 g/mol
    ("mmol/L", "mg/dL"): (0, 180_156, 10_000, -1),
    ("kPa", "mm[Hg]"): (0, 750_062, 100_000, -1),
    ("[degF]", "Cel"): (-32, 5, 9, 0),
    ("[lb_av]", "kg"): (0, 45_359_237, 100_000_000, 0),
    ("[in_i]", "m"): (0, 254, 10_000, 2),
}


def converts(unit: str, to: str) -> bool:
    """Whether values can be turned from one unit into the other."""
    return unit == to or (unit, to) in _CONVERSIONS


def convert(value: "int | DecimalFraction", unit: str, to: str) -> "int | DecimalFraction":
    """The value in the other unit, rounded, half away from zero. KeyError for units that do not go together."""
    if unit == to:
        return value
    offset, numerator, denominator, more = _CONVERSIONS[unit, to]
    mantissa, exponent = (value.mantissa, value.exponent) if isinstance(value, DecimalFraction) else (value, 0)
    if exponent > 0:
        mantissa, exponent = mantissa * 10**exponent, 0
    places = max(0, more - exponent)
    top = (mantissa + offset * 10**-exponent) * numerator * 10**places
    bottom = denominator * 10**-exponent
    rounded = (2 * abs(top) + bottom) // (2 * bottom)
    signed = -rounded if top < 0 else rounded
    return DecimalFraction(signed, -places) if places else signed
