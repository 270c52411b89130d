"""Keeps the parts of the gateway running: what fails is reported and started again, and its neighbours go on."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from edge.errors import EdgeError
from runtime.tasks import in_own_task

logger = logging.getLogger(__name__)

_FIRST_GAP_S = 0.5
_LAST_GAP_S = 15.0
_LONG_RUN_S = 60.0


@dataclass
class PartState:
    """How one part is doing."""

    running: bool = False
    restarts: int = 0
    reason: str = ""


class Supervisor:
    """Runs the parts, each in a task of its name, until cancelled."""

    def __init__(self, parts: Mapping[str, Callable[[], Coroutine[object, object, None]]]):
        self.states = {name: PartState() for name in parts}
        self._parts = parts

    async def run(self) -> None:
        """Run everything; never returns."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._parts:
                tasks.create_task(self._keep(name), name=name)

    async def _keep(self, name: str) -> None:
        state = self.states[name]
        gap_s = _FIRST_GAP_S
        while True:
            started = asyncio.get_running_loop().time()
            state.running = True
            try:
                await in_own_task(self._parts[name](), name=f"{name}: run")
                state.reason = "ended"
            except Exception as error:  # the one place where anything may come: the part is started again
                cause = _innermost(error)
                state.reason = str(cause) or type(cause).__name__
                unforeseen = None if isinstance(cause, EdgeError) else error
                logger.error("%s failed and will be started again: %s", name, state.reason, exc_info=unforeseen)
            state.running = False
            state.restarts += 1
            if asyncio.get_running_loop().time() - started > _LONG_RUN_S:
                gap_s = _FIRST_GAP_S
            await asyncio.sleep(gap_s * random.uniform(0.5, 1.0))
            gap_s = min(gap_s * 2, _LAST_GAP_S)


def _innermost(error: Exception) -> BaseException:
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
