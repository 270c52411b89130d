"""A simulated board for CPython, whose time passes when somebody sleeps or when the test says so."""

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hardware.sim.shims import machine, simboard

SECOND_US = 1_000_000


class Simulated:
    """`board` is what is simulated, `hal` the port that the firmware sees."""

    def __init__(self, hal: Any, description: dict[str, Any]):
        self.board = simboard.Board({"unique_id": "00", "chips": [], **description}, tick_ms=0)
        self.hal = hal
        self.now_us = 0
        simboard.install(self.board)

    def pass_time(self, seconds: float) -> None:
        self.now_us += round(seconds * SECOND_US)
        self.board.advance(self.now_us)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Simulated]]:
    """Make a board of its description (hardware/sim/shims/simboard.py), one at a time."""
    monkeypatch.setitem(sys.modules, "machine", machine)
    hal = importlib.import_module("firmware.hal.board")
    made: list[Simulated] = []
    really_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        made[-1].pass_time(seconds)
        await really_sleep(0)

    def make(**description: Any) -> Simulated:
        made.append(Simulated(hal, description))
        return made[-1]

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(hal, "ticks_ms", lambda: made[-1].now_us // 1000)
    monkeypatch.setattr(hal, "ticks_diff", lambda after, before: after - before)
    yield make
    for each in made:
        each.board.close()
