"""The account of a gateway: its equation holds in every state, and it shows what is missing or stored twice."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.intake import Intake
from hub.store.accounts import Account, Backlog
from hub.store.querying import Querying
from hub.store.schema import FILE, connect
from hub.store.writing import Writer
from protocols import status as statuses
from protocols.custody import Header, epoch_number
from protocols.pack import Body
from protocols.reading import reading
from protocols.status import Counts, Lane, Sample
from runtime.mqtt import Message
from tests.hub.gateway import ID, INCARNATION, birth, body, message, status_of

EPOCH = epoch_number(INCARNATION, 1, 0)
THING = "wearable-1"
NOW_MS = 1_795_382_519_412
BORN = Message(f"g/{ID}/birth", birth(), True)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def intake(data, clock):
    writer = Writer(data, clock=clock)
    made = Intake(writer, "session")
    made.take([BORN])
    yield made
    writer.close()


@pytest.fixture
def querying(intake: Intake, data) -> Querying:
    return Querying(data)


def told(
    *, read: int = 0, suppressed: int = 0, buffered: int = 0, lost: int = 0, epoch: int = EPOCH, retained: bool = False,
    **more: object,
) -> Message:  # fmt: skip
    """A status as it travels; what it holds it holds on the bulk lane, the oldest for ten seconds."""
    oldest_ms = NOW_MS - 10_000 if buffered else None
    counts = [(epoch, read, suppressed)]
    made = status_of(counts, readings=buffered, oldest_ms=oldest_ms, time_ms=NOW_MS, lost=lost)
    return Message(f"g/{ID}/status", statuses.encode(made._replace(**more)), retained)


def packed(seq: int, made: Body) -> Message:
    return Message(f"g/{ID}/up/bulk", message(Header(EPOCH, seq, 1, EPOCH, False, seq), made), False)


def readings(count: int, *, read: int, suppressed: int = 0) -> Body:
    made = [(THING, reading("heart_rate", 70, "/min", 0, NOW_MS + at)) for at in range(count)]
    return body(made, tallies={THING: (read, suppressed)})


def gap(count: int, *, read: int) -> Body:
    return body([], tallies={THING: (read, 0)}, lost={THING: (count, NOW_MS, NOW_MS)})


def account(querying: Querying) -> Account:
    (one,) = querying.accounts()
    return one


def terms(one: Account) -> tuple[int, ...]:
    return one.read, one.suppressed, one.stored, one.buffered, one.declared_lost, one.missing, one.twice


def test_a_gateway_that_has_said_nothing_has_an_empty_account(querying: Querying) -> None:
    assert terms(account(querying)) == (0, 0, 0, 0, 0, 0, 0)
    assert account(querying).heard is None


def test_what_is_held_is_known_by_the_status_alone(intake: Intake, querying: Querying) -> None:
    intake.take([packed(1, readings(3, read=5, suppressed=2)), told(read=20, suppressed=7, buffered=10)])
    one = account(querying)
    assert terms(one) == (20, 7, 3, 10, 0, 0, 0)
    assert one.balanced
    assert one.heard is not None
    assert (one.heard.heard_ms, one.heard.oldest_age_ms, one.heard.buffered) == (NOW_MS, 10_000, 10)


def test_what_is_held_of_former_epochs_counts_too(intake: Intake, querying: Querying) -> None:
    """After an outage a new epoch is live, and what piled up in the one before drains behind it."""
    later = epoch_number(INCARNATION, 2, 0)
    intake.take([packed(1, readings(3, read=5, suppressed=2)), told(read=6, suppressed=2, buffered=1)])
    both = {"bulk": Lane([Counts(EPOCH, 1000, 100), Counts(later, 10, 4)], 903, NOW_MS - 3_600_000)}
    intake.take([told(lanes={"urgent": Lane([], 0, None), **both})])
    assert terms(account(querying)) == (1010, 104, 3, 903, 0, 0, 0)
    live = message(Header(later, 1, 1, EPOCH, False, 1), readings(6, read=10, suppressed=4))
    intake.take([Message(f"g/{ID}/up/bulk", live, False)])
    assert terms(account(querying)) == (1010, 104, 9, 897, 0, 0, 0)


def test_what_arrives_after_the_status_is_not_counted_twice(intake: Intake, querying: Querying) -> None:
    intake.take([told(read=10, buffered=10), packed(1, readings(10, read=10)), packed(2, readings(5, read=15))])
    assert terms(account(querying)) == (15, 0, 15, 0, 0, 0, 0)


def test_a_status_may_count_what_has_just_been_stored_as_held(intake: Intake, querying: Querying) -> None:
    """The gateway had not heard the cursor yet."""
    intake.take([packed(1, readings(10, read=10)), told(read=10, buffered=10)])
    assert terms(account(querying)) == (10, 0, 10, 0, 0, 0, 0)
    assert account(querying).balanced


def test_a_reading_that_nobody_holds_is_missing(intake: Intake, querying: Querying) -> None:
    intake.take([packed(1, readings(3, read=5)), told(read=10, buffered=4)])
    assert terms(account(querying)) == (10, 0, 3, 4, 0, 3, 0)
    assert not account(querying).balanced
    intake.take([told(read=10, buffered=7)])  # it was only late: the next status finds it
    assert account(querying).balanced


def test_readings_beyond_those_that_were_read_are_stored_twice(intake: Intake, querying: Querying) -> None:
    intake.take([packed(1, readings(7, read=5))])
    assert terms(account(querying)) == (5, 0, 7, 0, 0, 0, 2)
    assert not account(querying).balanced


def test_what_gave_way_is_declared_before_its_gap_record_has_come(intake: Intake, querying: Querying) -> None:
    intake.take([told(read=10, buffered=4, lost=6)])
    assert terms(account(querying)) == (10, 0, 0, 4, 6, 0, 0)
    intake.take([packed(1, gap(6, read=6)), told(read=10, buffered=4)])
    assert terms(account(querying)) == (10, 0, 0, 4, 6, 0, 0)


def test_a_retained_status_is_as_old_as_it_says_and_accuses_nobody(
    intake: Intake, querying: Querying, clock: Clock
) -> None:
    clock.now_ms = NOW_MS + 60_000
    intake.take([packed(1, readings(3, read=10)), told(read=10, buffered=4, retained=True)])
    one = account(querying)
    assert one.heard is not None
    assert (one.heard.heard_ms, one.missing) == (NOW_MS, 0)


def test_a_status_that_was_heard_already_keeps_the_time_of_its_hearing(
    intake: Intake, querying: Querying, clock: Clock
) -> None:
    clock.now_ms = NOW_MS + 500
    intake.take([told(read=10, buffered=4)])
    clock.now_ms += 60_000
    intake.take([told(read=10, buffered=4, retained=True)])
    one = account(querying)
    assert one.heard is not None
    assert (one.heard.heard_ms, one.missing) == (NOW_MS + 500, 6)


@pytest.mark.parametrize("payload", [b"", b"{}", b"\xff", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_what_is_no_status_is_refused_and_counted(intake: Intake, querying: Querying, payload: bytes) -> None:
    intake.take([Message(f"g/{ID}/status", payload, True)])
    assert querying.counters()["malformed"] == 1
    assert account(querying).heard is None


def test_the_backlog_keeps_the_most_of_each_minute_on_the_hubs_clock(intake: Intake, querying: Querying) -> None:
    """The gateway's clock is an hour behind; what it held is told by intervals, so that does not matter."""
    minute = NOW_MS // 60_000 * 60_000
    behind = NOW_MS - 3_600_000
    past = [Sample(behind - 120_000, 50, behind - 150_000), Sample(behind - 60_000, 0, None)]
    intake.take([told(time_ms=behind, lanes=_lanes(7, behind - 1000), past=past)])
    intake.take([told(time_ms=behind + 1, lanes=_lanes(3, behind))])
    assert querying.backlog(ID, 0, NOW_MS + 1, 60_000) == [
        Backlog(minute - 120_000, 50, 30_000),
        Backlog(minute - 60_000, 0, 0),
        Backlog(minute, 7, 1000),
    ]
    (whole,) = querying.backlog(ID, 0, NOW_MS + 1, 1 << 50)
    assert (whole.readings, whole.age_ms) == (50, 30_000)


def test_the_backlog_of_two_days_ago_is_let_go(intake: Intake, querying: Querying, clock: Clock) -> None:
    intake.take([told(buffered=7)])
    clock.now_ms = NOW_MS + 3 * 86_400_000
    intake.take([told(time_ms=clock.now_ms)])
    assert [one.readings for one in querying.backlog(ID, 0, clock.now_ms + 1, 60_000)] == [0]


def test_a_gateway_is_given_back_what_is_known_of_its_newest_epoch(intake: Intake, data: Path, clock: Clock) -> None:
    later = epoch_number(INCARNATION, 2, 0)
    intake.take([packed(1, readings(3, read=5, suppressed=2)), told(read=9, suppressed=6)])
    intake.take(
        [Message(f"g/{ID}/up/urgent", message(Header(later, 1, 1, EPOCH, False, 1), readings(2, read=2)), False)]
    )
    writer = Writer(data, clock=clock)
    assert writer.newest_tallies(ID, INCARNATION) == (later, {"urgent": {THING: (2, 0)}, "bulk": {}})
    assert writer.newest_tallies(ID, INCARNATION + 1) is None
    assert writer.newest_tallies("nobody", INCARNATION) is None
    writer.close()


def test_old_epochs_are_added_up_and_the_account_stays_the_same(intake: Intake, querying: Querying, data: Path) -> None:
    """Each loss of the line begins an epoch; a status of an old one that was held up brings it not back."""
    epochs = [epoch_number(INCARNATION, count, 0) for count in range(1, 31)]
    for epoch in epochs:
        made = readings(3, read=5, suppressed=2)
        pack = message(Header(epoch, 1, 1, epoch, False, 1), made)
        intake.take([Message(f"g/{ID}/up/bulk", pack, False), told(read=6, suppressed=3, epoch=epoch)])
    assert terms(account(querying)) == (30 * 6, 30 * 3, 30 * 3, 0, 0, 0, 0)
    connection = connect(data / FILE, readonly=True)
    for table in ("tally", "told"):
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert rows <= 10
    connection.close()
    (thing,) = [one for one in querying.custody() if one.thing == THING]
    assert (thing.stored, thing.duplicates) == (90, 0)
    intake.take([told(read=6, suppressed=3, epoch=epochs[2])])
    assert terms(account(querying)) == (30 * 6, 30 * 3, 30 * 3, 0, 0, 0, 0)


def _lanes(held: int, oldest_ms: int) -> dict[str, Lane]:
    return {"urgent": Lane([], 0, None), "bulk": Lane([], held, oldest_ms)}


actions = st.lists(
    st.tuples(st.sampled_from(["read", "suppress", "send", "evict", "status"]), st.integers(1, 5)), max_size=40
)


@settings(max_examples=30, deadline=None)
@given(actions)
def test_the_equation_holds_whatever_a_gateway_does(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, int]]
) -> None:
    """A gateway that makes no mistake is never accused of one, and its account always adds up."""
    data = tmp_path_factory.mktemp("hub")
    writer = Writer(data, clock=lambda: NOW_MS)
    intake, querying = Intake(writer, "session"), Querying(data)
    intake.take([BORN])
    read = suppressed = seq = 0
    held: list[tuple[str, int, int, int]] = []  # what is not sent yet: kind, count, and the tally at its making
    for action, count in done:
        if action == "read":
            read += count
            held.append(("readings", count, read, suppressed))
        elif action == "suppress":
            read, suppressed = read + count, suppressed + count
        elif action == "evict" and held and held[0][0] == "readings":
            held[0] = ("gap", *held[0][1:])
        elif action == "send" and held:
            kind, size, then, less = held.pop(0)
            seq += 1
            made = readings(size, read=then, suppressed=less) if kind == "readings" else gap(size, read=then)
            intake.take([packed(seq, made)])
        elif action == "status":
            buffered = sum(size for kind, size, *_ in held if kind == "readings")
            lost = sum(size for kind, size, *_ in held if kind == "gap")
            intake.take([told(read=read, suppressed=suppressed, buffered=buffered, lost=lost)])
            assert (account(querying).read, account(querying).buffered) == (read, buffered)
        one = account(querying)
        assert one.balanced
        assert one.read == one.suppressed + one.stored + one.buffered + one.declared_lost
    writer.close()
