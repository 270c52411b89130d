"""Two pseudo-terminals joined by a cable: whoever opens one end talks to whoever opens the other."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """The names of both ends, while the event loop runs."""
    pairs = [os.openpty() for _ in range(2)]
    loop = asyncio.get_running_loop()
    for _, end in pairs:
        tty.setraw(end)
    masters = [master for master, _ in pairs]

    def carry(from_: int, to: int) -> None:
        with contextlib.suppress(OSError):  # an end that was just closed
            os.write(to, os.read(from_, 4096))

    for here, there in (masters, masters[::-1]):
        loop.add_reader(here, carry, here, there)
    try:
        yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    finally:
        for master in masters:
            loop.remove_reader(master)
        for pair in pairs:
            for end in pair:
                os.close(end)
