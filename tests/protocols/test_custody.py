"""Custody over a line that loses, repeats and delays, between parties that crash: every pack is stored once."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.custody import AHEAD, DUPLICATE, STORE, Header, Receiver, Release, Sender, epoch_number, incarnation_of
from protocols.errors import ProtocolError

FIRST = epoch_number(7, 1, 99)
SECOND = epoch_number(7, 2, 5)


def header(seq: int, *, epoch: int = FIRST, base: int = 1, oldest: int = FIRST, first: int = 0) -> Header:
    return Header(epoch, seq, base, oldest, False, first or seq)


def test_epoch_numbers_keep_incarnations_apart():
    assert incarnation_of(epoch_number(7, 1, 2)) == incarnation_of(epoch_number(7, 99, 3)) == 7
    assert epoch_number(7, 2, 0) > epoch_number(7, 1, 1000)
    assert epoch_number((1 << 24) - 1, (1 << 20) - 1, (1 << 18) - 1) < 1 << 62
    for wrong in ((0, 1, 0), (1, 0, 0), (1 << 24, 1, 0), (1, 1 << 20, 0), (1, 1, 1 << 18), (1, 1, -1)):
        with pytest.raises(ProtocolError):
            epoch_number(*wrong)


def test_a_sender_restored_from_an_old_image_is_not_taken_for_what_it_has_been_since():
    """Its counter runs back; without the nonce its new packs would be called duplicates, and let go unstored."""
    receiver = Receiver()
    receiver.restore({epoch_number(7, 2, 1): 500})
    anew = epoch_number(7, 2, 2)
    assert receiver.offer(header(1, epoch=anew, oldest=anew)) == STORE
    receiver.stored(header(1, epoch=anew, oldest=anew))
    assert receiver.cursor() == {anew: 1}


def test_receiver_takes_packs_in_order_and_once():
    receiver = Receiver()
    assert receiver.offer(header(2)) == AHEAD
    assert receiver.offer(header(1)) == STORE
    assert receiver.offer(header(2)) == STORE  # before the first is committed: a group
    assert receiver.cursor() == {}
    receiver.stored(header(1))
    receiver.stored(header(2))
    assert receiver.cursor() == {FIRST: 2}
    assert receiver.offer(header(2)) == DUPLICATE


def test_receiver_offers_again_what_a_failed_commit_lost():
    receiver = Receiver()
    assert receiver.offer(header(1)) == STORE
    receiver.rolled_back()
    assert receiver.offer(header(1)) == STORE


def test_receiver_follows_a_base_beyond_what_it_knows():
    """Its storage was lost: the sender has deleted packs 1 to 4 long ago."""
    receiver = Receiver()
    assert receiver.offer(header(6, base=5)) == AHEAD
    assert receiver.offer(header(5, base=5)) == STORE
    assert receiver.offer(header(6, base=5)) == STORE


def test_a_gap_record_stands_for_several_packs_of_which_some_may_be_stored():
    receiver = Receiver()
    assert receiver.offer(header(9, first=3)) == AHEAD
    assert receiver.offer(header(1)) == STORE
    assert receiver.offer(header(2)) == STORE
    assert receiver.offer(header(3)) == STORE
    run = header(9, first=3)
    assert receiver.skipped(run) == 0
    assert receiver.offer(run) == STORE
    assert receiver.offer(header(9, first=3)) == DUPLICATE
    receiver.stored(header(3))
    receiver.withdraw(run)
    assert receiver.offer(header(3)) == DUPLICATE  # it is committed: what is withdrawn does not reach behind it
    assert receiver.offer(run) == STORE


def test_sender_sends_one_gap_record_in_the_place_of_many_packs():
    sender = Sender(window=4)
    sender.open(FIRST)
    for seq in range(1, 41):
        sender.appended(FIRST, seq)
    sender.connected()
    assert [h.seq for h in sender.due(0)] == [1, 2, 3, 4]
    sender.merged(FIRST, 1, 10)
    sender.merged(FIRST, 1, 20)  # the run has grown
    sender.merged(FIRST, 31, 39)
    sender.cursor("s", {FIRST: 2}, 1)  # some had arrived before; the receiver has told its session: all goes out again
    assert [(h.first, h.seq, h.base) for h in sender.due(2)] == [(1, 20, 3), *((n, n, 3) for n in (21, 22, 23))]
    assert sender.cursor("s", {FIRST: 20}, 3) == [Release(FIRST, 20)]
    assert [(h.first, h.seq) for h in sender.due(4)] == [(24, 24)]
    sender.cursor("s", {FIRST: 30}, 5)
    assert [(h.first, h.seq) for h in sender.due(6)] == [(31, 39), (40, 40)]
    again = Sender()
    again.restore(FIRST, 20, 40, [(31, 39)])
    again.connected()
    assert [(h.first, h.seq) for h in again.due(0)] == [*((n, n) for n in range(21, 31)), (31, 39), (40, 40)]


def test_receiver_tells_how_much_a_base_passes_over():
    receiver = Receiver()
    assert receiver.skipped(header(9, base=9)) == 0  # an epoch that it never heard of: its own storage may be new
    receiver.offer(header(1))
    assert receiver.skipped(header(2, base=2)) == 0
    assert receiver.skipped(header(9, base=1)) == 0
    assert receiver.skipped(header(9, base=9)) == 7


def test_receiver_speaks_of_epochs_that_the_sender_has_open_and_knows_the_others():
    receiver = Receiver()
    assert receiver.offer(header(1)) == STORE
    receiver.stored(header(1))
    late = header(1, epoch=SECOND, oldest=SECOND)
    assert receiver.offer(late) == STORE
    receiver.stored(late)
    assert receiver.cursor() == {SECOND: 1}
    again = Receiver()
    again.restore({FIRST: 1, SECOND: 1})
    for known in (receiver, again):  # the sender crashed before it had deleted what it had called finished
        assert known.offer(header(1)) == DUPLICATE
        assert known.cursor()[FIRST] == 1


def test_before_the_sender_is_heard_the_cursor_is_bounded():
    receiver = Receiver()
    receiver.restore({epoch_number(incarnation, count, 0): 9 for incarnation in (3, 8) for count in range(1, 100)})
    cursor = receiver.cursor()
    assert len(cursor) == 64
    assert {epoch_number(3, 99, 0), epoch_number(8, 99, 0)} <= cursor.keys()


def test_sender_with_fresh_storage_is_another_sender():
    receiver = Receiver()
    receiver.restore({FIRST: 500})
    fresh = epoch_number(8, 1, 0)
    assert receiver.offer(header(1, epoch=fresh, oldest=fresh)) == STORE


def test_a_receiver_that_does_not_keep_up_is_sent_less_until_it_does():
    sender = Sender(window=8, resend_ms=1000)
    sender.open(FIRST)
    for seq in range(1, 101):
        sender.appended(FIRST, seq)
    sender.connected()
    assert [[h.seq for h in sender.due(1000 * again)] for again in range(6)] == [
        [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [1, 2], [1], [1], [1],
    ]  # fmt: skip
    counts = []
    stored = 1
    while stored < 40:
        sender.cursor("s", {FIRST: stored}, 5001)
        due = sender.due(5001)
        counts.append(len(due))
        stored = due[-1].seq
    assert counts == [1, 2, 4, 8, 8, 8, 8]


def test_live_packs_go_before_backfill():
    sender = Sender(window=4, backfill_window=2)
    sender.restore(FIRST, acked=10, last=100)
    sender.open(SECOND)
    sender.appended(SECOND, 1)
    sender.connected()
    due = sender.due(0)
    assert [(h.epoch, h.seq, h.backfill) for h in due] == [(SECOND, 1, False), (FIRST, 11, True), (FIRST, 12, True)]
    assert {h.oldest for h in due} == {FIRST}
    for seq in range(2, 9):
        sender.appended(SECOND, seq)
    assert [h.seq for h in sender.due(0)] == [2, 3, 4]  # the live window is full: no backfill beside it


def test_what_was_held_while_nobody_listened_is_marked_though_no_new_epoch_has_begun_yet():
    sender = Sender()
    sender.open(FIRST)
    for seq in (1, 2):
        sender.appended(FIRST, seq)
    sender.held_is_history()
    sender.connected()
    sender.appended(FIRST, 3)
    assert [(h.seq, h.backfill) for h in sender.due(0)] == [(1, True), (2, True), (3, False)]
    sender.open(SECOND)
    sender.appended(SECOND, 1)
    assert [(h.seq, h.backfill) for h in sender.due(1)] == [(1, False)]


def test_sender_repeats_what_makes_no_progress_though_the_live_epoch_does():
    sender = Sender(resend_ms=1000)
    sender.restore(FIRST, acked=0, last=1)
    sender.open(SECOND)
    sender.connected()
    sender.cursor("s", {}, 0)
    assert [h.epoch for h in sender.due(0)] == [FIRST]
    for seq in range(1, 5):
        sender.appended(SECOND, seq)
        assert [h.epoch for h in sender.due(seq * 200)] == [SECOND]
        sender.cursor("s", {SECOND: seq}, seq * 200)
    assert sender.next_due_ms() == 1000
    assert [h.epoch for h in sender.due(1000)] == [FIRST]


def test_sender_starts_over_when_the_receiver_has_another_session():
    sender = Sender()
    sender.open(FIRST)
    sender.connected()
    sender.appended(FIRST, 1)
    for session in ("one", "two"):  # the first word of a receiver too: what was sent before it may have met nobody
        assert len(sender.due(0)) == 1
        assert sender.due(1) == []
        sender.cursor(session, {}, 1)
    assert len(sender.due(1)) == 1
    sender.cursor("two", {}, 1)
    assert sender.due(1) == []


def test_sender_refuses_a_hole_in_its_numbering():
    sender = Sender()
    sender.open(FIRST)
    with pytest.raises(ProtocolError):
        sender.appended(FIRST, 2)


def test_the_last_packs_of_an_epoch_may_come_after_the_next_one_has_begun():
    sender = Sender()
    sender.open(FIRST)
    sender.connected()
    sender.open(SECOND)
    sender.appended(SECOND, 1)
    sender.appended(FIRST, 1)
    due = sender.due(0)
    assert [(h.epoch, h.backfill) for h in due] == [(SECOND, False), (FIRST, True)]
    assert {h.oldest for h in due} == {FIRST}


class Chain:
    """A sender with its storage, a receiver with its storage, and a line between them, all from one seed."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.now = 0
        self.made: list[tuple[int, int]] = []
        self.held: dict[int, list[tuple[int, int, bool]]] = {}  # the sender's disk: epoch -> (first, last, gap record?)
        self.deleting: list[tuple[int, tuple[int, int, bool]]] = []  # not on its disk yet: a crash undoes them
        self.stored: list[tuple[int, int]] = []  # the receiver's disk
        self.lost: list[tuple[int, int]] = []  # declared so
        self.cursors: dict[int, int] = {}  # in the same transaction
        self.epochs = 0
        self.line: list[tuple[Header, bool]] = []
        self.retained: tuple[str, dict[int, int]] | None = None
        self.start_sender()
        self.start_receiver()

    def start_sender(self) -> None:
        for epoch, run in self.deleting:
            self.held[epoch] = sorted([*self.held[epoch], run])
        self.deleting.clear()
        self.sender = Sender(window=4, backfill_window=3, resend_ms=50)
        for epoch, runs in self.held.items():
            if runs:
                gaps = [(first, last) for first, last, _ in runs if first < last]
                self.sender.restore(epoch, runs[0][0] - 1, runs[-1][1], gaps)
        self.open_epoch()
        self.sender.connected()

    def open_epoch(self) -> None:
        self.epochs += 1
        self.epoch = epoch_number(7, self.epochs, self.random.getrandbits(18))
        self.held[self.epoch] = []
        self.next_seq = 1
        self.sender.open(self.epoch)

    def start_receiver(self) -> None:
        self.receiver = Receiver()
        self.receiver.restore(self.cursors)
        self.session = str(self.random.random())

    def make(self) -> None:
        self.held[self.epoch].append((self.next_seq, self.next_seq, False))
        self.made.append((self.epoch, self.next_seq))
        self.sender.appended(self.epoch, self.next_seq)
        self.next_seq += 1

    def give_way(self) -> None:
        """The disk is full: the first packs of some epoch, or some in the midst, become one gap record."""
        held = [epoch for epoch, runs in self.held.items() if runs]
        if held:
            self.deleting.clear()  # it is written behind them
            runs = self.held[self.random.choice(held)]
            start = self.random.choice((0, 0, self.random.randrange(len(runs))))
            end = self.random.randrange(start, len(runs))
            first, last = runs[start][0], runs[end][1]
            epoch = next(epoch for epoch, of in self.held.items() if of is runs)
            runs[start : end + 1] = [(first, last, True)]
            self.sender.merged(epoch, first, last)

    def reconnect(self) -> None:
        self.sender.disconnected()
        self.line.clear()
        self.open_epoch()
        self.sender.connected()

    def deliver(self, *, faults: bool) -> None:
        if not self.line:
            return
        place = self.random.randrange(min(3, len(self.line))) if faults else 0
        header, gap = self.line[place]
        if not (faults and self.random.random() < 0.2):  # else it comes again later
            del self.line[place]
        if faults and self.random.random() < 0.2:
            return  # lost
        assert (header.epoch, header.seq) in self.made
        if self.receiver.offer(header) == STORE:
            if faults and self.random.random() < 0.1:
                self.start_receiver()  # crashed before the commit
                return
            # Each pack holds one reading, so the tally at pack n is n: what lies between is what the hub calls lost.
            run = range(max(header.first, self.cursors.get(header.epoch, 0) + 1), header.seq + 1)
            (self.lost if gap else self.stored).extend((header.epoch, seq) for seq in run)
            self.cursors[header.epoch] = header.seq
            self.receiver.stored(header)
        self.retained = (self.session, self.receiver.cursor())

    def hear(self, *, faults: bool) -> None:
        if self.retained is None or (faults and self.random.random() < 0.3):
            return
        for release in self.sender.cursor(*self.retained, self.now):
            for run in [run for run in self.held[release.epoch] if run[1] <= release.upto]:
                for seq in range(run[0], run[1] + 1):
                    there = (release.epoch, seq) in self.stored or (release.epoch, seq) in self.lost
                    assert there, "let go of a pack that nobody has"
                self.held[release.epoch].remove(run)
                self.deleting.append((release.epoch, run))
        if self.random.random() < 0.02:
            self.deleting.clear()

    def step(self, *, faults: bool) -> None:
        self.now += 5
        for header in self.sender.due(self.now):
            runs = self.held[header.epoch]
            self.line.extend((header, gap) for first, last, gap in runs if (first, last) == (header.first, header.seq))
        self.deliver(faults=faults)
        self.hear(faults=faults)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(["m", "m", "s", "s" * 12, "s" * 12, "r", "c", "x", "g"]), min_size=60, max_size=90),
)
def test_every_pack_is_stored_once_and_in_order(seed, events):
    chain = Chain(seed)
    for event in "".join(events):
        if event == "m":
            chain.make()
        elif event == "r":
            chain.reconnect()
        elif event == "c":
            chain.line.clear()
            chain.start_sender()
        elif event == "x":
            chain.start_receiver()
        elif event == "g":
            chain.give_way()
        else:
            chain.step(faults=True)
    for _ in range(40 * (len(chain.made) + 2)):
        chain.step(faults=False)
    assert sorted(chain.stored + chain.lost) == sorted(chain.made)
    for epoch in {epoch for epoch, _ in chain.stored}:
        seqs = [seq for e, seq in chain.stored if e == epoch]
        assert seqs == sorted(seqs)
    assert not any(chain.held.values()), "everything stored, and something still held"
