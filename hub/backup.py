"""A hub's data as one file, made while the hub runs, and back again.

The file is a tar: everything in the data but what the broker keeps and what lives only while the hub runs, then
manifest.json with the size and SHA-256 of each file before it. It holds the hub's keys: it is for its owner alone.

The broker's retained cursors are left out on purpose. They may tell of packs that the restored store has not: a gateway
that was away would delete what it alone still holds.
"""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hub.errors import SetupError
from hub.only_one import only_one
from hub.store.schema import FILE, connect, unknown_migrations
from hub.store.writing import now_ms

_FORMAT = "kerb hub backup"
_VERSION = 1
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 10_000_000
_CHUNK = 1 << 20
_TRANSIENT = (".lock", ".sock", "-wal", "-shm")


@dataclass(frozen=True)
class Backup:
    """What a backup holds: when it was made, how many readings were stored by then, and how large it is."""

    made_ms: int
    readings: int
    files: int
    size: int


def backup(data: Path, file: Path) -> Backup:
    """Write the file, which must not exist yet. Raises SetupError."""
    if not (data / FILE).exists():
        raise SetupError(f"there is no store in {data}")
    if file.exists():
        raise SetupError(f"{file} exists already; choose another name")
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".kerb-backup-") as folder:
        draft = Path(folder) / "draft"
        with draft.open("wb") as raw:
            draft.chmod(0o600)
            made = _write(data, raw, Path(folder))
            raw.flush()
            os.fsync(raw.fileno())
        made = Backup(made.made_ms, made.readings, made.files, draft.stat().st_size)
        draft.replace(file)
    _sync(file.absolute().parent)
    return made


def restore(file: Path, data: Path, *, replace: bool = False) -> Backup:
    """Make data of the file; what was there before is put aside, if `replace` allows it. Raises SetupError."""
    there = data.exists() and any(data.iterdir())
    if there and not replace:
        raise SetupError(f"{data} is not empty; choose another --data, or put what is there aside with --replace")
    data.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data.absolute().parent, prefix=".kerb-restore-") as folder:
        made = _unpack(file, Path(folder) / "data")
        if there:
            with only_one(data, "ingest"):
                data.rename(data.with_name(time.strftime(f"{data.name}-before-%Y%m%d-%H%M%S")))
        elif data.exists():
            data.rmdir()
        (Path(folder) / "data").rename(data)
    _sync(data.absolute().parent)
    return made


def _write(data: Path, raw: IO[bytes], folder: Path) -> Backup:
    made_ms, readings = now_ms(), 0
    files: dict[str, dict[str, object]] = {}
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in _lasting(data):
            name = path.relative_to(data).as_posix()
            with _standing(path, folder) as source:
                if name == FILE:
                    readings = _readings(source)
                files[name] = _add(tar, name, source)
        manifest = {"format": _FORMAT, "version": _VERSION, "made_ms": made_ms, "readings": readings, "files": files}
        content = json.dumps(manifest, indent=1).encode()
        member = tarfile.TarInfo(_MANIFEST)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return Backup(made_ms, readings, len(files), 0)


def _lasting(data: Path) -> Iterator[Path]:
    for path in sorted(data.rglob("*")):
        of_broker = path.relative_to(data).parts[0] == "broker"
        if path.is_file() and not of_broker and not path.name.endswith(_TRANSIENT) and not path.name.startswith("."):
            yield path


@contextmanager
def _standing(path: Path, folder: Path) -> Iterator[Path]:
    """The file, or a copy of it as of one moment if it is one of SQLite's, which are written while we read."""
    if path.suffix != ".db":
        yield path
        return
    copy = folder / "copy.db"
    try:
        with closing(connect(path, readonly=True)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # in one step: a reader's view, which no writer waits for
        yield copy
    except sqlite3.Error as error:
        raise SetupError(f"{path} cannot be copied: {error}") from error
    finally:
        copy.unlink(missing_ok=True)


def _readings(store: Path) -> int:
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT coalesce(sum(stored), 0) FROM latest").fetchone()[0])


def _add(tar: tarfile.TarFile, name: str, source: Path) -> dict[str, object]:
    with source.open("rb") as content:
        member = tarfile.TarInfo(name)
        member.size = os.fstat(content.fileno()).st_size
        member.mode = source.stat().st_mode & 0o777
        hashed = _Hashing(content)
        tar.addfile(member, hashed)  # type: ignore[arg-type]  # it is only read from
    return {"bytes": member.size, "sha256": hashed.sum.hexdigest()}


class _Hashing:
    """A file that sums up what is read of it."""

    def __init__(self, content: IO[bytes]):
        self._content = content
        self.sum = hashlib.sha256()

    def read(self, size: int) -> bytes:
        chunk = self._content.read(size)
        self.sum.update(chunk)
        return chunk


def _unpack(file: Path, folder: Path) -> Backup:
    try:
        with tarfile.open(file, mode="r:") as tar:
            members = tar.getmembers()
            manifest = _manifest(tar, members, file)
            folder.mkdir(mode=0o700)
            for member in members[:-1]:
                _extract(tar, member, folder, manifest["files"], file)
    except (tarfile.TarError, EOFError) as error:
        raise SetupError(f"{file} is no backup of a hub, or is cut off: {error}") from error
    _check_store(folder / FILE, file, manifest["made_ms"])
    return Backup(manifest["made_ms"], manifest["readings"], len(manifest["files"]), file.stat().st_size)


def _manifest(tar: tarfile.TarFile, members: list[tarfile.TarInfo], file: Path) -> Any:
    last = members[-1] if members else None
    content = tar.extractfile(last) if last and last.name == _MANIFEST and last.size < _MAX_MANIFEST else None
    if content is None:
        raise SetupError(f"{file} is no backup of a hub, or is cut off: {_MANIFEST} does not end it")
    try:
        manifest = json.loads(content.read())
        found = (manifest["format"], manifest["version"], type(manifest["made_ms"]), type(manifest["readings"]))
        files = {name: (one["bytes"], one["sha256"]) for name, one in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"{file} is damaged: its {_MANIFEST} cannot be read: {error!r}") from error
    if found != (_FORMAT, _VERSION, int, int):
        raise SetupError(f"{file} is no backup of a hub that this version can read: {found[0]!r}, version {found[1]!r}")
    if sorted(files) != sorted(member.name for member in members[:-1]) or FILE not in files:
        raise SetupError(f"{file} is damaged: the files in it are not those of its {_MANIFEST}")
    return manifest


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, files: Any, file: Path) -> None:
    path = PurePosixPath(member.name)
    if not member.isfile() or path.is_absolute() or ".." in path.parts:
        raise SetupError(f"{file} is no backup of a hub: {member.name!r} in it is no file of a hub's data")
    target = folder / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a file
    hashed = _Hashing(content)
    with target.open("wb") as out:
        target.chmod(member.mode & 0o777)
        while chunk := hashed.read(_CHUNK):
            out.write(chunk)
        size = out.tell()
        out.flush()
        os.fsync(out.fileno())
    if {"bytes": size, "sha256": hashed.sum.hexdigest()} != files[member.name]:
        raise SetupError(f"{file} is damaged: {member.name} in it is not what was backed up")


def _check_store(store: Path, file: Path, made_ms: int) -> None:
    """The store is whole and none of a newer version; it is noted in it that it was restored."""
    try:
        with closing(connect(store)) as db:
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise SetupError(f"the store in {file} was damaged when it was backed up: {problem}")
            if newer := unknown_migrations(db):
                raise SetupError(f"{file} is of a newer version of the hub, which knows {', '.join(newer)}")
            db.execute("INSERT INTO restored (backup_ms, restored_ms) VALUES (?, ?)", (made_ms, now_ms()))
    except sqlite3.Error as error:
        raise SetupError(f"the store in {file} cannot be used: {error}") from error


def _sync(folder: Path) -> None:
    """A new name in the folder outlasts a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
