"""The chart of what a gateway held and holds: an area by the minute, as ECharts options. Pure."""

from collections.abc import Sequence
from typing import Any

from hub.page.texts import word
from hub.store.accounts import SILENT_MS, Backlog

# range -> (span, step): at most 300 points each
RANGES = {"1h": (3_600_000, 60_000), "6h": (21_600_000, 120_000), "1d": (86_400_000, 300_000)}

_BUFFERED = "#d98a1f"
_INK = "#8a948f"
_GRID = "rgba(128,140,134,.18)"

Dot = list[float | None]


def dots(rows: Sequence[Backlog], step_ms: int) -> list[Dot]:
    """[time, readings] at the begins of the steps; where nothing was heard for long, a hole that breaks the line."""
    made: list[Dot] = []
    last_ms = 0
    for row in rows:
        if made and row.time_ms - last_ms > max(SILENT_MS, 2 * step_ms):
            made.append([last_ms + step_ms, None])
        made.append([row.time_ms, row.readings])
        last_ms = row.time_ms
    return made


def options(
    rows: Sequence[Backlog], *, buffered: int, heard_ms: int, online: bool, language: str, now_ms: int, range_name: str
) -> dict[str, Any]:
    """ECharts options of the range that ends now.

    buffered: what the gateway held when it was last heard. While it is off line a dashed line goes on from there: it
    holds no less.
    """
    span_ms, step_ms = RANGES[range_name]
    line: dict[str, Any] = {"type": "line", "symbol": "none", "itemStyle": {"color": _BUFFERED}}
    since: list[Dot] = [] if online else [[heard_ms, buffered], [now_ms, buffered]]
    known = dots(rows, step_ms)
    if online and known:
        known.append([now_ms, buffered])
    return {
        "animation": False,
        "grid": {"left": 8, "right": 14, "top": 30, "bottom": 6, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            "backgroundColor": "rgba(24,32,29,.94)",
            "borderWidth": 0,
            "textStyle": {"color": "#fff", "fontSize": 13},
            ":valueFormatter": "v => v == null ? '–' : (+v).toLocaleString()",
        },
        "xAxis": {
            "type": "time",
            "min": now_ms - span_ms,
            "max": now_ms,
            "splitNumber": 4,
            "axisLine": {"lineStyle": {"color": _GRID}},
            "axisTick": {"show": False},
            "axisLabel": {
                "color": _INK,
                "hideOverlap": True,
                "alignMaxLabel": "right",
                "formatter": "{HH}:{mm}",
                "fontSize": 12,
            },
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "minInterval": 1,
            "name": word("readings", language),
            "nameTextStyle": {"color": _INK, "align": "left", "fontSize": 12},
            "splitNumber": 4,
            "axisLabel": {"color": _INK, "fontSize": 12},
            "splitLine": {"lineStyle": {"color": _GRID}},
        },
        "series": [
            {
                **line,
                "name": word("buffered", language),
                "data": known,
                "lineStyle": {"color": _BUFFERED, "width": 2},
                "areaStyle": {"color": _BUFFERED, "opacity": 0.16},
            },
            {
                **line,
                "name": f"{word('buffered', language)}, {word('at_least', language)}",
                "data": since,
                "lineStyle": {"color": _BUFFERED, "width": 2, "type": "dashed"},
            },
        ],
    }
