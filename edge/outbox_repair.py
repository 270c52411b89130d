"""A damaged outbox is replaced by what can be read of it; the damaged files are set aside beside it, never deleted.

At every moment, also if the power goes, there is either the damaged file in its place or a whole one: the new file is
made as a draft; its name, once it is whole, says so; then it takes the place of the damaged one. If the power goes
between the last two steps, the next start does the last one.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path

import sqlite_utils

from edge import outbox_tables
from edge.outbox_copy import read_copy
from edge.outbox_salvage import salvage
from edge.outbox_tables import PAGE_BYTES
from edge.sqlite_pages import cut_short, frames_of
from runtime.files import sync_folder

logger = logging.getLogger(__name__)


def log_of(path: Path) -> Path:
    """SQLite's write-ahead log of the file."""
    return path.with_name(f"{path.name}-wal")


def is_log_damaged(path: Path) -> bool:
    """Whether SQLite would use only the beginning of the log of this file, without a word."""
    return cut_short(frames_of(_content(log_of(path)), PAGE_BYTES))


def repair(path: Path, reason: str) -> None:
    """Salvage a damaged outbox that nobody has open. Raises sqlite3.Error or OSError."""
    logger.error("the outbox %s is damaged (%s): what can be read of it is salvaged", path, reason)
    draft = path.with_name(f"{path.name}-draft")
    draft.unlink(missing_ok=True)
    frames = frames_of(_content(log_of(path)), PAGE_BYTES)
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as into, _Pages(path) as pages:
        into.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        into.execute("PRAGMA synchronous = FULL")
        outbox_tables.migrations.apply(sqlite_utils.Database(into))
        with into:
            into.execute("BEGIN IMMEDIATE")
            result = salvage(pages, frames, read_copy(path), into)
    kept = [(file, aside(file)) for file in (path, log_of(path)) if file.exists()]
    for file, name in kept:
        os.link(file, name)
    draft.replace(_salvaged(path))
    sync_folder(path.parent)
    finish(path)
    logger.error(
        "salvaged %d packs of the outbox; %d are lost, and declared as far as is known; the damaged files are kept: %s",
        result.packs, result.lost, ", ".join(name.name for _, name in kept),
    )  # fmt: skip


def finish(path: Path) -> None:
    """Put a salvaged file in its place, if there is one. Before the file is opened."""
    salvaged = _salvaged(path)
    if salvaged.exists():
        log_of(path).unlink(missing_ok=True)  # it belongs to the damaged file
        sync_folder(path.parent)
        salvaged.replace(path)
        sync_folder(path.parent)


def aside(file: Path) -> Path:
    """A name for a damaged file, beside it, which no other has."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (
        file.with_name(f"{file.name}.{stamp}{suffix}.damaged") for suffix in chain(("",), map("-{}".format, count(2)))
    )
    return next(name for name in names if not name.exists())


def _salvaged(path: Path) -> Path:
    return path.with_name(f"{path.name}-salvaged")


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


class _Pages(Mapping[int, bytes]):
    """The pages of a file by their numbers, from 1. One that the disk cannot read is all zeros."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> "_Pages":
        self._file = os.open(self._path, os.O_RDONLY)
        self._count = -(-os.fstat(self._file).st_size // PAGE_BYTES)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def __getitem__(self, number: int) -> bytes:
        if not 0 < number <= self._count:
            raise KeyError(number)
        try:
            page = os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        except OSError:
            page = b""
        return page.ljust(PAGE_BYTES, b"\0")

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self._count + 1))

    def __len__(self) -> int:
        return self._count
