"""What the campaigns of the fault laboratory share: a lab under load, its programs kept running, and the verdict."""

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.parts.lab import PROGRAMS, Lab
from bench.parts.ledger import Account
from bench.parts.load import Load

_RESTART_S = 0.2  # after which a service manager would have started again what has ended
_RECOVERY_S = 120.0


class Campaign:
    """A lab under load. `chance` is where every choice comes from; `result` is there at the end."""

    def __init__(self, load: Load, lab: Lab, seed: int):
        self.load = load
        self.lab = lab
        self.chance = random.Random(seed)
        self.judges: list[Callable[[], dict[str, Any]]] = []  # of more than the accounts, once all has settled
        self.down: set[str] = set()  # programs that shall not be started again for now
        self.result: dict[str, Any] = {}
        self.failed = False

    def kill(self, name: str) -> bool:
        """kill -9 a program or a part; False if there is no such process now."""
        killed = self.lab.kill(name)
        if killed and name == "gateway":
            self.load.meter.gateway_killed()
        return killed

    async def recovered(self) -> None:
        """Wait until readings flow again, and none of before is under way. What never arrives is missing in the end."""
        if not self.failed and not await self.load.flows(self.lab, timeout_s=_RECOVERY_S):
            self.failed = True
            say(f"not recovered within {_RECOVERY_S:g} s")

    async def settle(self) -> None:
        """After the load: wait for the rest, and judge."""
        if not await self.load.settled(self.lab, timeout_s=_RECOVERY_S):
            self.failed = True
            say(f"not settled within {_RECOVERY_S:g} s")
        accounts = await asyncio.to_thread(self.load.accounts, self.lab)
        for thing, account in accounts.items():
            say(f"{thing}: {account.equation()}")
        total = sum(accounts.values(), Account())
        self.failed |= bool(total.missing or total.duplicates)
        self.result = asdict(total)
        for judge in self.judges:
            self.result |= await asyncio.to_thread(judge)

    async def keep_running(self) -> None:
        """Start what has ended again, until cancelled."""
        while True:
            for name in PROGRAMS:
                if name not in self.down and self.lab.pid(name) is None:
                    self.lab.start(name)
            await asyncio.sleep(_RESTART_S)


@contextlib.asynccontextmanager
async def campaign(
    seed: int,
    *,
    load: Load | None = None,
    uplink: int = 0,
    other_clock: bool = False,
    before: Callable[[Lab], None] = lambda lab: None,
) -> AsyncIterator[Campaign]:
    """A lab under load for as long as the body runs; then the verdict. The folder of one that fails is kept.

    uplink: the port on which the gateway finds the hub's broker, if not the broker's own. other_clock: the gateway's
    wall clock can be set. before: is given the lab before anything is started.
    """
    load = load or Load()
    folder = Path(tempfile.mkdtemp(prefix="kerb-faults-"))
    made = Campaign(load, load.make_lab(folder, uplink=uplink, other_clock=other_clock), seed)
    try:
        before(made.lab)
        made.lab.start("hub")
        await asyncio.to_thread(made.lab.enrol)
        for device in load.devices:
            device.start()
        keeper = asyncio.create_task(made.keep_running(), name="keep running")
        try:
            async with load.making():
                yield made
            made.down.clear()
            await made.settle()
        finally:
            await _end(keeper)
            for device in load.devices:
                await device.stop()
    except BaseException:
        made.failed = True
        raise
    finally:
        made.lab.stop()
        if made.failed:
            say(f"what is left of it is in {folder}")
        else:
            shutil.rmtree(folder)


def say(text: str) -> None:
    """Progress, for people: on stderr, since stdout is for the result."""
    print(text, file=sys.stderr, flush=True)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
