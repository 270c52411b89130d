"""What goes wrong with Bluetooth, in our terms: the one place where bleak's errors are mapped."""

import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from bleak.exc import BleakError, BleakGATTProtocolError

from edge.errors import EdgeError

log = logging.getLogger(__name__)

_FAILURES = (BleakError, TimeoutError, OSError, EOFError)  # what bleak raises; EOFError: BlueZ's D-Bus is gone


class RadioError(EdgeError):
    """An adapter or a peer failed: `reason`, and `code` if the peer refused with an ATT error."""

    def __init__(self, reason: str, code: int | None = None):
        super().__init__(reason)
        self.reason = reason
        self.code = code


@contextmanager
def radio_errors() -> Iterator[None]:
    """bleak's errors as RadioError."""
    try:
        yield
    except BleakGATTProtocolError as error:
        raise RadioError(str(error), error.code) from error
    except _FAILURES as error:
        raise RadioError(str(error) or "no answer in time") from error


async def finish(ending: Awaitable[object], action: str) -> None:
    """Await an ending whose failure changes nothing: a new beginning follows, or a cancellation that must go on."""
    try:
        await ending
    except _FAILURES as error:
        log.info("%s: %s", action, error)
