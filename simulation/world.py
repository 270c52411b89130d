"""The clock and the nodes. Time is virtual milliseconds; what is due is done in order, one step after another."""

import heapq
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from protocols.custody import Header

_BOOT_AGAIN_MS = 1000


class PowerCut(BaseException):
    """The node's power goes now: whatever it was doing ends here."""

    def __init__(self, node: "Node"):
        super().__init__(node.name)
        self.node = node


class Line(NamedTuple):
    """One line of a trace."""

    time_ms: int
    who: str
    what: str


class World:
    """The virtual time, and all that is going to happen. `chance` is the one source of what is left to chance."""

    def __init__(self, chance: Random, *, traced: bool = False):
        self.chance = chance
        self.now_ms = 0
        self.steps = 0
        self.trace: list[Line] | None = [] if traced else None
        self.after_step: list[Callable[[], None]] = []
        self._queue: list[tuple[int, int, Node | None, int, Callable[[], None]]] = []
        self._count = 0
        self._epochs: dict[int, str] = {}

    def at(self, time_ms: int, node: "Node | None", call: Callable[[], None]) -> None:
        """Have this done at a time, unless the node has lost its power until then."""
        self._count += 1
        heapq.heappush(self._queue, (time_ms, self._count, node, node.life if node else 0, call))

    def after(self, delay_ms: int, node: "Node | None", call: Callable[[], None]) -> None:
        """Have this done some time from now."""
        self.at(self.now_ms + delay_ms, node, call)

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> None:
        """Let everything happen until that time, or until `done`."""
        queue = self._queue
        while queue and queue[0][0] <= until_ms:
            if done is not None and done():
                return
            time_ms, _, node, life, call = heapq.heappop(queue)
            if node is not None and node.life != life:
                continue
            self.now_ms = time_ms
            self.steps += 1
            try:
                call()
            except PowerCut as cut:
                cut.node.die()
            for check in self.after_step:
                check()
        self.now_ms = max(self.now_ms, until_ms)

    def epoch(self, number: int) -> str:
        """A short name for an epoch, for traces."""
        return self._epochs.setdefault(number, f"e{len(self._epochs) + 1}")

    def place(self, header: "Header") -> str:
        """Epoch and seq of a pack, for traces."""
        first = f"{header.first}.." if header.first < header.seq else ""
        return f"{self.epoch(header.epoch)}/{first}{header.seq}"

    def note(self, who: str, what: str) -> None:
        """Write a line of the trace; callers ask `trace` first, since most runs keep none."""
        if self.trace is not None:
            self.trace.append(Line(self.now_ms, who, what))


class Node:
    """A machine: what it has in memory ends with `die`, what it has on disk does not."""

    boot_errors: tuple[type[Exception], ...] = ()

    def __init__(self, world: World, name: str):
        self.world = world
        self.name = name
        self.life = 0
        self.alive = False
        self.wall_offset_ms = 1_795_382_519_000
        self.slow_until_ms = 0  # its disk
        self._fuse = 0
        self._down_ms = 0

    def boot(self) -> None:
        """Start the program. Raises what keeps it from starting; it is then tried again."""
        raise NotImplementedError

    def halt(self) -> None:
        """The power is gone, and with it all that was in memory."""
        raise NotImplementedError

    def act(self) -> None:
        """To be called before and after each action that anybody else can see: here the power may go."""
        if self._fuse:
            self._fuse -= 1
            if not self._fuse:
                raise PowerCut(self)

    def cut_after(self, actions: int, down_ms: int) -> None:
        """The power goes after so many actions, and comes back later."""
        self._fuse, self._down_ms = actions, down_ms

    def start(self) -> None:
        """Power on."""
        if self.alive:
            return
        self.alive = True
        if self.world.trace is not None:
            self.world.note(self.name, "starts")
        try:
            self.boot()
        except self.boot_errors as error:
            if self.world.trace is not None:
                self.world.note(self.name, f"cannot start: {error}")
            self._down_ms = _BOOT_AGAIN_MS
            self.die()

    def die(self) -> None:
        """Power off; on again after a while."""
        if not self.alive:
            return
        self.alive = False
        self.life += 1
        self._fuse = 0
        self.halt()
        if self.world.trace is not None:
            self.world.note(self.name, f"loses its power for {self._down_ms} ms")
        self.world.after(self._down_ms, None, self.start)

    def wall_ms(self) -> int:
        """What its wall clock shows, Unix milliseconds."""
        return self.world.now_ms + self.wall_offset_ms
