"""A disk that is full, or cannot be written: the gateway's data on a tmpfs of 2 MB and of 64 MB, in its own mounts.

First an outbox alone gets twice as much as its disk can take, so that packs must give way. Then, under load: some other
file takes all the room that there is, with the hub there or away; or each write to the outbox is refused, as on a file
system that has turned read-only (strace has the kernel say so); until there is room again. Also says how often each
fault came, by how much a gateway's memory grew at most within one (`memory_growth_mb`), and how many urgent readings
gave way (`urgent_lost`).
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.parts.campaign import Campaign, campaign, say
from bench.parts.lab import Lab
from bench.parts.ledger import Account
from bench.parts.overflow import overflow
from bench.parts.rig import ROOT
from hub.store.schema import FILE, connect
from protocols.topics import URGENT
from runtime.process import die_with_parent

SIZES_MB = (2, 64)
_WRITES = "pwrite64,write,ftruncate,fallocate,fsync,fdatasync"


def run(count: int, seed: int, *, sizes_mb: Sequence[int] = SIZES_MB) -> dict[str, Any]:
    """So many faults, shared out among disks of these sizes, in a process with mounts of its own."""
    as_root = [] if os.getuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *as_root, sys.executable, "-m", __name__, str(count), str(seed)]
    command += map(str, sizes_mb)
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


async def _run(count: int, seed: int, sizes_mb: Sequence[int]) -> dict[str, Any]:
    done = _Done()
    for place, size_mb in enumerate(sizes_mb):
        share = len(range(place, count, len(sizes_mb)))
        if share:
            with _disk(size_mb) as disk:
                await _overflow(disk, size_mb, seed, done)
            with _disk(size_mb) as disk:
                await _faults(disk, share, seed, done)
    return {
        **vars(done.account),
        "faults": dict(done.faults),
        "memory_growth_mb": round(max(done.growth_mb), 1),
        "urgent_lost": done.urgent_lost,
    }


@dataclass
class _Done:
    """What was done, and what came of it."""

    account: Account = field(default_factory=Account)
    faults: Counter[str] = field(default_factory=Counter)
    growth_mb: list[float] = field(default_factory=list)
    urgent_lost: int = 0


async def _overflow(disk: Path, size_mb: int, seed: int, done: _Done) -> None:
    """Fill the disk twice over, with an outbox in this process."""
    with _memory(os.getpid(), done.growth_mb):
        filled = await overflow(disk, size_mb, random.Random(seed))
    say(f"{size_mb} MB: twice as much: {filled.account().equation()}; memory grew by {done.growth_mb[-1]:.1f} MB")
    done.account += filled.account()
    done.urgent_lost += filled.hub.lost[URGENT]


async def _faults(disk: Path, count: int, seed: int, done: _Done) -> None:
    """Faults of a gateway's disk, under load."""
    async with campaign(seed, before=partial(_put_data_on, disk)) as under:
        await under.recovered()
        kinds = _kinds(under, disk)
        for place in range(count):
            name = list(kinds)[(place + seed) % len(kinds)]
            with _memory(under.lab.pid("gateway"), done.growth_mb):
                await kinds[name]()
            done.faults[name] += 1
            await under.recovered()
            say(f"{place + 1} of {count} faults, {name}; memory grew by {done.growth_mb[-1]:.1f} MB")
            if under.failed:
                break
        done.urgent_lost += _urgent_lost(under.lab)
    done.account += Account(**under.result)


@contextlib.contextmanager
def _disk(size_mb: int) -> Iterator[Path]:
    """A disk of this size; the gateway's own broker keeps its files elsewhere, as it does under systemd."""
    with tempfile.TemporaryDirectory(prefix="kerb-disk-") as name:
        disk, volatile = Path(name) / "disk", Path(name) / "volatile"
        disk.mkdir()
        volatile.mkdir()
        os.environ["RUNTIME_DIRECTORY"] = str(volatile)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "none", str(disk)], check=True)
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _put_data_on(disk: Path, lab: Lab) -> None:
    data = lab.directory / "gateway"
    shutil.copytree(data, disk, dirs_exist_ok=True)  # who its devices are
    shutil.rmtree(data)
    data.symlink_to(disk)


Fault = Callable[[], Awaitable[object]]


def _kinds(under: Campaign, disk: Path) -> dict[str, Fault]:
    return {
        "full": lambda: _full(under, disk, hub=True),
        "full, without a hub": lambda: _full(under, disk, hub=False),
        "read-only": lambda: _read_only(under, [str(file) for file in disk.glob("outbox.db*")]),
    }


async def _full(under: Campaign, disk: Path, *, hub: bool) -> None:
    """All room is taken for a while; without a hub, readings pile up until some give way."""
    if not hub:
        under.down.add("hub")
        under.kill("hub")
    hog = asyncio.create_task(_hog(disk / "hog"), name="hog")
    await asyncio.sleep(under.chance.uniform(2, 12))
    if not hub and under.chance.random() < 0.5:
        under.down.discard("hub")
        await asyncio.sleep(under.chance.uniform(2, 5))  # what piled up leaves while the disk is full
    hog.cancel()
    await asyncio.wait((hog,))
    under.down.discard("hub")


async def _hog(path: Path) -> None:
    """Take all the room that there is, and what becomes free."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            with contextlib.suppress(OSError):
                while os.write(file, bytes(4096)):
                    pass
            await asyncio.sleep(0.1)
    finally:
        os.close(file)
        os.unlink(path)  # noqa: PTH108 - it is at once


async def _read_only(under: Campaign, files: Sequence[str]) -> None:
    """Every write to these files fails as it does on a file system that is read-only."""
    paths = [argument for file in files for argument in ("--trace-path", file)]
    pid = under.lab.pid("gateway")
    refusing = await asyncio.create_subprocess_exec(
        "strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), *paths,
        "-e", f"trace={_WRITES}", "-e", f"inject={_WRITES}:error=EROFS",
        preexec_fn=die_with_parent,
    )  # fmt: skip
    await asyncio.sleep(under.chance.uniform(2, 8))
    failure = (await asyncio.to_thread(under.lab.status))["outbox"]["failure"]
    if not failure:
        raise RuntimeError("nothing failed: strace does not refuse the gateway's writes")
    refusing.send_signal(signal.SIGINT)
    await refusing.wait()


@contextlib.contextmanager
def _memory(pid: int | None, growth_mb: list[float]) -> Iterator[None]:
    """By how much a process's memory grows at most, beyond what it has at the beginning."""
    process = Path(f"/proc/{pid}")
    process.joinpath("clear_refs").write_text("5")  # the peak begins anew
    before = _kb(process, "VmRSS")
    yield
    growth_mb.append((_kb(process, "VmHWM") - before) / 1024)


def _kb(process: Path, what: str) -> int:
    lines = process.joinpath("status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def _urgent_lost(lab: Lab) -> int:
    """Urgent readings that gave way, by what the hub was told."""
    with contextlib.closing(connect(lab.hub_data / FILE, readonly=True)) as db:
        (count,) = db.execute("SELECT coalesce(sum(count), 0) FROM lost WHERE lane = ?", (URGENT,)).fetchone()
    return int(count)


if __name__ == "__main__":
    count_, seed_, *sizes_mb_ = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(_run(count_, seed_, sizes_mb_))))
