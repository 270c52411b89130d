"""Commands to the gateway's devices: each is carried out at most once and ends in exactly one way.

It is on disk before it is queued, marked as started before its link may act, and its end is on disk before anybody is
told. One that was started when the gateway stopped is not carried out again: it has failed, since nobody knows.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from edge.command_file import CommandFile
from edge.errors import ActionFailed, ActionRefused
from edge.links.base import Clock, Link
from hardware.catalogue import Command, DeviceModel
from protocols.command import DONE, EXPIRED, FAILED, REFUSED, STARTED, Request, Result, is_repetition
from protocols.reading import DecimalFraction, to_float

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

MOST_QUEUED = 256  # on one link; one more is refused
_RETRY_S = 1.0
_FORGET_S = 3600.0
_INTERRUPTED = "the gateway stopped while it was carried out; it may have been"


class Commands:
    """All commands of a gateway. `run` carries them out; calls come from its event loop.

    links, models: of each thing. `told` is called with each result once it is on disk.
    """

    def __init__(
        self, links: Mapping[str, Link], models: Mapping[str, DeviceModel], file: CommandFile, *, clock: Clock
    ):
        self.told: list[Callable[[Result], None]] = []
        self._links = links
        self._models = models
        self._file = file
        self._clock = clock
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commands")
        self._queues: dict[str, asyncio.Queue[Request]] = {
            link.name: asyncio.Queue(MOST_QUEUED) for link in links.values()
        }
        self._pending: dict[str, tuple[Request, asyncio.Future[Result]]] = {}

    async def run(self) -> None:
        """Carry out commands until cancelled."""
        for queue in self._queues.values():  # of a run before this one: all of it is on record
            while not queue.empty():
                queue.get_nowait()
        await self._recover()
        async with asyncio.TaskGroup() as tasks:
            for name, queue in self._queues.items():
                tasks.create_task(self._work(queue), name=f"commands of {name}")
            tasks.create_task(self._forget(), name="commands: forget")

    def close(self) -> None:
        """Let go of the disk."""
        self._disk.shutdown()

    async def submit(self, request: Request) -> Result:
        """Have it carried out, and return how it ended; a key that is known is answered as before."""
        if request.key in self._pending:
            known, ending = self._pending[request.key]
            if not is_repetition(request, known):
                return self._refusal(request, "its key is that of another command")
            return await asyncio.shield(ending)
        ending = asyncio.get_running_loop().create_future()
        self._pending[request.key] = (request, ending)
        try:
            result = await self._accept(request)
        except sqlite3.Error as error:
            result = self._refusal(request, f"it cannot be put on record: {error}")
        if result is not None:
            self._settle(result)
            return result
        return await asyncio.shield(ending)

    async def untold(self) -> list[Result]:
        """Results that the hub has not been told yet."""
        return await self._on_disk(self._file.untold)

    async def tell(self, key: str) -> None:
        """The hub has been told."""
        await self._on_disk(self._file.tell, key)

    async def _accept(self, request: Request) -> Result | None:
        """Put it on record and queue it; the result if it has ended already."""
        if found := await self._on_disk(self._file.find, request.key):
            known, result = found
            if not is_repetition(request, known):
                return self._refusal(request, "its key is that of another command")
            if result is not None:
                return result
            return None  # of a former run, and in the queue since our start
        problem = self._problem(request)
        if problem is None and self._queue_of(request).full():
            problem = f"{MOST_QUEUED} commands are waiting for the link already"
        await self._on_disk(self._file.queue, request)
        if problem is not None:
            return await self._end(self._refusal(request, problem))
        if self._clock() >= request.expires_ms:
            return await self._end(Result(request.key, EXPIRED, "it came too late", None, self._clock()))
        self._queue_of(request).put_nowait(request)
        return None

    def _problem(self, request: Request) -> str | None:
        """Why it cannot be carried out by anybody."""
        if request.thing not in self._links:
            return f"there is no thing {request.thing} here"
        commands = self._models[request.thing].commands
        if request.command not in commands:
            return f"{request.thing} has no command {request.command}; it has {', '.join(commands) or 'none'}"
        return value_problem(commands[request.command], request.value)

    def _queue_of(self, request: Request) -> "asyncio.Queue[Request]":
        return self._queues[self._links[request.thing].name]

    async def _recover(self) -> None:
        """What a former run has left: what was begun is not begun again, what was not is."""
        for request, state in await self._on_disk(self._file.unfinished):
            if state == STARTED:
                self._settle(await self._end(Result(request.key, FAILED, _INTERRUPTED, None, self._clock())))
            elif (problem := self._problem(request)) is not None:
                self._settle(await self._end(self._refusal(request, problem)))
            else:
                if request.key not in self._pending:
                    self._pending[request.key] = (request, asyncio.get_running_loop().create_future())
                await self._queue_of(request).put(request)

    async def _work(self, queue: "asyncio.Queue[Request]") -> None:
        while True:
            self._settle(await self._carry_out(await queue.get()))

    def _settle(self, result: Result) -> None:
        """Let those know who wait for it."""
        if result.key in self._pending:
            _, ending = self._pending.pop(result.key)
            if not ending.done():
                ending.set_result(result)

    async def _carry_out(self, request: Request) -> Result:
        if self._clock() >= request.expires_ms:
            return await self._end(Result(request.key, EXPIRED, "its turn came too late", None, self._clock()))
        try:
            await self._on_disk(self._file.start, request.key)
        except sqlite3.Error as error:
            return await self._end(self._refusal(request, f"it cannot be put on record: {error}"))
        command = self._models[request.thing].commands[request.command]
        try:
            found = await self._links[request.thing].act(request.thing, command, request.value)
        except ActionRefused as error:
            result = self._refusal(request, error.reason)
        except ActionFailed as error:
            result = Result(request.key, FAILED, error.reason, None, self._clock())
        else:
            value = to_float(found) if isinstance(found, DecimalFraction) else found
            result = Result(request.key, DONE, "", value, self._clock())
        return await self._end(result)

    async def _end(self, result: Result) -> Result:
        """Put the end on record, as long as that takes, and tell."""
        while True:
            try:
                await self._on_disk(self._file.end, result)
                break
            except sqlite3.Error as error:
                logger.error("the end of command %s cannot be put on record yet: %s", result.key, error)
                await asyncio.sleep(_RETRY_S)
        logger.info("command %s: %s %s", result.key, result.state, result.reason)
        for call in self.told:
            call(result)
        return result

    async def _forget(self) -> None:
        while True:
            try:
                await self._on_disk(self._file.forget, self._clock())
            except sqlite3.Error as error:
                logger.warning("old commands cannot be forgotten now: %s", error)
            await asyncio.sleep(_FORGET_S)

    def _refusal(self, request: Request, reason: str) -> Result:
        return Result(request.key, REFUSED, reason, None, self._clock())

    async def _on_disk(self, call: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, partial(call, *arguments, **options))


def value_problem(command: Command, value: object) -> str | None:
    """Why a command cannot have this value."""
    if command.states is not None and value not in command.states:
        return f"the value {value!r} is none of {', '.join(map(str, command.states))}"
    if command.range is not None:
        low, high = command.range
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            return f"the value {value!r} is not a number from {low:g} to {high:g}"
    return None
