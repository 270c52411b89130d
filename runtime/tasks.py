"""Tasks and threads whose end is waited for, however they are left."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
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


async def finished_in_thread(call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As asyncio.to_thread, but a cancellation waits for the call's end: what it works on may be closed after that."""
    task = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.exception()  # seen; being cancelled is what counts
        raise
