"""The journal: loss of power at any byte, and what happens when it is full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.core.journal import Journal
from firmware.errors import JournalError
from hardware.sim.wearable import ROOT, micropython

PACK = bytes(92)  # 100 bytes with its head


def interpreters() -> list[str]:
    return [sys.executable, micropython()]


@pytest.mark.parametrize("interpreter", interpreters(), ids=["cpython", "micropython"])
def test_torn_at_every_byte_and_damaged_at_every_byte(interpreter: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [interpreter, "tests/firmware/tear.py", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    bytes_written = 3 * 8 + len(b"first" + b"the second one" + b"3rd")
    assert int(done.stdout) == 2 * bytes_written + 1


def filled(directory: Path, packs: int, *, limit_bytes: int = 4096) -> Journal:
    """One epoch of packs that hold 1, 2, 3, 1, 2, 3 ... readings."""
    journal = Journal(str(directory), limit_bytes=limit_bytes)
    journal.open(5)
    for number in range(packs):
        assert journal.append(PACK, number % 3 + 1) == number + 1
    return journal


def readings_of(journal: Journal, first: int, last: int) -> tuple[int, int]:
    """How many readings are held and how many are declared lost in these packs."""
    held = lost = 0
    for seq in range(first, last + 1):
        payload, readings = journal.read(5, seq)
        if payload is None:
            lost += readings
        else:
            assert payload == PACK
            held += readings
    return held, lost


def test_the_oldest_give_way_and_each_is_declared(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal", 90)
    assert journal.size() <= 4096
    for each in (journal, Journal(str(tmp_path / "journal"), limit_bytes=4096)):
        assert each.epochs() == [(5, 1, 90)]
        held, lost = readings_of(each, 1, 90)
        assert held + lost == 30 * (1 + 2 + 3)
        assert lost == journal.lost_readings > 0
        assert each.read(5, 1) == (None, 1)
        assert each.read(5, 90) == (PACK, 3)


def test_what_was_released_is_not_declared_lost(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal", 30)
    journal.release(5, 29)
    for _ in range(10):
        journal.append(PACK, 1)
    assert journal.lost_readings == 0
    assert journal.epochs()[0][2] == 40


def test_power_fails_between_gap_record_and_deletion(tmp_path: Path) -> None:
    """The segment is still there beside the gap record for it: its packs must not count twice."""
    directory = tmp_path / "journal"
    filled(directory, 35)
    before = shutil.copytree(directory, tmp_path / "before")
    journal = Journal(str(directory), limit_bytes=4096)
    journal.open(6)
    while not journal.lost_readings:
        journal.append(PACK, 1)
    (gone,) = {path.name for path in before.iterdir()} - {path.name for path in directory.iterdir()}
    shutil.copy(before / gone, directory / gone)
    again = Journal(str(directory), limit_bytes=4096)
    assert not (directory / gone).exists()
    assert again.epochs()[0] == (5, 1, 35)
    held, lost = readings_of(again, 1, 35)
    assert held + lost == sum(number % 3 + 1 for number in range(35))
    assert lost == journal.lost_readings


def test_a_gap_is_forgotten_when_the_gateway_has_it(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal", 90)
    journal.release(5, 90)
    journal.open(6)
    assert journal.epochs() == []
    assert list((tmp_path / "journal").iterdir()) == []
    with pytest.raises(JournalError, match="5/90 is not held"):
        journal.read(5, 90)


def test_a_damaged_segment_in_the_middle_is_declared(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal", 9, limit_bytes=4800)  # three records a segment
    second = sorted((tmp_path / "journal").iterdir())[1]
    damaged = bytearray(second.read_bytes())
    damaged[100] ^= 1  # its second record
    second.write_bytes(damaged)
    again = Journal(str(tmp_path / "journal"), limit_bytes=4800)
    assert again.epochs() == journal.epochs() == [(5, 1, 9)]
    assert [again.read(5, seq)[0] for seq in (4, 5, 6, 7)] == [PACK, None, None, PACK]


def test_interleaved_reading(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"), limit_bytes=65536)
    for epoch in (1, 2):
        journal.open(epoch)
        for seq in range(1, 41):
            journal.append(f"{epoch}/{seq}".encode(), 1)
    for seq in (1, 2, 40, 3, 4, 1):
        for epoch in (2, 1):
            assert journal.read(epoch, seq) == (f"{epoch}/{seq}".encode(), 1)


@pytest.mark.parametrize("payload", [b"", bytes(70000)], ids=["empty", "too long"])
def test_a_pack_that_does_not_fit_is_refused(tmp_path: Path, payload: bytes) -> None:
    journal = filled(tmp_path / "journal", 1)
    with pytest.raises(JournalError, match="does not fit"):
        journal.append(payload, 1)
    assert journal.append(PACK, 1) == 2
