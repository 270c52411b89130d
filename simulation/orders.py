"""The ledger's account of commands: how often each acts, and how it ends."""

from collections import Counter
from typing import TYPE_CHECKING

from protocols.command import DONE, EXPIRED, REFUSED, Request, Result

if TYPE_CHECKING:
    from simulation.ledger import Ledger


class Orders:
    """All commands that were ever given, by key."""

    def __init__(self, ledger: "Ledger"):
        self._ledger = ledger
        self._acts: Counter[str] = Counter()
        self._ends: dict[str, str] = {}
        self._asked: set[str] = set()
        self._doubtful: set[str] = set()
        self._all_doubtful = False

    def asked(self, key: str) -> None:
        """A command is given for the first time."""
        self._asked.add(key)
        if self._all_doubtful:
            self._doubtful.add(key)

    def storage_changed(self, *, for_ever: bool = False) -> None:
        """The gateway's memory of commands is another, or there are two: of what was asked nothing is promised."""
        self._doubtful |= self._asked
        self._all_doubtful |= for_ever

    def acted(self, request: Request, *, started: bool) -> None:
        """Something moves. started: the disk says so."""
        key = request.key
        self._acts[key] += 1
        if key in self._doubtful:
            return
        if not started:
            self._ledger.violated("command", f"{key} acts, and its start is not on disk")
        if self._acts[key] > 1:
            self._ledger.violated("command", f"{key} acts again")
        if key in self._ends:
            self._ledger.violated("command", f"{key} acts, and has ended before: {self._ends[key]}")

    def ended(self, result: Result) -> None:
        """An end is on disk, or somebody is told of it."""
        key = result.key
        if key in self._doubtful:
            return
        if self._ends.setdefault(key, result.state) != result.state:
            self._ledger.violated("command", f"{key} is {result.state}, and was {self._ends[key]}")
        acts = self._acts[key]
        if (result.state == DONE and acts != 1) or (result.state in (REFUSED, EXPIRED) and acts):
            self._ledger.violated("command", f"{key} is {result.state}, and has acted {acts} times")
