"""The watchdog: fed only while every task reports in time, so that one that hangs brings a fresh start."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from firmware.core.clock import Clock

    class Dog(Protocol):
        """What is needed of `machine.WDT`."""

        def feed(self) -> None: ...


TIMEOUT_MS = 8000  # the longest that all ports can
_LOOK_S = 1


class Watchdog:
    """Tasks report by what `watch` gives them. `on_late` is told once, before the board starts anew."""

    def __init__(self, dog: "Dog", clock: "Clock", on_late: "Callable[[str], None]"):
        self._dog = dog
        self._clock = clock
        self._on_late = on_late
        self._limits_ms: "dict[str, int]" = {}
        self._reported_ms: "dict[str, int]" = {}
        self._given_up = False

    def watch(self, task: str, limit_ms: int) -> "Callable[[], None]":
        """From now on this task must report within so many milliseconds, by calling what is returned."""
        self._limits_ms[task] = limit_ms

        def report() -> None:
            self._reported_ms[task] = self._clock.monotonic_ms()

        report()
        return report

    def look(self) -> None:
        """Feed the board's watchdog, unless a task is late: from then on it starves."""
        now_ms = self._clock.monotonic_ms()
        late = [task for task in sorted(self._limits_ms) if now_ms - self._reported_ms[task] > self._limits_ms[task]]
        if late and not self._given_up:
            self._given_up = True
            self._on_late("no word from " + ", ".join(late))
        if not self._given_up:
            self._dog.feed()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)
