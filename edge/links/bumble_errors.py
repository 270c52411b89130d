"""bumble's errors in bleak's terms, for the backend that puts the one under the other."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bleak.exc import BleakError, BleakGATTProtocolError
from bumble.att import ATT_Error
from bumble.core import BaseBumbleError

from edge.links.bonds import BondsError


@contextmanager
def bleak_errors(action: str) -> Iterator[None]:
    """bumble's errors as bleak's, with the action that failed; and cancellations as asyncio means them.

    bumble cancels what waits for a link that goes away: where nobody cancelled this task, that is an error. And the
    wait_for of Python 3.11, which bumble uses, may lose a cancellation that comes together with a result or an error.
    """
    task = asyncio.current_task()
    assert task
    cancelled = task.cancelling()
    try:
        yield
    except (BaseBumbleError, BondsError, OSError, ValueError, asyncio.CancelledError) as error:
        if task.cancelling() > cancelled:
            raise asyncio.CancelledError from error
        raise _in_bleak_terms(action, error) from error
    if task.cancelling() > cancelled:
        raise asyncio.CancelledError


def _in_bleak_terms(action: str, error: BaseException) -> BleakError:
    match error:
        case ATT_Error():
            return BleakGATTProtocolError(error.error_code)
        case TimeoutError():
            return BleakError(f"{action}: no answer in time")
        case asyncio.CancelledError():
            return BleakError(f"{action}: the link was lost")
        case _:
            return BleakError(f"{action}: {error}")
