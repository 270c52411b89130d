"""The journal: cut at every change of the flash, full, damaged, and refused by the flash."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.parts import journal_cuts
from firmware.core.gaps import Gaps, decode
from firmware.core.journal import Journal
from firmware.core.sectors import Sectors
from firmware.errors import JournalError
from hardware.sim.chips.norflash import TEARS, NorFlash, torn
from hardware.sim.device import ROOT, micropython

PACK = bytes(range(92))  # 100 bytes with its head
SECTOR_BYTES = 512  # four such packs, or less if there are gaps
SECTORS = 10


def flash_of(sectors: int = SECTORS) -> NorFlash:
    return NorFlash(sectors, sector_bytes=SECTOR_BYTES)


def filled(flash: NorFlash, packs: int) -> Journal:
    """One epoch of packs that hold two readings each."""
    journal = Journal(flash)
    journal.open(5)
    for number in range(packs):
        assert journal.append(PACK, 2) == number + 1
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


# --- loss of power ---


def test_cut_everywhere_on_micropython() -> None:
    done = subprocess.run(
        [micropython(), "-X", "heapsize=8M", "bench/parts/journal_cuts.py", "400", "7"],
        cwd=ROOT,
        env={"MICROPYPATH": ".:.frozen"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    fewest, most = found.pop("wear")
    assert found.pop("cuts") > 1500
    assert found == {"unmountable": 0, "lost": 0}
    assert most - fewest <= 1


def test_the_campaign_notices_a_journal_that_declares_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each head tells of the gaps before the one that is about to be made."""
    original = Sectors.begin
    told: list[list[int]] = []

    def begin(self: Sectors, sector: int, number: int, epoch: int, first: int, lost: Gaps) -> int:
        late = Gaps(100, [list(run) for run in told])
        told[:] = lost.runs
        return original(self, sector, number, epoch, first, late)

    monkeypatch.setattr(Sectors, "begin", begin)
    assert journal_cuts.Campaign(7).run(400)["lost"]


def test_the_campaign_notices_a_journal_that_trusts_torn_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.core.sectors.crc32", lambda data, start=0: 0)
    assert journal_cuts.Campaign(7).run(400)["lost"]


def test_what_a_cut_leaves() -> None:
    flash = flash_of(1)
    images: dict[str, bytes] = {}
    flash.watcher = lambda flash, at, after: images.update(
        {tear: bytes(image.image[:4]) for tear, image in torn(flash, at, after)}
    )
    flash.writeblocks(0, b"\x0f\x00\x00\xf0", 0)
    assert tuple(images) == TEARS
    assert images["none"] == b"\xff\xff\xff\xff"
    assert images["half"] == b"\x0f\x00\xff\xff"
    assert images["whole"] == b"\x0f\x00\x00\xf0"
    assert all(
        bits & programmed == programmed for bits, programmed in zip(images["some bits"], b"\x0f\0\0\xf0", strict=True)
    )
    flash.writeblocks(0, b"\xf0", 0)
    assert flash.image[:4] == b"\x00\x00\x00\xf0"  # programming clears bits, and never sets one


# --- a full ring ---


def test_the_oldest_give_way_and_each_is_declared() -> None:
    flash = flash_of()
    journal = filled(flash, 90)
    assert journal.size() <= SECTORS * SECTOR_BYTES
    for each in (journal, Journal(flash)):
        assert each.epochs() == [(5, 1, 90)]
        held, lost = readings_of(each, 1, 90)
        assert held + lost == 90 * 2
        assert lost == journal.lost_readings > 0
        assert each.read(5, 1) == (None, 2)
        assert each.read(5, 90) == (PACK, 2)


def test_all_sectors_wear_alike() -> None:
    flash = flash_of()
    filled(flash, 1000)
    assert max(flash.erasures) - min(flash.erasures) <= 1
    assert sum(flash.erasures) <= 1000 // 3


def test_what_was_released_is_not_declared_lost() -> None:
    flash = flash_of()
    journal = filled(flash, 32)
    journal.release(5, 31)
    for _ in range(20):
        journal.append(PACK, 1)
    assert journal.lost_readings == 0
    assert journal.epochs()[0][2] == 52
    assert Journal(flash).epochs()[0][1] > 28  # what is released whole does not come back with the next start


def test_a_gap_is_forgotten_when_the_gateway_has_it() -> None:
    journal = filled(flash_of(), 90)
    journal.release(5, 90)
    journal.open(6)
    assert journal.epochs() == []
    assert journal.size() == 0
    with pytest.raises(JournalError, match="5/90 is not held"):
        journal.read(5, 90)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), max_size=60))
def test_gaps_keep_count_of_readings_however_many_runs_there_are(packs: list[tuple[int, int]]) -> None:
    """Each number of readings is right as long as there is room for its run; their sum is right always."""
    exact, narrow = Gaps(100), Gaps(4)
    seqs: dict[int, int] = {}
    appended = []
    for epoch, readings in sorted(packs, key=lambda pack: pack[0]):
        seqs[epoch] = seqs.get(epoch, 0) + 1
        appended.append((epoch, seqs[epoch], readings))
        for gaps in (exact, narrow):
            gaps.add(*appended[-1])
    assert [(epoch, seq, exact.readings(epoch, seq)) for epoch, seq, _ in appended] == appended
    assert decode(exact.encode()) == exact.runs
    assert len(narrow.runs) <= 4
    kept = [narrow.readings(epoch, seq) for epoch, seq, _ in appended]
    assert sum(readings or 0 for readings in kept) == sum(readings for _, readings in packs)
    assert all(readings != 0 for readings in kept)  # a gap record of nothing could not be sent


# --- flash that fails ---


def test_a_damaged_record_in_the_middle_is_declared() -> None:
    flash = flash_of()
    journal = filled(flash, 12)
    flash.image[SECTOR_BYTES + 200] ^= 1  # the second record of the second sector hides the two behind it
    again = Journal(flash)
    assert again.epochs() == journal.epochs() == [(5, 1, 12)]
    assert [again.read(5, seq)[0] for seq in (4, 5, 6, 7, 8, 9)] == [PACK, PACK, None, None, None, PACK]


class FailingFlash(NorFlash):
    """Refuses so many writes, or keeps something else."""

    refusing = forgetting = 0

    def writeblocks(self, block_num: int, buf: bytes | bytearray, offset: int | None = None) -> None:
        if self.refusing:
            self.refusing -= 1
            raise OSError(5, "the flash does not answer")
        if self.forgetting:
            self.forgetting -= 1
            buf = bytes(buf[:60]) + b"\xff" * (len(buf) - 60)
        super().writeblocks(block_num, buf, offset)


@pytest.mark.parametrize("way", ["refusing", "forgetting"])
def test_a_record_that_the_flash_does_not_keep_is_refused_and_the_next_goes_elsewhere(way: str) -> None:
    flash = FailingFlash(SECTORS, sector_bytes=SECTOR_BYTES)
    journal = filled(flash, 2)
    setattr(flash, way, 1)
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append(bytes(92), 2)
    assert journal.append(PACK, 1) == 3
    for each in (journal, Journal(flash)):
        assert each.epochs() == [(5, 1, 3)]
        assert [each.read(5, seq) for seq in (1, 2, 3)] == [(PACK, 2), (PACK, 2), (PACK, 1)]


def test_a_sector_that_cannot_be_begun_is_passed_over() -> None:
    flash = FailingFlash(SECTORS, sector_bytes=SECTOR_BYTES)
    journal = filled(flash, 4)
    flash.refusing = 1
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append(PACK, 2)
    assert journal.append(PACK, 2) == 5
    assert Journal(flash).epochs() == [(5, 1, 5)]


# --- the rest ---


def test_interleaved_reading() -> None:
    journal = Journal(flash_of(40))
    for epoch in (1, 2):
        journal.open(epoch)
        for seq in range(1, 41):
            journal.append(f"{epoch}/{seq}".encode(), 1)
    for seq in (1, 2, 40, 3, 4, 1):
        for epoch in (2, 1):
            assert journal.read(epoch, seq) == (f"{epoch}/{seq}".encode(), 1)


def test_an_old_place_is_not_taken_for_one_in_what_has_come_there_since() -> None:
    """The ring comes round between two reads of the same sector and the same seq."""
    journal = Journal(flash_of(3))
    journal.open(1)
    journal.append(b"x" * 10, 1)
    journal.append(b"first", 1)
    assert journal.read(1, 2) == (b"first", 1)
    for epoch in (2, 3, 4):
        journal.open(epoch)
        journal.append(b"y" * 30, 1)
        journal.append(b"other", 1)
    assert journal.read(4, 2) == (b"other", 1)


@pytest.mark.parametrize("payload", [b"", bytes(400)], ids=["empty", "too long"])
def test_a_pack_that_does_not_fit_is_refused(payload: bytes) -> None:
    journal = filled(flash_of(), 1)
    with pytest.raises(JournalError, match="does not fit"):
        journal.append(payload, 1)
    assert journal.append(PACK, 1) == 2


def test_the_longest_pack_fits_behind_the_longest_head() -> None:
    flash = flash_of()
    journal = Journal(flash)
    longest = bytes(Sectors(flash, 256).longest_payload())
    for number in range(100):
        journal.open(number + 1)
        journal.append(longest, number % 5 + 1)
    assert Journal(flash).read(100, 1) == (longest, 5)


def test_a_partition_that_is_no_ring() -> None:
    with pytest.raises(JournalError, match="2 sectors is too small"):
        Journal(flash_of(2))


def test_without_an_epoch_nothing_is_appended() -> None:
    with pytest.raises(JournalError, match="no epoch is open"):
        Journal(flash_of()).append(PACK, 1)
