"""The disks that may be left when the power goes, by what had been written, and written through, up to then.

What was written through (fsync) is there. Of what was not, each sector may be old or new, in any order, and each size
and each name as it was at any time since: a write may be forgotten, torn or overtaken by a later one. Where nothing had
been before, a sector may also hold garbage. What was written through is left alone by later writes beside it.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench.parts.power.trace import Event, Rename, Resize, Sync, Word, Write

SECTORS = (512, 4096)


@dataclass
class _File:
    """durable: as it was written through; pending: what came since, in order."""

    folder: bool = False
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Resize] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            if isinstance(change, Write):
                end = change.offset + len(change.data)
                if len(self.durable) < end:
                    self.durable.extend(bytes(end - len(self.durable)))
                self.durable[change.offset : end] = change.data
            elif len(self.durable) < change.size:
                self.durable.extend(bytes(change.size - len(self.durable)))
            elif not change.grow:
                del self.durable[change.size :]
        self.pending.clear()


@dataclass
class _Change:
    """What a name stands for from some moment on: a file, or nothing."""

    path: str
    file: _File | None


class Disk:
    """What a process did to a folder, event by event, and the images that may be left of it at any moment."""

    def __init__(self, root: str):
        self._root = root
        self._now: dict[str, _File] = {root: _File(folder=True)}
        self._names: dict[str, _File] = dict(self._now)  # as they were written through
        self._renames: list[list[_Change]] = []  # since then, each whole or not at all

    def do(self, event: Event) -> None:
        """The next thing that the process did."""
        if isinstance(event, Rename):
            self._rename(event)
        elif isinstance(event, Sync):
            self._now[event.path].sync()
            if self._now[event.path].folder:
                self._sync_folder(event.path)
        elif not isinstance(event, Word):
            self._now[event.path].pending.append(event)

    def leave(self, folder: Path, chance: random.Random) -> None:
        """Write one of the images into a folder, drawn by chance."""
        names = dict(self._names)
        for rename in _some(self._renames, chance):
            for change in rename:
                _bind(names, change)
        how = _How(chance)
        for path in sorted(names, key=len):
            made = folder / PurePosixPath(path).relative_to(self._root)
            if made.parent.is_dir():  # else its folder was never written through
                if names[path].folder:
                    made.mkdir(exist_ok=True)
                else:
                    made.write_bytes(how.content(names[path]))

    def _rename(self, event: Rename) -> None:
        changes = []
        file = self._now.pop(event.old) if event.old else _File(folder=event.folder)
        if event.old:
            changes.append(_Change(event.old, None))
        if event.new:
            self._now[event.new] = file
            changes.append(_Change(event.new, file))
        self._renames.append(changes)

    def _sync_folder(self, path: str) -> None:
        kept = []
        for rename in self._renames:
            if any(str(PurePosixPath(change.path).parent) == path for change in rename):
                for change in rename:
                    _bind(self._names, change)
            else:
                kept.append(rename)
        self._renames = kept


class _How:
    """What becomes of what was not written through: drawn once for an image, so that extremes are among them."""

    def __init__(self, chance: random.Random):
        self._chance = chance
        self._sector = chance.choice(SECTORS)
        self._kept = chance.choice((0.0, 0.0, 0.1, 0.5, 0.5, 0.9, 1.0, 1.0))  # the share of sectors that are new
        self._garbage = chance.choice((0.0, 0.0, 0.0, 0.2))
        self._in_order = chance.random() < 0.3  # all up to some write, and none behind it

    def content(self, file: _File) -> bytes:
        changes = file.pending
        if self._in_order and changes:
            changes = changes[: self._chance.randrange(len(changes) + 1)]
        sizes = [len(file.durable)]
        content = bytearray(file.durable)
        for change in changes:
            if isinstance(change, Write):
                self._write(content, change)
                sizes.append(max(sizes[-1], change.offset + len(change.data)))
            else:
                if not change.grow and self._comes():
                    del content[change.size :]
                sizes.append(max(sizes[-1], change.size) if change.grow else change.size)
        size = sizes[-1] if self._kept == 1 or self._in_order else self._chance.choice(sizes)
        return bytes(content[:size].ljust(size, b"\0"))

    def _comes(self) -> bool:
        return self._in_order or self._chance.random() < self._kept

    def _write(self, content: bytearray, change: Write) -> None:
        end = change.offset + len(change.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        for start in range(change.offset - change.offset % self._sector, end, self._sector):
            begin, stop = max(start, change.offset), min(start + self._sector, end)
            if self._comes():
                content[begin:stop] = change.data[begin - change.offset : stop - change.offset]
            elif self._chance.random() < self._garbage and not any(content[start : start + self._sector]):
                content[begin:stop] = self._chance.randbytes(stop - begin)


def _bind(names: dict[str, _File], change: _Change) -> None:
    if change.file is None:
        names.pop(change.path, None)
    else:
        names[change.path] = change.file


def _some(renames: list[list[_Change]], chance: random.Random) -> Iterable[list[_Change]]:
    """Those that are kept: mostly all up to some moment, as a journal does it; else any."""
    if chance.random() < 0.75:
        return renames[: chance.randrange(len(renames) + 1)]
    return [rename for rename in renames if chance.random() < 0.5]


def moments(events: list[Event], count: int, chance: random.Random) -> Iterator[tuple[int, int]]:
    """(how many events were over, how many images to take there): `count` images in all, wherever something changed."""
    yield from sorted(Counter(chance.choices(range(1, len(events) + 1), k=count)).items())
