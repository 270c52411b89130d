"""What devices are told while alarms are active: a siren is on as long as any alarm wants it, and off after that.

What is wanted is remembered until it is so. A command that did not succeed is given again, under another key: what it
says (on, off) may be said twice.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.errors import Unrecorded
from edge.links.base import Clock
from protocols.alarm import ACTIVE, Change, Identity
from protocols.command import DONE, Request, Result

if TYPE_CHECKING:
    Value = bool | int | float | str | None

logger = logging.getLogger(__name__)

_PREFIX = "output/"
_EXPIRES_MS = 30_000
_AGAIN_S = 5.0  # and twice as long after each further failure, up to the next line
_AGAIN_AT_MOST_S = 60.0

Target = tuple[str, str]  # thing, command


@dataclass
class _Output:
    """One target. `active`: the alarms that want it on, and the value that each wants; cause: what changed it last."""

    off: "Value" = None
    active: "dict[Identity, Value]" = field(default_factory=dict)
    cause: str = ""
    done: str = ""  # the cause of what it has been told
    busy: bool = False

    @property
    def wanted(self) -> "Value":
        return list(self.active.values())[-1] if self.active else self.off

    @property
    def settled(self) -> bool:
        return self.cause == self.done


class Outputs:
    """The outputs of a gateway's rules. `submit` carries out a command; keep(key, value) remembers, None forgets.

    kept: what was remembered; present: the alarms that there are now.
    """

    def __init__(
        self,
        submit: Callable[[Request], Awaitable[Result]],
        keep: Callable[[str, str | None], None],
        *,
        clock: Clock,
        kept: Mapping[str, str],
    ):
        self.failures = 0
        self._submit = submit
        self._keep = keep
        self._clock = clock
        self._news = asyncio.Event()
        self._outputs: dict[Target, _Output] = {}
        for key, text in kept.items():
            if key.startswith(_PREFIX):
                _, thing, command = key.split("/")
                said = json.loads(text)
                self._outputs[thing, command] = _Output(said["off"], cause=said["cause"])

    def follow(self, change: Change, commands: Sequence[Mapping[str, Any]]) -> None:
        """An alarm has changed, or, at the start, is there; commands: of its rule, none if there is no such rule."""
        for said in commands:
            output = self._outputs.setdefault((said["thing"], said["command"]), _Output())
            output.off = said["off"]
            if change.state == ACTIVE:
                output.active[change.identity] = said["on"]
                self._want(said["thing"], said["command"], output, change)
        if change.state != ACTIVE:
            for (thing, command), output in self._outputs.items():
                if change.identity in output.active:
                    del output.active[change.identity]
                    self._want(thing, command, output, change)

    async def run(self) -> None:
        """See to it that all is as wanted, until cancelled."""
        for output in self._outputs.values():
            output.busy = False
        self._news.set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                for (thing, command), output in self._outputs.items():
                    if not output.busy and not output.settled:
                        output.busy = True
                        tasks.create_task(self._bring(thing, command, output), name=f"output {command} of {thing}")

    def _want(self, thing: str, command: str, output: _Output, change: Change) -> None:
        rule, owner, onset_ms = change.identity
        output.cause = f"{rule}/{owner}/{onset_ms}/{change.number}"
        self._keep(_key(thing, command), json.dumps({"off": output.off, "cause": output.cause}))
        self._news.set()

    async def _bring(self, thing: str, command: str, output: _Output) -> None:
        attempt = 0
        while not output.settled:
            cause, value = output.cause, output.wanted
            if value is None:  # there is nothing to say when it is over
                output.done = cause
                break
            named = f"{thing}/{command}/{cause}/{json.dumps(value)}/{attempt}"
            key = "alarm-" + hashlib.sha256(named.encode()).hexdigest()[:40]
            problem = await self._try(Request(key, thing, command, value, self._clock() + _EXPIRES_MS))
            if problem is None:
                output.done, attempt = cause, 0
                continue
            self.failures += 1
            attempt += 1
            logger.error("%s of %s for an alarm: %s", command, thing, problem)
            await asyncio.sleep(min(_AGAIN_S * 2 ** (attempt - 1), _AGAIN_AT_MOST_S))
        output.busy = False
        if not output.active:
            self._keep(_key(thing, command), None)
            del self._outputs[thing, command]

    async def _try(self, request: Request) -> str | None:
        """Why it was not done, None if it was."""
        try:
            result = await self._submit(request)
        except Unrecorded as error:
            return str(error)
        return None if result.state == DONE else f"{result.state} {result.reason}"


def _key(thing: str, command: str) -> str:
    return f"{_PREFIX}{thing}/{command}"
