"""At most one process of a kind at work on a hub's data."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.errors import SetupError


@contextmanager
def only_one(data: Path, part: str) -> Iterator[None]:
    """Hold the lock of this part, such as "ingest": two would break exactly-once. Raises SetupError."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / f"{part}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(f"another {part} is already working on {data}") from None
        yield
