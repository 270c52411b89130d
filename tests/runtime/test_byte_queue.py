"""The queue that bounds a program's memory while what comes cannot be kept up with."""

import asyncio

import pytest

from runtime.byte_queue import ByteQueue


async def test_few_large_items_fill_it_as_many_small_ones_do() -> None:
    queue: ByteQueue[bytes] = ByteQueue(1000, max_bytes=32_000, size_of=len)
    for _ in range(32):
        queue.put_nowait(bytes(1000))
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(b"one more")
    waiting = asyncio.create_task(queue.put(b"waits"))
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.get_nowait()
    await waiting
    assert queue.qsize() == 32
    while not queue.empty():
        queue.get_nowait()
    for _ in range(1000):
        queue.put_nowait(b"")
    assert queue.full()
