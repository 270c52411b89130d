"""How far a scan has come, for the person who waits: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edge.scan.words import word

_LINES_EVERY_S = 5.0


class Watch(Protocol):
    """What is told how far a scan has come."""

    def at(self, text: str, done: int, of: int) -> None:
        """Now doing `text`, step `done` of so many."""

    def found(self, count: int = 1) -> None:
        """So many more devices were found."""


class _Bar:
    def __init__(self, progress: Progress, task: TaskID):
        self._progress = progress
        self._task = task
        self._found = 0

    def at(self, text: str, done: int, of: int) -> None:
        self._progress.update(self._task, description=text, completed=done, total=of)

    def found(self, count: int = 1) -> None:
        self._found += count
        self._progress.update(self._task, found=word("found {}", self._found))


class _Lines:
    def __init__(self, console: Console):
        self._console = console
        self._found = 0
        self._said_s = 0.0

    def at(self, text: str, done: int, of: int) -> None:
        if done == 0 or time.monotonic() - self._said_s > _LINES_EVERY_S:
            self._said_s = time.monotonic()
            self._console.print(f"{text} ({done}/{of}), {word('found {}', self._found)}", highlight=False)

    def found(self, count: int = 1) -> None:
        self._found += count


@contextmanager
def watching() -> Iterator[Watch]:
    """A watch on stderr: stdout is for the config blocks."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[found]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=None, found=word("found {}", 0)))
