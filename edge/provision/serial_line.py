"""A device on a cable: its console, on which it writes its log as well."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from edge.errors import LinkError
from edge.links.serial_port import SerialPort
from protocols.provisioning import Lines

BAUD = 115200
_MOST_WAITING = 16  # messages; a device sends one at a time, so what comes beyond is nobody's answer, and dropped
_CHUNK = 4096


class SerialLine:
    """Messages between the lines of a console. Raises LinkError when the port fails."""

    def __init__(self, port: str, fd: int):
        self._port = port
        self._fd = fd
        self._lines = Lines()
        self._messages: asyncio.Queue[bytes | OSError] = asyncio.Queue(_MOST_WAITING)

    async def send(self, message: bytes) -> None:
        """Send a message."""
        data = self._lines.encode(message)
        try:
            while data:
                with suppress(BlockingIOError):
                    data = data[os.write(self._fd, data) :]
                if data:
                    await self._writable()
        except OSError as error:
            raise LinkError(self._port, str(error)) from error

    async def receive(self) -> bytes:
        """The next message."""
        message = await self._messages.get()
        if isinstance(message, OSError):
            raise LinkError(self._port, str(message)) from message
        return message

    def on_readable(self) -> None:
        """Take what has come."""
        found: list[bytes | OSError] = []
        try:
            data = os.read(self._fd, _CHUNK)
            found += self._lines.feed(data)
            if not data:
                raise OSError("the port has ended")
        except BlockingIOError:
            pass
        except OSError as error:
            asyncio.get_running_loop().remove_reader(self._fd)  # it would be readable for ever
            found.append(error)
        for message in found:
            with suppress(asyncio.QueueFull):
                self._messages.put_nowait(message)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._fd)


@asynccontextmanager
async def serial_line(port: str) -> AsyncIterator[SerialLine]:
    """The line on this port. Raises LinkError."""
    opened = SerialPort(port, port, baud=BAUD)
    line = SerialLine(port, opened.fileno())
    loop = asyncio.get_running_loop()
    loop.add_reader(opened.fileno(), line.on_readable)
    try:
        yield line
    finally:
        loop.remove_reader(opened.fileno())
        opened.close()
