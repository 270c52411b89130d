"""Small files of names that several processes change: one at a time, whole or not at all."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.files import DamagedFileError, write_whole


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of what lies at the path, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_json(path: Path) -> Iterator[dict[str, Any]]:
    """The file's object; what is changed in it is written, readable for its owner alone. Raises DamagedFileError."""
    with locked(path):
        text = path.read_text() if path.exists() else "{}"
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DamagedFileError(path, str(error)) from error
        if not isinstance(content, dict):
            raise DamagedFileError(path, "it holds no object")
        yield content
        if (made := json.dumps(content, indent=1)) != text:
            write_whole(path, made.encode())
