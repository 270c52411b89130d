"""The chart of one stream: a mean line in a band from min to max, as ECharts options. Pure."""

from collections.abc import Sequence
from typing import Any

from hub.page.texts import word
from hub.store.steps import Step

# range -> (span, step): some 200 points each
RANGES = {"15m": (900_000, 5_000), "1h": (3_600_000, 15_000), "1d": (86_400_000, 300_000)}

_HEARTBEAT_MS = 75_000  # a gateway tells every stream once a minute, however small its change

ACCENT = "#0f9d8a"
_INK = "#8a948f"  # readable on the light and on the dark ground
_GRID = "rgba(128,140,134,.18)"

Dot = list[float | None]


def with_gaps(steps: Sequence[Step], step_ms: int, gap_ms: float) -> list[tuple[int, Step | None]]:
    """The steps at their middles; where nothing came for longer than `gap_ms` a hole that breaks the line."""
    made: list[tuple[int, Step | None]] = []
    for step in steps:
        middle = step.time_ms + step_ms // 2
        if made and middle - made[-1][0] > gap_ms:
            made.append((made[-1][0] + step_ms, None))
        made.append((middle, step))
    return made


def options(
    steps: Sequence[Step],
    *,
    name: str,
    unit: str,
    places: int | None,
    language: str,
    now_ms: int,
    range_name: str,
    interval_ms: float,
) -> dict[str, Any]:
    """ECharts options of the range that ends now.

    Three usual intervals of silence break the line, though not less than what a deadband may hold back.
    """
    span_ms, step_ms = RANGES[range_name]
    dots = with_gaps(steps, step_ms, max(3 * max(interval_ms, step_ms), _HEARTBEAT_MS))
    lows: list[Dot] = [[t, s.min if s else None] for t, s in dots]
    heights: list[Dot] = [[t, s.max - s.min if s else None] for t, s in dots]
    means: list[Dot] = [[t, s.mean if s else None] for t, s in dots]
    few = sum(step is not None for _, step in dots) <= 60
    band: dict[str, Any] = {
        "type": "line",
        "stack": "band",
        "symbol": "none",
        "silent": True,
        "lineStyle": {"opacity": 0},
    }
    return {
        "animation": False,
        "grid": {"left": 8, "right": 14, "top": 26, "bottom": 6, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            "backgroundColor": "rgba(24,32,29,.94)",
            "borderWidth": 0,
            "textStyle": {"color": "#fff", "fontSize": 13},
            "axisPointer": {"lineStyle": {"color": _INK, "type": "dashed"}},
            ":valueFormatter": f"v => v == null ? '–' : (+v).toFixed({2 if places is None else places})",
        },
        "xAxis": {
            "type": "time",
            "min": now_ms - span_ms,
            "max": now_ms,
            "splitNumber": 4,
            "axisLine": {"lineStyle": {"color": _GRID}},
            "axisTick": {"show": False},
            "axisLabel": {"color": _INK, "hideOverlap": True, "formatter": "{HH}:{mm}", "fontSize": 12},
        },
        "yAxis": {
            "type": "value",
            "scale": True,
            "name": unit,
            "nameTextStyle": {"color": _INK, "align": "left", "fontSize": 12},
            "splitNumber": 4,
            "axisLabel": {"color": _INK, "fontSize": 12},
            "splitLine": {"lineStyle": {"color": _GRID}},
        },
        "series": [
            {**band, "name": "low", "data": lows, "tooltip": {"show": False}},
            {
                **band,
                "name": word("band", language),
                "data": heights,
                "areaStyle": {"color": ACCENT, "opacity": 0.16},
                "tooltip": {"show": False},
            },
            {
                "type": "line",
                "name": name,
                "data": means,
                "symbol": "circle",
                "symbolSize": 5,
                "showSymbol": few,
                "lineStyle": {"color": ACCENT, "width": 2},
                "itemStyle": {"color": ACCENT},
            },
        ],
    }


def summary(steps: Sequence[Step]) -> tuple[float, float, float] | None:
    """Least, mean and greatest of all readings in the steps."""
    count = sum(step.count for step in steps)
    if not count:
        return None
    mean = sum(step.mean * step.count for step in steps) / count
    return min(step.min for step in steps), mean, max(step.max for step in steps)
