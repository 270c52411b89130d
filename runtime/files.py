"""Files that are there whole or not at all, and folders that outlast a power cut."""

import os
import tempfile
from pathlib import Path


class DamagedFileError(Exception):
    """A file of ours that cannot be used: `path` and `reason`. It is left as it is."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} is damaged: {reason}")
        self.path = path
        self.reason = reason


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put the file there, or in the place of the one before; when this returns it outlasts a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    draft = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is no path
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        sync_folder(path.parent)  # the new name too is to be on disk
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_folder(path: Path) -> None:
    """Make the folder, and those above it, if they are missing; when this returns they outlast a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """See that the names in the folder, as they are now, outlast a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
