"""An event loop whose time passes as soon as nobody has anything to do; while a thread works for it, it stands."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class FastLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0 and jumps to what comes next; a minute of waiting takes no time at all."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._at_work = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Seconds since the loop began."""
        return self._now_s

    def run_in_executor(  # type: ignore[override]  # its own type is that of any call
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """As every loop does it; time waits for the end."""
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self._at_work += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: object) -> None:
        self._at_work -= 1

    def skip(self, seconds: float) -> bool:
        """Let time pass, unless somebody is at work."""
        if not self._at_work:
            self._now_s += seconds
        return not self._at_work


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: FastLoop):
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and (timeout <= 0 or self._loop.skip(timeout))):
            return ready
        return super().select(None)  # until a thread has ended
