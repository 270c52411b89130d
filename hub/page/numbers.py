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


# From so many seconds on in this unit, of which one has so many seconds
_SPANS = ((0, "s", 1), (90, "min", 60), (5400, "h", 3600), (172_800, "d", 86_400))


def span(ms: float, language: str) -> str:
    """A span of time: "52 s", "1.5 h"."""
    seconds = ms / 1000
    if seconds < 1:
        return f"< 1 {word('s', language)}"
    unit, length = next((unit, length) for least, unit, length in reversed(_SPANS) if seconds >= least)
    amount = seconds / length
    return (
        f"{amount:.1f} {word(unit, language)}" if amount < 10 and length > 1 else f"{amount:.0f} {word(unit, language)}"
    )


def size(count: int) -> str:
    """So many bytes: "4 kB", "1.5 GB"."""
    amount, units = float(count), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"
