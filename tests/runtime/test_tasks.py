"""Tasks and threads: results, errors and cancellation go through, and what was begun has ended by then."""

import asyncio
import threading

import pytest

from runtime.tasks import finished_in_thread, in_own_task


async def fails_in_a_group():
    async def fail():
        await asyncio.sleep(0)
        raise ValueError("broken")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
        tasks.create_task(asyncio.sleep(10))


async def test_an_error_leaves_no_mark():
    with pytest.raises(ExceptionGroup):
        await in_own_task(fails_in_a_group(), name="work")
    assert asyncio.current_task().cancelling() == 0


async def test_a_result_comes_back():
    assert await in_own_task(asyncio.sleep(0, "done"), name="work") == "done"


async def test_cancelling_ends_the_work_and_is_not_lost():
    ended = asyncio.Event()

    async def work():
        try:
            await asyncio.sleep(10)
        finally:
            ended.set()
            raise ValueError("at the end")

    task = asyncio.create_task(in_own_task(work(), name="work"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_cancellation_waits_for_the_thread():
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(5)
        ended.set()
        raise ValueError("at the end")

    task = asyncio.create_task(finished_in_thread(work))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_what_a_thread_returns_or_raises_comes_back():
    assert await finished_in_thread(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await finished_in_thread(divmod, 7, 0)
