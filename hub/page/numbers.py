"""Values for people: as many decimals as they are worth, grouped thousands."""

from hub.page.texts import ROUNDED, decimals, word
from hub.store.querying import StreamNow
from hub.values import exact_text, plain


def shown(stream: StreamNow, language: str) -> str:
    """A stream's newest value: a state by name, a number with as many decimals as it is worth."""
    point = stream.latest
    value = plain(point.value) if point else None
    if point is None or value is None:
        return "–"
    if isinstance(value, int) and value in stream.states:
        return stream.states[value][language]
    if isinstance(value, bool):
        return word("true" if value else "false", language)
    if isinstance(value, str) or (point.exponent is not None and stream.metric not in ROUNDED):
        return exact_text(point.value, point.exponent)
    return number(value, decimals(stream.metric, stream.unit))


def number(value: float, places: int | None) -> str:
    """A number to so many places; None: four significant digits."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if places is None:
        return f"{value:.4g}"
    text = f"{value:,.{places}f}" if abs(value) >= 10_000 else f"{value:.{places}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
