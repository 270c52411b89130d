"""What a process did to its files, as strace tells it: writes, sizes, names, syncs; and its own words."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.parts.rig import ROOT

_CALLS = (
    "openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,"
    "linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,sync,syncfs,sync_file_range,mmap"
)
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (\S+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")
_STDERR = "2"


class Write(NamedTuple):
    """Bytes that were written."""

    path: str
    offset: int
    data: bytes


class Resize(NamedTuple):
    """A file's size that was set; `grow`: only if it was smaller."""

    path: str
    size: int
    grow: bool


class Rename(NamedTuple):
    """A name that was given to a file, or taken from it: `old` and `new` are paths, or None for made and removed."""

    old: str | None
    new: str | None
    folder: bool


class Sync(NamedTuple):
    """A file or a folder that was written through."""

    path: str


class Word(NamedTuple):
    """What the process said on stderr: all before it has returned."""

    text: str


Event = Write | Resize | Rename | Sync | Word


def trace(folder: Path, module: str, *arguments: str) -> list[Event]:
    """Run a module under strace until it ends; what it did in this folder. Raises RuntimeError if strace fails."""
    out = folder.with_name(f"{folder.name}.trace")
    command = [
        "strace", "-f", "-qq", "-y", "-xx", "-s", "16777216", "-e", f"trace={_CALLS}", "-e", "signal=none",
        "-o", str(out), sys.executable, "-m", module, *arguments,
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if ended.returncode:
        raise RuntimeError(f"{module} under strace: {ended.stderr[-2000:].decode(errors='replace')}")
    with out.open(encoding="ascii") as lines:
        events = list(_Reader(str(folder)).events(lines))
    out.unlink()
    return events


class _Reader:
    """Makes events of strace's lines, for one folder."""

    def __init__(self, folder: str):
        self._folder = folder
        self._places: dict[str, int] = {}  # by path, where the next write without an offset goes
        self._read = {
            "openat": self._open,
            "pwrite64": lambda call: Write(call.path, call.numbers[-1], call.texts[0]),
            "write": self._write,
            "ftruncate": lambda call: Resize(call.path, call.numbers[-1], grow=False),
            "fallocate": lambda call: Resize(call.path, call.numbers[-2] + call.numbers[-1], grow=True),
            "mkdir": lambda call: Rename(None, call.name(0), folder=True),
            "rename": self._rename,
            "unlink": self._rename,
            "fsync": lambda call: Sync(call.path),
            "fdatasync": lambda call: Sync(call.path),
            "mmap": self._map,
        }

    def events(self, lines: Iterable[str]) -> Iterator[Event]:
        """What the lines say of the folder, and the process's words. Raises RuntimeError for what is not understood."""
        for line in lines:
            call = _Call.parse(line)
            if call.failed:
                continue
            if call.what == "write" and call.file == _STDERR:
                yield Word(call.texts[0].decode())
            elif call.concerns(self._folder):
                if call.what not in self._read:
                    raise RuntimeError(f"the tracer does not know what this does to a disk: {line[:300]}")
                event = self._read[call.what](call)
                if event is not None:
                    yield event

    def _open(self, call: "_Call") -> Event | None:
        path = call.name(0)
        new = "O_CREAT" in call.arguments and path not in self._places
        self._places[path] = 0
        if "O_TRUNC" in call.arguments:
            raise RuntimeError(f"{path} is opened to be written anew, which no event stands for")
        return Rename(None, path, folder=False) if new else None

    def _rename(self, call: "_Call") -> Event:
        old, *new = (call.name(place) for place in range(len(call.texts)))
        self._places.pop(old, None)
        for path in new:
            self._places[path] = 0
        return Rename(old, new[0] if new else None, folder=False)

    def _write(self, call: "_Call") -> Event:
        place = self._places[call.path]
        self._places[call.path] = place + len(call.texts[0])
        return Write(call.path, place, call.texts[0])

    @staticmethod
    def _map(call: "_Call") -> None:
        if "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments:
            raise RuntimeError(f"{call.path} is written through a map, where no tracer sees it")


class _Call(NamedTuple):
    """A system call. file, path: of the descriptor that it begins with; texts, numbers: among its arguments."""

    what: str
    arguments: str
    failed: bool
    file: str
    path: str
    texts: list[bytes]

    @classmethod
    def parse(cls, line: str) -> "_Call":
        found = _LINE.match(line)
        if not found:
            raise RuntimeError(f"strace says something else: {line[:300]}")
        what, arguments, result = found.groups()
        file = _FILE.match(arguments)
        texts = [_plain(text) for text in _TEXT.findall(arguments)]
        path = _plain(file[2]).decode() if file else ""
        return cls(what, arguments, result.startswith("-"), file[1] if file else "", path, texts)

    @property
    def numbers(self) -> list[int]:
        return [int(part) for part in re.findall(r", (-?\d+)(?=,|$)", _TEXT.sub("", self.arguments))]

    def name(self, place: int) -> str:
        return self.texts[place].decode()

    def concerns(self, folder: str) -> bool:
        names = [] if self.file else [text.decode(errors="replace") for text in self.texts]
        return any(f"{name}/".startswith(f"{folder}/") for name in (self.path, *names) if name)


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
