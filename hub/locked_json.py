"""Small files of names that several of the hub's processes change."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.errors import SetupError
from runtime import locked_json as files
from runtime.files import DamagedFileError


@contextmanager
def locked_json(path: Path) -> Iterator[dict[str, Any]]:
    """The file's object, as runtime.locked_json gives it. Raises SetupError."""
    try:
        with files.locked_json(path) as content:
            yield content
    except DamagedFileError as error:
        raise SetupError(str(error)) from error
