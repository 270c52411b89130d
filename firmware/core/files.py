"""Files that survive a loss of power: replaced whole or not at all."""

import os


def write(path: str, data: bytes) -> None:
    """Give the file this content; at any time it holds either the old or the new one."""
    with open(path + ".new", "wb") as file:
        file.write(data)
        file.flush()
    os.rename(path + ".new", path)


def read(path: str) -> "bytes | None":
    """The file's content, or None when there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def make_directory(path: str) -> None:
    """Make the directory unless it is there."""
    try:
        os.stat(path)
    except OSError:
        os.mkdir(path)
