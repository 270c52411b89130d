"""A task of its own for what may leave marks on its task."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

_T = TypeVar("_T")


async def in_own_task(work: Coroutine[object, object, _T], *, name: str) -> _T:
    """Run the work in a new task and return its result; cancelling us cancels it and waits for its end.

    Before Python 3.13 a TaskGroup whose tasks fail leaves its parent task counted as cancelled, and one that is
    cancelled while its tasks fail forgets the cancellation. Neither matters to a task that ends with the group.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen; being cancelled is what counts
        raise
    return task.result()
