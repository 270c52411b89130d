"""Values for people: as many decimals as they are worth, grouped thousands."""

from hub.page.texts import decimals, word
from hub.store.querying import Point
from hub.values import exact_text, plain


def shown(point: Point, unit: str, language: str) -> str:
    """A stored value: with its own decimals if it claims any, else with those that the unit is worth."""
    value = plain(point.value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return word("true" if value else "false", language)
    if isinstance(value, str) or point.exponent is not None:
        return exact_text(point.value, point.exponent)
    return number(value, unit)


def number(value: float, unit: str) -> str:
    """A computed number in a unit."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    places = decimals(unit)
    if places is None:
        return f"{value:.4g}"
    text = f"{value:,.{places}f}" if abs(value) >= 10_000 else f"{value:.{places}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
