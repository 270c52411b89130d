"""Power cuts at a small count, and proof that the rig finds what it is there to find."""

import random
import shutil
import tempfile
from pathlib import Path

import pytest

from bench.faults import measure
from bench.parts.faults.power import Verdict, images, memory
from bench.parts.power.trace import Rename, Sync, Word, Write, trace
from tests.faults.broken_outbox import BUGS

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        (Path(name) / "work").mkdir()
        yield Path(name)


def test_whatever_the_power_cut_leaves_opens_with_all_that_was_committed():
    result = measure("power", 400, seed=1)
    assert (result["missing"], result["duplicates"], result["wrong"]) == (0, 0, 0)
    assert result["moments"] > 300
    for term in ("stored", "buffered", "declared_lost"):
        assert result[term] > 0  # packs were released, held, and had to give way


@pytest.mark.parametrize("bug", BUGS)
def test_the_rig_finds(folder, bug):
    file = folder / "work" / "data" / "outbox.db"
    events = trace(folder / "work", "tests.faults.broken_outbox", str(file), "7", "60", bug)
    verdict = Verdict()
    images(events, folder / "image", 150, verdict, random.Random(2))
    assert verdict.wrong
    assert verdict.missing + verdict.duplicates > 0


def test_the_tracer_tells_everything_that_an_outbox_does_to_its_disk(folder):
    path = folder / "work" / "data" / "outbox.db"
    events = trace(folder / "work", "bench.parts.power.outbox_work", str(path), "3", "30")
    content: dict[str, bytearray] = {}
    for event in events:
        if isinstance(event, Rename):
            file = content.pop(event.old) if event.old else bytearray()
            if event.new and not event.folder:
                content[event.new] = file
        elif isinstance(event, Write):
            file = content[event.path]
            file.extend(bytes(max(0, event.offset + len(event.data) - len(file))))
            file[event.offset : event.offset + len(event.data)] = event.data
        elif not isinstance(event, Sync | Word):
            file = content[event.path]
            file.extend(bytes(max(0, event.size - len(file))))
            if not event.grow:
                del file[event.size :]
    left = {str(file): file.read_bytes() for file in path.parent.iterdir()}
    assert {name: bytes(made) for name, made in content.items()} == left
