"""Commands from this machine: a Unix socket in the gateway's data folder, which only its owner may open.

A request a line, as protocols.command writes it; its result is one line in answer. No port is opened, so that no page
in a browser can reach it.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

from edge.commands import Commands
from edge.errors import EdgeError, Unrecorded
from protocols.command import MAX_BYTES, Request, Result, decode_request, decode_result, encode_request, encode_result
from protocols.errors import DecodeError

logger = logging.getLogger(__name__)

SOCKET = "commands.sock"
_ANSWER_MARGIN_S = 10.0  # a gateway tells how a command ended, at the latest when it expires


class CommandSocket:
    """Serves the socket."""

    def __init__(self, path: Path, commands: Commands):
        self._path = path
        self._commands = commands

    async def run(self) -> None:
        """Serve until cancelled. Raises EdgeError if the socket cannot be made."""
        self._path.unlink(missing_ok=True)  # of a gateway that was killed; the port of the page keeps two apart
        try:
            server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_BYTES)
        except OSError as error:
            raise EdgeError(f"{self._path}: cannot be opened for commands: {error}") from error
        self._path.chmod(0o600)
        try:
            async with server:
                await server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    result = await self._commands.submit(decode_request(line))
                except (DecodeError, Unrecorded) as error:
                    logger.warning("a local command is not answered: %s", error)
                    break
                writer.write(encode_result(result) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError) as error:  # ValueError: a line that never ends
            logger.warning("a local client: %s", error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def send(path: Path, request: Request, *, timeout_s: float) -> Result:
    """Have the gateway whose socket this is carry out a command. Raises EdgeError."""
    try:
        async with asyncio.timeout(timeout_s + _ANSWER_MARGIN_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_BYTES)
            writer.write(encode_request(request) + b"\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except TimeoutError as error:
        raise EdgeError(f"the gateway at {path} does not answer; ask again with the same --key") from error
    except OSError as error:
        raise EdgeError(f"there is no running gateway at {path}: {error.strerror or error}") from error
    try:
        return decode_result(line)
    except DecodeError as error:
        raise EdgeError(f"the gateway at {path} did not take the command: {error}") from error
