"""A power cut: disks as they could be left of an outbox at work, and every one must open with all that was committed.

The outbox works under strace, real files and real syncs; from what it wrote, and wrote through, come the images (see
bench.parts.power.disk). Each is opened by the real OutboxFile: what is in it must be exactly what a transaction that
had returned left, or the one that was under way. Then it must go on: a new epoch, a pack, an end in order. `made` to
`duplicates` are sums over all images; `stored` are readings that had been released, since a hub had them.
"""

import json
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.parts.campaign import say
from bench.parts.power.disk import Disk, moments
from bench.parts.power.outbox_work import DEVICE_EPOCH, MAX_BYTES, Report, digest_of
from bench.parts.power.trace import Event, Word, trace
from edge.outbox_file import OutboxError, OutboxFile
from edge.outbox_rows import Batch, Content, make_row, read_note
from protocols.topics import BULK

_IMAGES_A_RUN = 1000
_STEPS = 150


@dataclass
class Verdict:
    """Sums over images; wrong: what was wrong with the first of them."""

    made: int = 0
    stored: int = 0
    suppressed: int = 0
    buffered: int = 0
    declared_lost: int = 0
    missing: int = 0
    duplicates: int = 0
    wrong: list[str] = field(default_factory=list)


def run(count: int, seed: int) -> dict[str, Any]:
    """So many images, of several runs of an outbox; also says at how many moments."""
    chance = random.Random(seed)
    verdict = Verdict()
    cuts = 0
    with tempfile.TemporaryDirectory(prefix="kerb-power-", dir=memory()) as name:
        folder = Path(name)
        for done in range(0, count, _IMAGES_A_RUN):
            work = folder / "work"
            file = work / "data" / "outbox.db"
            work.mkdir()
            events = trace(
                work, "bench.parts.power.outbox_work", str(file), str(chance.randrange(1 << 31)), str(_STEPS)
            )
            shutil.rmtree(work)
            cuts += images(events, folder / "image", min(_IMAGES_A_RUN, count - done), verdict, chance)
            say(f"{min(done + _IMAGES_A_RUN, count)} of {count} images; {len(verdict.wrong)} wrong")
    for wrong in verdict.wrong[:20]:
        say(wrong)
    return {**vars(verdict), "wrong": len(verdict.wrong), "moments": cuts}


def images(events: list[Event], image: Path, count: int, verdict: Verdict, chance: random.Random) -> int:
    """Judge so many images of one trace, each made in this folder. Returns at how many moments the power was cut."""
    disk = Disk(str(image.with_name("work")))
    words = [Report(), *(Report(*json.loads(event.text)) for event in events if isinstance(event, Word))]
    returned = over = cuts = 0
    for place, of_it in moments(events, count, chance):
        for event in events[over:place]:
            disk.do(event)
            returned += isinstance(event, Word)
        over = place
        cuts += 1
        for _ in range(of_it):
            image.mkdir()
            disk.leave(image, chance)
            judge(image / "data" / "outbox.db", words[returned : returned + 2], verdict)
            shutil.rmtree(image)
    return cuts


def judge(path: Path, allowed: list[Report], verdict: Verdict) -> None:
    """Open one image. allowed: what has returned, and what comes next."""
    try:
        file = OutboxFile(path, max_bytes=MAX_BYTES)
    except OutboxError as error:
        verdict.wrong.append(f"does not open: {error}")
        verdict.missing += allowed[0].made
        return
    try:
        found = digest_of(file._connection)
        report = next((report for report in allowed if report.digest == found), allowed[0])
        buffered, lost = held_in(file)
        verdict.made += report.made
        verdict.stored += report.delivered
        verdict.buffered += buffered
        verdict.declared_lost += lost
        unexplained = report.made - report.delivered - buffered - lost
        verdict.missing += max(0, unexplained)
        verdict.duplicates += max(0, -unexplained)
        if allowed[0].digest and found != report.digest:
            verdict.wrong.append(f"holds neither what was committed nor what was under way: {buffered} readings")
            verdict.missing += not unexplained
        elif (wrong := _inconsistent(file, report)) and allowed[0].digest:
            verdict.wrong.append(wrong)
            verdict.missing += 1
        if file.damages or any(path.parent.glob("*.damaged")):
            verdict.wrong.append("a power cut was taken for damage")
        _go_on(file)
    finally:
        file.close()


def held_in(file: OutboxFile) -> tuple[int, int]:
    """Readings in the packs, and those that gap records declare lost."""
    contents = [read_note(note)[0] for (note,) in file._connection.execute("SELECT note FROM pack")]
    return (
        sum(sum(content.counts.values()) for content in contents),
        sum(loss[0] for content in contents for loss in content.lost.values()),
    )


def _inconsistent(file: OutboxFile, report: Report) -> str:
    """What does not belong to the same moment as the packs."""
    read = sum(read for read, _ in file.tallies().values())
    cursors = {lane: epochs[DEVICE_EPOCH] for (_, lane), epochs in file.cursors().items()}
    if (read, cursors) == (report.read, report.cursors):
        return ""
    return f"{read} read and {cursors} taken over, where there were {report.read} and {report.cursors}"


def _go_on(file: OutboxFile) -> None:
    """Raises if the outbox cannot be used any more."""
    before = sum(file.holdings().by_thing().values())
    epoch = file.next_epoch()
    pack = make_row(BULK, epoch, 1, body=b"body", content=Content({"meter-1": 7}, {"meter-1": (7, 0)}))
    file.write(Batch([pack], {}, {}))
    if sum(file.holdings().by_thing().values()) != before + 7:
        raise ValueError("a pack that was committed after the power cut is not there")


def memory() -> str | None:
    """Where files are made fastest, and syncs are free, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
