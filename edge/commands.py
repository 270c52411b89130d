"""Commands to the gateway's devices: does what `command_state` says, on the disk and on the links."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from edge.command_file import CommandFile
from edge.command_state import Act, CommandState, End, Enqueue, Find, Record, Start, Step, Steps, Unfinished
from edge.errors import ActionFailed, ActionRefused, Unrecorded
from edge.links.base import Actor, Clock
from hardware.catalogue import Command, DeviceModel
from protocols.command import Request, Result, is_repetition

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

MOST_PENDING = 2048  # commands whose end is waited for, of all links; one more is refused
_RETRY_S = 1.0
_FORGET_S = 3600.0


class Commands:
    """All commands of a gateway. `run` carries them out; calls come from its event loop.

    links, models: of each thing. `told` is called with each result once it is on disk.
    """

    def __init__(
        self, links: Mapping[str, Actor], models: Mapping[str, DeviceModel], file: CommandFile, *, clock: Clock
    ):
        self.told: list[Callable[[Result], None]] = []
        self._links = links
        self._models = models
        self._file = file
        self._clock = clock
        self._state = CommandState(link_of=self._link_of, problem=self._problem, clock=clock)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commands")
        self._queues: dict[str, asyncio.Queue[Request]] = {
            link.name: asyncio.Queue() for link in links.values()
        }  # bounded by the state
        self._inbox: asyncio.Queue[Request] = asyncio.Queue()  # bounded as those pending are
        self._pending: dict[str, tuple[Request, asyncio.Future[Result | None]]] = {}

    async def run(self) -> None:
        """Carry out commands until cancelled."""
        for queue in (self._inbox, *self._queues.values()):  # of a run before this one
            while not queue.empty():
                queue.get_nowait()
        await self._follow(self._state.recover())
        for request, _ in self._pending.values():  # that run may have ended before it was on record
            self._inbox.put_nowait(request)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._accept(), name="commands: accept")
            for name, queue in self._queues.items():
                tasks.create_task(self._work(queue), name=f"commands of {name}")
            tasks.create_task(self._forget(), name="commands: forget")

    def close(self) -> None:
        """Let go of the disk."""
        self._disk.shutdown()

    async def submit(self, request: Request) -> Result:
        """Have it carried out, and return how it ended; a key that is known is answered as before.

        Raises Unrecorded if it cannot be taken on now. That is no end: it may be asked for again by its key already.
        """
        if request.key in self._pending:
            known, ending = self._pending[request.key]
            if not is_repetition(request, known):
                return self._state.refusal(request, "its key is that of another command")
            return await self._end_of(ending)
        if len(self._pending) >= MOST_PENDING:
            raise Unrecorded(f"{MOST_PENDING} commands are waiting already")
        ending = asyncio.get_running_loop().create_future()
        self._pending[request.key] = (request, ending)
        self._inbox.put_nowait(request)
        return await self._end_of(ending)

    @staticmethod
    async def _end_of(ending: "asyncio.Future[Result | None]") -> Result:
        result = await asyncio.shield(ending)
        if result is None:
            raise Unrecorded("it cannot be put on record")
        return result

    def pending(self) -> int:
        """How many are taken on and have not ended."""
        return len(self._pending)

    async def untold(self) -> list[Result]:
        """Results that the hub has not been told yet."""
        return await self._on_disk(self._file.untold)

    async def tell(self, key: str) -> None:
        """The hub has been told."""
        await self._on_disk(self._file.tell, key)

    async def _follow(self, steps: Steps[_T]) -> _T:
        """Carry out the steps, and return what they come to."""
        try:
            step = next(steps)
            while True:
                try:
                    found = await self._carry_out(step)
                except (Unrecorded, ActionRefused, ActionFailed) as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(found)
        except StopIteration as end:
            value: _T = end.value
            return value

    async def _carry_out(self, step: Step) -> Any:
        brought: Any = None
        match step:
            case Find(key):
                brought = await self._on_record(self._file.find, key)
            case Unfinished():
                brought = await self._on_record(self._file.unfinished)
            case Record(request):
                await self._on_record(self._file.queue, request)
            case Start(key):
                await self._on_record(self._file.start, key)
            case Act(request):
                command = self._models[request.thing].commands[request.command]
                brought = await self._links[request.thing].act(request.thing, command, request.value)
            case End(result):
                await self._end(result)
            case Enqueue(request):
                self._queues[self._links[request.thing].name].put_nowait(request)
        return brought

    def _problem(self, request: Request) -> str | None:
        """Why it cannot be carried out by anybody."""
        if request.thing not in self._links:
            return f"there is no thing {request.thing} here"
        commands = self._models[request.thing].commands
        if request.command not in commands:
            return f"{request.thing} has no command {request.command}; it has {', '.join(commands) or 'none'}"
        return value_problem(commands[request.command], request.value)

    def _link_of(self, thing: str) -> str | None:
        return self._links[thing].name if thing in self._links else None

    async def _accept(self) -> None:
        """One after another, and whether or not the one who asked still waits."""
        while True:
            request = await self._inbox.get()
            try:
                result = await self._follow(self._state.accept(request))
            except Unrecorded as error:
                logger.error("command %s cannot be put on record: %s", request.key, error)
                self._settle(request.key, None)
            else:
                if result is not None:
                    self._settle(request.key, result)

    async def _work(self, queue: "asyncio.Queue[Request]") -> None:
        while True:
            await self._follow(self._state.carry_out(await queue.get()))

    def _settle(self, key: str, result: Result | None) -> None:
        """Let those know who wait for it; None: it has no end."""
        if key in self._pending:
            _, ending = self._pending.pop(key)
            if not ending.done():
                ending.set_result(result)

    async def _end(self, result: Result) -> None:
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
        self._settle(result.key, result)

    async def _forget(self) -> None:
        while True:
            try:
                await self._on_disk(self._file.forget, self._clock())
            except sqlite3.Error as error:
                logger.warning("old commands cannot be forgotten now: %s", error)
            await asyncio.sleep(_FORGET_S)

    async def _on_record(self, call: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        try:
            return await self._on_disk(call, *arguments, **options)
        except sqlite3.Error as error:
            raise Unrecorded(str(error)) from error

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
