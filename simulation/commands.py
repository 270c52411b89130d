"""The commands of a simulated gateway: the steps are the real ones (edge.command_state), and so is the file."""

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge import command_state
from edge.command_file import CommandFile
from edge.command_state import Act, End, Enqueue, Find, Record, Start, Step, Steps, Unfinished
from edge.errors import ActionFailed, ActionRefused, Unrecorded
from protocols.command import Request, Result, is_repetition
from simulation.disk import Worker
from simulation.world import Node

if TYPE_CHECKING:
    from simulation.orders import Orders

_RETRY_MS = 1000
_FORGET_MS = 3_600_000
_ACT_MS = (5, 400)
_LINK = "bus"


class Commands:
    """See edge.commands.Commands; one link carries out everything. `orders`: the ledger's account of commands."""

    def __init__(self, node: Node, file: CommandFile, orders: "Orders", *, things: set[str], clock: Callable[[], int]):
        self.told: list[Callable[[Result], None]] = []
        self._node = node
        self._file = file
        self._orders = orders
        self._clock = clock
        self._disk = Worker(node)
        self._state = command_state.CommandState(
            link_of=lambda thing: _LINK if thing in things else None,
            problem=lambda request: None if request.thing in things else "there is no such thing",
            clock=clock,
        )
        self._inbox: deque[Request] = deque()
        self._queue: deque[Request] = deque()
        self._accepting = True  # until `recover` is through
        self._acting = True
        self._pending: dict[str, tuple[Request, list[Callable[[Result], None]]]] = {}
        self._follow(self._state.recover(), self._recovered)

    @property
    def is_idle(self) -> bool:
        """Whether all that came has ended."""
        return not (self._accepting or self._acting or self._inbox or self._queue)

    def submit(self, request: Request, then: Callable[[Result], None]) -> None:
        """Have it carried out, and hear how it ended."""
        if request.key in self._pending:
            known, waiting = self._pending[request.key]
            if is_repetition(request, known):
                waiting.append(then)
            else:
                then(self._state.refusal(request, "its key is that of another command"))
            return
        self._pending[request.key] = (request, [then])
        self._inbox.append(request)
        self._accept()

    def untold(self, then: Callable[[list[Result]], None]) -> None:
        """Bring the results that the hub has not been told."""
        self._disk.do(self._file.untold, then, lambda _: None)

    def teller(self, key: str) -> Callable[[], None]:
        """What is to be called when the hub's broker has it."""
        return lambda: self._disk.do(lambda: self._file.tell(key), lambda _: None, lambda _: None)

    def _recovered(self, _: None) -> None:
        self._accepting = self._acting = False
        self._forget()
        self._accept()
        self._work()

    def _accept(self) -> None:
        if self._inbox and not self._accepting:
            self._accepting = True
            request = self._inbox.popleft()

            def failed(_: Unrecorded) -> None:
                del self._pending[request.key]
                go_on()

            def accepted(result: Result | None) -> None:
                if result is not None:
                    self._settle(result)
                go_on()

            def go_on() -> None:
                self._accepting = False
                self._accept()

            self._follow(self._state.accept(request), accepted, failed)

    def _work(self) -> None:
        if self._queue and not self._acting:
            self._acting = True

            def ended(_: Result) -> None:
                self._acting = False
                self._work()

            self._follow(self._state.carry_out(self._queue.popleft()), ended)

    def _settle(self, result: Result) -> None:
        if result.key in self._pending:
            for then in self._pending.pop(result.key)[1]:
                then(result)

    # --- steps ---

    def _follow(
        self, steps: Steps[Any], then: Callable[[Any], None], failed: Callable[[Unrecorded], None] | None = None
    ) -> None:
        def go_on(found: object = None, error: Exception | None = None) -> None:
            try:
                step = steps.send(found) if error is None else steps.throw(error)
            except StopIteration as end:
                then(end.value)
            except Unrecorded as unrecorded:
                if failed is None:
                    raise
                failed(unrecorded)
            else:
                self._carry_out(step, go_on)

        go_on()

    def _carry_out(self, step: Step, go_on: Callable[..., None]) -> None:
        match step:
            case Find(key):
                self._on_record(lambda: self._file.find(key), go_on)
            case Unfinished():
                self._on_record(self._file.unfinished, go_on)
            case Record(request):
                self._on_record(lambda: self._file.queue(request), go_on)
            case Start(key):
                self._on_record(lambda: self._file.start(key), go_on)
            case Act(request):
                self._node.world.after(
                    self._node.world.chance.randint(*_ACT_MS), self._node, self._acts(request, go_on)
                )
            case End(result):
                self._end(result, go_on)
            case Enqueue(request):
                self._queue.append(request)
                go_on()
                self._work()

    def _on_record(self, call: Callable[[], Any], go_on: Callable[..., None]) -> None:
        self._disk.do(call, go_on, lambda error: go_on(error=Unrecorded(str(error))))

    def _acts(self, request: Request, go_on: Callable[..., None]) -> Callable[[], None]:
        def act() -> None:
            draw = self._node.world.chance.randrange(10)
            if draw == 0:
                go_on(error=ActionRefused(request.thing, "it does not want to"))
                return
            self._node.act()
            if self._node.world.trace is not None:
                self._node.world.note(self._node.name, f"acts on {request.key}")
            self._orders.acted(request, started=self._is_started(request.key))
            self._node.act()
            if draw == 1:
                go_on(error=ActionFailed(request.thing, "no answer"))
            else:
                go_on(request.value)

        return act

    def _is_started(self, key: str) -> bool:
        return any(request.key == key and state == "started" for request, state in self._file.unfinished())

    def _end(self, result: Result, go_on: Callable[..., None]) -> None:
        def ended(_: None) -> None:
            if self._node.world.trace is not None:
                self._node.world.note(self._node.name, f"has {result.key} on record: {result.state}")
            self._orders.ended(result)
            for call in self.told:
                call(result)
            self._settle(result)
            go_on()

        def again(_: sqlite3.Error) -> None:
            self._node.world.after(_RETRY_MS, self._node, lambda: self._end(result, go_on))

        self._disk.do(lambda: self._file.end(result), ended, again)

    def _forget(self) -> None:
        now = self._clock()
        self._disk.do(lambda: self._file.forget(now), lambda _: None, lambda _: None)
        self._node.world.after(_FORGET_MS, self._node, self._forget)
