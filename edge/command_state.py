"""What becomes of a command: carried out at most once, with exactly one end. No disk, clock, link or loop.

It is on disk before it is queued, marked as started before its link may act, and its end is on disk before anybody is
told. One that was started when the gateway stopped is not carried out again: it has failed, since nobody knows.

The order of these steps is all that keeps the promise, so it is written here: each method is a generator of steps.
Whoever runs it carries out one after another, and sends back what it brings or throws in what went wrong.
"""

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.clock import is_unix
from edge.errors import ActionFailed, ActionRefused, Unrecorded
from protocols.command import DONE, EXPIRED, FAILED, REFUSED, STARTED, Request, Result, is_repetition
from protocols.reading import DecimalFraction, to_float

MOST_QUEUED = 256  # on one link; one more is refused
_UNDATED = "the time is not known, nor therefore whether its turn comes too late"
_INTERRUPTED = "the gateway stopped while it was carried out; it may have been"


@dataclass(frozen=True)
class Find:
    """Look this key up on disk: (request, result or None), or None. May raise Unrecorded."""

    key: str


@dataclass(frozen=True)
class Unfinished:
    """All on disk that have no end: [(request, state)], oldest first. May raise Unrecorded."""


@dataclass(frozen=True)
class Record:
    """Put a new command on disk. May raise Unrecorded."""

    request: Request


@dataclass(frozen=True)
class Start:
    """Mark it on disk as started. May raise Unrecorded."""

    key: str


@dataclass(frozen=True)
class Act:
    """Have its link carry it out, and bring what was read back. May raise ActionRefused, ActionFailed."""

    request: Request


@dataclass(frozen=True)
class End:
    """Put its end on disk, as long as that takes, then tell those who wait for it."""

    result: Result


@dataclass(frozen=True)
class Enqueue:
    """Have it carried out by `carry_out`, after those that its link has already."""

    request: Request


Step = Find | Unfinished | Record | Start | Act | End | Enqueue
_T = TypeVar("_T")
Steps = Generator[Step, Any, _T]


class CommandState:
    """The commands of a gateway: `recover` first, then `accept` one after another and, beside it, `carry_out`.

    link_of: the link that a thing is on, or None; problem: why a request can be carried out by nobody, or None; clock:
    Unix ms.
    """

    def __init__(
        self,
        *,
        link_of: Callable[[str], str | None],
        problem: Callable[[Request], str | None],
        clock: Callable[[], int],
    ):
        self._link_of = link_of
        self._problem = problem
        self._clock = clock
        self._queued: Counter[str | None] = Counter()  # by link

    def accept(self, request: Request) -> Steps[Result | None]:
        """A request has come: the result if it has ended, else it will be carried out."""
        found: tuple[Request, Result | None] | None = yield Find(request.key)
        if found is not None:
            known, result = found
            if not is_repetition(request, known):
                return self.refusal(request, "its key is that of another command")
            return result  # none yet: it is queued
        problem = self._problem(request)
        if problem is None and self._queued[self._link_of(request.thing)] >= MOST_QUEUED:
            problem = f"{MOST_QUEUED} commands are waiting for the link already"
        yield Record(request)
        if problem is not None:
            return (yield from _end(self.refusal(request, problem)))
        if self._clock() >= request.expires_ms:
            return (yield from _end(Result(request.key, EXPIRED, "it came too late", None, self._clock())))
        yield from self._enqueue(request)
        return None

    def recover(self) -> Steps[None]:
        """A run begins, with empty queues: what was begun by a former one is not begun again, what was not is."""
        self._queued.clear()
        for request, state in (yield Unfinished()):
            if state == STARTED:
                yield from _end(Result(request.key, FAILED, _INTERRUPTED, None, self._clock()))
            elif not is_unix(self._clock()):
                yield from _end(Result(request.key, EXPIRED, _UNDATED, None, self._clock()))
            elif (problem := self._problem(request)) is not None:
                yield from _end(self.refusal(request, problem))
            else:
                yield from self._enqueue(request)

    def carry_out(self, request: Request) -> Steps[Result]:
        """Its turn has come: how it ended."""
        self._queued[self._link_of(request.thing)] -= 1
        if self._clock() >= request.expires_ms:
            result = Result(request.key, EXPIRED, "its turn came too late", None, self._clock())
        else:
            result = yield from self._attempt(request)
        return (yield from _end(result))

    def refusal(self, request: Request, reason: str) -> Result:
        """That nothing of it was done."""
        return Result(request.key, REFUSED, reason, None, self._clock())

    def _attempt(self, request: Request) -> Steps[Result]:
        try:
            yield Start(request.key)
        except Unrecorded as error:
            return self.refusal(request, f"it cannot be put on record: {error}")
        try:
            found = yield Act(request)
        except ActionRefused as error:
            return self.refusal(request, error.reason)
        except ActionFailed as error:
            return Result(request.key, FAILED, error.reason, None, self._clock())
        value = to_float(found) if isinstance(found, DecimalFraction) else found
        return Result(request.key, DONE, "", value, self._clock())

    def _enqueue(self, request: Request) -> Steps[None]:
        self._queued[self._link_of(request.thing)] += 1
        yield Enqueue(request)


def _end(result: Result) -> Steps[Result]:
    yield End(result)
    return result
