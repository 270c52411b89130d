"""The supervisor: what fails is started again with its reason kept, and its neighbours go on."""

import asyncio
import contextlib
import logging

from edge import supervisor as supervisor_module
from edge.errors import LinkError
from edge.supervisor import Supervisor


async def test_a_part_that_fails_is_started_again_and_its_neighbour_is_not(monkeypatch, caplog):
    monkeypatch.setattr(supervisor_module, "_FIRST_GAP_S", 0.01)
    starts = {"broken": 0, "buggy": 0, "well": 0}
    enough = asyncio.Event()

    async def broken():
        starts["broken"] += 1
        if starts["broken"] == 4:
            enough.set()
        raise ExceptionGroup("in a task", [LinkError("bus", "the cable is out")])

    async def buggy():
        starts["buggy"] += 1
        if starts["buggy"] == 1:
            raise ZeroDivisionError("a mistake of ours")
        await asyncio.Event().wait()

    async def well():
        starts["well"] += 1
        await asyncio.Event().wait()

    watched = Supervisor({"broken": broken, "buggy": buggy, "well": well})
    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(watched.run())
        async with asyncio.timeout(5):
            await enough.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert starts["well"] == 1
    assert watched.states["broken"].reason == "bus: the cable is out"
    assert watched.states["broken"].restarts >= 3
    assert watched.states["well"].running
    traces = {record.getMessage().split()[0]: record.exc_info for record in caplog.records}
    assert traces["broken"] is None  # foreseen: one sentence
    assert traces["buggy"] is not None
