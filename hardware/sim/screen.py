"""What a person sees of a running block: a live table in a terminal, plain lines elsewhere; in English or Chinese."""

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hardware.catalogue import Name, catalogue
from hardware.sim.block import THINGS, Block
from hardware.sim.report import by_thing
from runtime.language import speaks_chinese

_LINES_EVERY_S = 5.0
_SHOWN = {  # thing -> the metric that its line shows
    "wearable-1": "heart_rate",
    "wearable-2": "heart_rate",
    "room-1": "temperature",
    "dispenser-1": "event",
    "meter-1": "active_power",
    "cuff-1": "systolic",
    "oximeter-1": "oxygen_saturation",
    "gps-1": "latitude",
}
_UNITS = {"mm[Hg]": "mmHg", "deg": "°", "Cel": "°C"}
_COUNTS = ("read", "suppressed", "buffered", "stored")
_WORDS = {
    "device": ("device", "设备"), "state": ("state", "状态"), "last": ("last reading", "最近读数"),
    "age": ("age", "距今"),
    "read": ("read", "已读"), "suppressed": ("suppressed", "已抑制"), "buffered": ("buffered", "缓存中"),
    "stored": ("stored", "已存储"), "online": ("online", "在线"), "offline": ("offline", "离线"),
    "waiting": ("waiting", "等待中"), "starting": ("starting", "启动中"), "ends": ("Ctrl-C ends it", "按 Ctrl-C 结束"),
    "starting {}": ("starting {}", "正在启动 {}"), "page {}": ("the hub's page: {}", "中心页面：{}"),
    "stopping": ("stopping", "正在停止"),
    "settling": (
        "ending the devices and letting their last readings arrive", "正在结束各设备，等待最后的读数到达"
    ),
    "restarted {}": (
        "{} had ended and was started again; the end of its log:", "{} 已退出并重新启动；其日志末尾："
    ),
}  # fmt: skip


def word(key: str, *values: object, environ: Mapping[str, str] = os.environ) -> str:
    """A text in the language of the person's locale: Chinese where it says zh, else English."""
    return _WORDS[key][speaks_chinese(environ)].format(*values)


class Row(NamedTuple):
    """One device's line, as text; `state` as the gateway gives it."""

    thing: str
    state: str
    last: str
    age: str
    counts: tuple[str, ...]


class Screen(Protocol):
    """Where the demo shows itself."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None:
        """Tell what is being done."""

    def show(self, gateway: Any, hub: Any) -> None:
        """Show how the devices are."""


def rows(gateway: Any, hub: Any) -> list[Row]:
    """The lines, from the gateway's /status.json and the hub's /api/v1/custody; None where one does not answer."""
    stored_there = by_thing(hub)
    made = []
    for thing in THINGS:
        ours = (gateway or {}).get("things", {}).get(thing, {})
        theirs = stored_there.get(thing, {})
        last, age = _last(thing, ours)
        counts = {**ours, "stored": theirs.get("stored", 0)}
        made.append(
            Row(thing, ours.get("state", "starting"), last, age, tuple(str(counts.get(key, 0)) for key in _COUNTS))
        )
    return made


def _last(thing: str, ours: Any) -> tuple[str, str]:
    metric = _SHOWN[thing]
    last = ours.get("last", {}).get(metric)
    if not last:
        return "–", "–"
    declared = catalogue()[ours["model"]].metrics[metric]
    title = _named(declared.name)
    states = {str(code): _named(name) for code, name in (declared.states or {}).items()}
    value = f"{last['text']} {_UNITS.get(last['unit'], last['unit'])}" if last["text"] else last["quality"]
    value = states.get(last["text"], value)
    return f"{title} {value}", f"{max(0.0, time.time() - last['time_ms'] / 1000):.0f} s"


def _named(name: Name) -> str:
    return name.zh if word("device") != "device" else name.en


class PlainScreen:
    """Plain lines, for pipes and logs."""

    def __init__(self, block: Block):
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def say(self, text: str) -> None:
        """Tell what is being done."""
        print(text, flush=True)

    def show(self, gateway: Any, hub: Any) -> None:
        """One line a device, every few seconds."""
        if time.monotonic() - self._shown_s < _LINES_EVERY_S:
            return
        self._shown_s = time.monotonic()
        for row in rows(gateway, hub):
            counts = " ".join(f"{word(key)} {count}" for key, count in zip(_COUNTS, row.counts, strict=True))
            print(f"{row.thing:12} {word(row.state):8} {row.last:34} {row.age:>5}  {counts}")
        print(flush=True)


class RichScreen:
    """A table that stays in its place."""

    def __init__(self, block: Block):
        self._block = block
        self._live = Live(console=Console(), refresh_per_second=4)
        self._said: list[str] = []
        self._table: Table | None = None  # once there is one it stays, also after the end

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Tell what is being done."""
        self._said = [*self._said[-3:], text]
        if self._table is None:
            self._live.update("\n".join(self._said), refresh=True)
        else:
            self._table.caption = text
            self._live.update(self._table, refresh=True)

    def show(self, gateway: Any, hub: Any) -> None:
        """The table of the devices."""
        table = Table(
            title=f"Kerb · http://127.0.0.1:{self._block.hub_port} · {word('ends')}",
        )
        for heading in ("device", "state", "last"):
            table.add_column(word(heading))
        for heading in ("age", *_COUNTS):
            table.add_column(word(heading), justify="right")
        colours = {"online": "green", "offline": "red"}
        for row in rows(gateway, hub):
            state = f"[{colours.get(row.state, 'yellow')}]{word(row.state)}[/]"
            table.add_row(row.thing, state, row.last, row.age, *row.counts)
        self._table = table
        self._live.update(table, refresh=True)
