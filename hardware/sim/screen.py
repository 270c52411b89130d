"""What a person sees of a running block: a live table in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hardware.sim.block import THINGS, Block
from hardware.sim.report import by_thing

_LINES_EVERY_S = 5.0
_SHOWN = {
    "wearable-1": "heart_rate",
    "meter-1": "active_power",
    "cuff-1": "systolic",
    "oximeter-1": "oxygen_saturation",
    "gps-1": "latitude",
}
_UNITS = {"/min": "/min", "mm[Hg]": "mmHg", "deg": "°"}


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


def rows(gateway: Any, hub: Any) -> list[tuple[str, str, str, str, str, str, str]]:
    """Per device: id, state, last reading, its age, read, stored, buffered."""
    made = []
    stored_there = by_thing(hub)
    for thing in THINGS:
        ours = (gateway or {}).get("things", {}).get(thing, {})
        theirs = stored_there.get(thing, {})
        last = ours.get("last", {}).get(_SHOWN[thing])
        text = age = "–"
        if last:
            metric = _SHOWN[thing].replace("_", " ")
            text = f"{metric} {last['text'] or last['quality']} {_UNITS.get(last['unit'], last['unit'])}"
            age = f"{max(0.0, time.time() - last['time_ms'] / 1000):.0f} s"
        counts = (str(ours.get("read", 0)), str(theirs.get("stored", 0)), str(ours.get("buffered", 0)))
        made.append((thing, ours.get("state", "starting"), text, age, *counts))
    return made


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
        for thing, state, text, age, read, stored, buffered in rows(gateway, hub):
            print(f"{thing:12} {state:8} {text:34} {age:>5} ago  read {read} stored {stored} buffered {buffered}")
        print(flush=True)


class RichScreen:
    """A table that stays in its place."""

    def __init__(self, block: Block):
        self._block = block
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=False)
        self._said: list[str] = []

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
        self._live.update("\n".join(self._said), refresh=True)

    def show(self, gateway: Any, hub: Any) -> None:
        """The table of the devices."""
        table = Table(
            title=f"Kerb · http://127.0.0.1:{self._block.hub_port} · Ctrl-C ends it",
            caption=self._said[-1] if self._said else None,
        )
        table.add_column("device")
        table.add_column("state")
        table.add_column("last reading")
        for heading in ("age", "read", "stored", "buffered"):
            table.add_column(heading, justify="right")
        colours = {"online": "green", "offline": "red"}
        for thing, state, *rest in rows(gateway, hub):
            table.add_row(thing, f"[{colours.get(state, 'yellow')}]{state}[/]", *rest)
        self._live.update(table, refresh=True)
