"""Damaged outboxes: bits that flipped, sectors that are gone, files cut short. What is left is used, the rest declared.

The hub is a model of what it does with packs and gap records: it had stored what was released when the damage came.
"""

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.parts.faults.power import memory
from bench.parts.power.outbox_work import MAX_BYTES, Report, Work, digest_of
from edge import outbox_repair
from edge.outbox_copy import copy_path
from edge.outbox_disk import LOG_BYTES
from edge.outbox_file import OutboxFile
from edge.outbox_tables import PAGE_BYTES
from protocols.custody import STORE, Header, Receiver
from protocols.deflated import inflate
from protocols.pack import decode_body
from protocols.topics import LANES


@dataclass
class Made:
    """An outbox as its process left it, and what must be known of it. reports: after its last transactions."""

    folder: Path
    work: Work
    reports: list[Report]
    streams: list[tuple[int, str, str, str]]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        folder = Path(name)
        reports: list[Report] = []
        random.seed(5)  # epochs' nonces: the same file each time
        work = Work(folder / "work" / "outbox.db", 11, tell=reports.append)
        while len(reports) < 250 or work.file.held("bulk") == [] or work.path.stat().st_size < 60_000:
            work.step()
        shutil.copytree(folder / "work", folder / "left")  # as kill -9 leaves it
        streams = work.file.streams()
        work.file.close()
        yield Made(folder / "left", work, reports, streams)


@pytest.fixture
def image(made: Made) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(shutil.copytree(made.folder, Path(name) / "image")) / "outbox.db"


def log_of(image: Path) -> Path:
    return image.with_name("outbox.db-wal")


@dataclass
class Hub:
    """What is stored and declared lost in the end, by thing; `undeclared`: what is neither."""

    stored: Counter[str]
    lost: Counter[str]
    undeclared: int


def hand_over(made: Made, file: OutboxFile) -> Hub:
    """Give all that the file holds to a hub that has what was released. Fails if a pack is not what was made."""
    total, stored, lost = Counter(), Counter(), Counter()
    numberings = {(lane, epoch) for lane, epoch, _ in made.work.made}
    for lane, epoch in numberings:
        upto = made.work.released.get((lane, epoch), 0)
        packed: Counter[str] = Counter()
        for (its_lane, its_epoch, seq), readings in made.work.made.items():
            if (its_lane, its_epoch) == (lane, epoch):
                total.update(readings)
                if seq <= upto:
                    packed.update(readings)
        stored.update(packed)
        receiver = Receiver()
        receiver.restore({epoch: upto} if upto else {})
        query = "SELECT first, seq FROM pack WHERE lane = ? AND epoch = ? ORDER BY seq"
        for first, seq in file._connection.execute(query, (lane, epoch)).fetchall():
            header = Header(epoch, seq, first, epoch, True, first)
            if receiver.offer(header) != STORE:
                continue
            body = decode_body(inflate(file.body(lane, epoch, first, seq)))
            if body.columns:
                (thing,) = body.tallies
                assert {thing: len(body.columns[0].values)} == made.work.made[lane, epoch, seq]
                stored[thing] += len(body.columns[0].values)
            for thing, (count, _, _) in body.lost.items():
                read, suppressed = body.tallies[thing]
                lost[thing] += max(0, min(count, read - suppressed - packed[thing]))
            packed.update({thing: read - out - packed[thing] for thing, (read, out) in body.tallies.items()})
    assert not (stored + lost) - total
    return Hub(stored, lost, (total - stored - lost).total())


def check(made: Made, image: Path, *, cut_short: int = 0) -> tuple[Hub, OutboxFile]:
    """Open a damaged image. cut_short: so many of the last transactions may be taken for such as a power cut undid."""
    file = OutboxFile(image, max_bytes=MAX_BYTES)
    whole = digest_of(file._connection) in [report.digest for report in made.reports[-1 - cut_short :]]
    epoch = file.next_epoch()
    assert epoch > max(epoch for _, epoch, _ in made.work.made)
    given = {(thing, metric, unit): alias for alias, thing, metric, unit in made.streams}
    assert all(file.alias(*key) == alias for key, alias in given.items())
    assert file.alias("new", "new", "1") not in given.values()
    hub = hand_over(made, file)
    assert whole or file.damages  # a body is looked at when it is read
    assert bool(file.damages) == bool(list(image.parent.glob("*.damaged")))
    return hub, file


def flip(file: Path, chance: random.Random, bits: int = 1, *, end: int | None = None) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(bits):
        content[chance.randrange(end or len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


@pytest.mark.parametrize("seed", range(150))
def test_a_bit_that_flipped_in_the_file(made, image, seed):
    flip(image, random.Random(seed))
    hub, file = check(made, image)
    assert hub.undeclared == 0
    assert file.cursors() == {("wearable-1", lane): {77: seq} for lane, seq in made.work.cursors.items()}
    file.close()


@pytest.mark.parametrize("seed", range(60))
def test_sectors_that_are_gone(made, image, seed):
    chance = random.Random(seed)
    content = bytearray(image.read_bytes())
    sector = chance.choice((512, 4096))
    count = chance.choice((1, 1, 3))
    for _ in range(count):
        at = chance.randrange(len(content)) // sector * sector
        content[at : at + sector] = chance.choice((bytes(sector), chance.randbytes(sector)))[: len(content) - at]
    image.write_bytes(content)
    hub, file = check(made, image)
    assert hub.undeclared == 0 or count > 1  # the last packs and the tallies that know of them
    file.close()


@pytest.mark.parametrize("seed", range(40))
def test_a_file_that_was_cut_short(made, image, seed):
    chance = random.Random(seed)
    size = chance.randrange(image.stat().st_size)
    with image.open("r+b") as file:
        file.truncate(size)
    hub, opened = check(made, image)
    # The small tables, of which the tallies are one, lie in the first pages: without them nobody knows what was there.
    assert hub.undeclared == 0 or size < 32 * PAGE_BYTES
    opened.close()


@pytest.mark.parametrize("seed", range(60))
def test_a_bit_that_flipped_in_the_log(made, image, seed):
    flip(log_of(image), random.Random(seed))
    hub, file = check(made, image, cut_short=2)
    if file.damages:
        assert hub.undeclared == 0
    file.close()


def test_a_log_that_was_cut_short_is_reported(made, image, caplog):
    with log_of(image).open("r+b") as file:
        file.truncate(LOG_BYTES // 2)
    _, opened = check(made, image, cut_short=len(made.reports))
    assert opened.damages
    assert "log is not as it was written" in caplog.text
    opened.close()


@pytest.mark.parametrize("seed", range(30))
def test_a_file_that_is_damaged_all_over(made, image, seed):
    """Little is left of it, but nothing that is left is wrong, and the equation holds of what the hub comes to hear."""
    chance = random.Random(seed)
    flip(image, chance, bits=chance.randrange(50, 2000))
    flip(log_of(image), chance, bits=chance.randrange(200))
    check(made, image)[1].close()


def test_a_file_that_is_no_outbox_at_all_is_set_aside(tmp_path):
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is not a database, by any means" * 100)
    file = OutboxFile(path, max_bytes=MAX_BYTES)
    assert [file.held(lane) for lane in LANES] == [[], []]
    (kept,) = tmp_path.glob("*.damaged")
    assert kept.read_bytes().startswith(b"this is not")
    assert file.damages == 1
    file.close()
    again = OutboxFile(path, max_bytes=MAX_BYTES)
    assert again.damages == 1
    again.close()


def test_streams_that_nobody_can_name_any_more_are_declared_lost_and_their_numbers_are_not_given_again(made, image):
    """Both the table and its copy are gone: a pack that speaks of them would wait for ever at the hub."""
    copy_path(image).unlink()
    content = image.read_bytes() + log_of(image).read_bytes()
    assert content.count(b"wearable-1") > 10
    for file in (image, log_of(image)):
        data = bytearray(file.read_bytes())
        for _, thing, metric, unit in made.streams:
            row = f"{thing}{metric}{unit}".encode()
            at = data.find(row)
            while at >= 0:
                data[at] ^= 0x20
                at = data.find(row, at)
        file.write_bytes(data)
    file = OutboxFile(image, max_bytes=MAX_BYTES)
    assert file.streams() == []
    hub = hand_over(made, file)
    assert hub.undeclared == 0
    assert not hub.stored - Counter({thing: count for thing, count in released(made).items()})
    assert file.alias("meter-1", "a", "1") > 1000
    file.close()


def released(made: Made) -> Counter[str]:
    found: Counter[str] = Counter()
    for (lane, epoch, seq), readings in made.work.made.items():
        if seq <= made.work.released.get((lane, epoch), 0):
            found.update(readings)
    return found


def test_a_repair_that_is_cut_short_anywhere_is_done_again_or_finished(made, image, monkeypatch):
    class CutError(Exception):
        pass

    flip(image, random.Random(0), bits=400)
    steps = 0
    while True:
        left = steps
        steps += 1

        def counted(do: Callable[..., object]) -> Callable[..., object]:
            def step(*arguments: object, **options: object) -> object:
                nonlocal left
                if not left:
                    raise CutError
                left -= 1
                return do(*arguments, **options)

            return step

        folder = Path(shutil.copytree(image.parent, image.parent.with_name(f"cut-{steps}")))
        try:
            with monkeypatch.context() as patch:
                for name in ("link", "replace", "unlink"):
                    patch.setattr(os, name, counted(getattr(os, name)))
                patch.setattr(outbox_repair, "sync_folder", counted(outbox_repair.sync_folder))
                OutboxFile(folder / "outbox.db", max_bytes=MAX_BYTES).close()
            break
        except CutError:
            hub, file = check(made, folder / "outbox.db")
            assert hub.undeclared == 0
            assert not list(folder.glob("*-salvaged"))
            file.close()
    assert steps > 6
