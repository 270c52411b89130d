"""The console (USB) as a line for provisioning. The log goes there too; messages stand between its lines."""

import asyncio
import select
import sys

from protocols.provisioning import Lines

_AT_ONCE = 256


class Console:
    """Messages on standard input and output."""

    name = "console"

    def __init__(self) -> None:
        self._in = sys.stdin.buffer
        self._reader = asyncio.StreamReader(self._in)  # type: ignore[arg-type]  # MicroPython's
        self._poll = select.poll()
        self._poll.register(self._in, select.POLLIN)
        self._lines = Lines()
        self._waiting: "list[bytes]" = []

    async def run(self) -> None:
        """There is nothing to be done meanwhile."""

    async def receive(self) -> bytes:
        """The next message."""
        while not self._waiting:
            self._waiting = self._lines.feed(await self._some())
        return self._waiting.pop(0)

    async def send(self, message: bytes) -> None:
        """Print the message."""
        sys.stdout.buffer.write(self._lines.encode(message))

    async def _some(self) -> bytes:
        """What has come: at least one byte, and then all that need not be waited for."""
        first = await self._reader.read(1)
        if not first:
            await asyncio.Event().wait()  # it has ended (not on a board): nobody will speak here any more
        data, one = bytearray(first), bytearray(1)
        while len(data) < _AT_ONCE and self._poll.poll(0):
            self._in.readinto(one)  # type: ignore[union-attr]  # a byte each, as no port tells how many there are
            data.extend(one)
        return bytes(data)
