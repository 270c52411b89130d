"""Intake: which messages are stored, which are refused, and what the senders hear."""

import json
import sqlite3
import sys
import threading
import zlib

import pytest

from hub.intake import MAX_BODY_BYTES, MAX_PACK_BYTES, Intake
from hub.store.querying import Querying
from hub.store.writing import Writer
from protocols import cbor, cursor, pack, refusal
from protocols.custody import Header, epoch_number
from protocols.reading import DecimalFraction, reading
from runtime.mqtt import Message
from tests.hub.gateway import ID, INCARNATION, birth, body, message

EPOCH = epoch_number(INCARNATION, 1, 0)
UP = f"g/{ID}/up/bulk"
CURSOR = f"g/{ID}/cursor/bulk"
BORN = Message(f"g/{ID}/birth", birth(), True)


def header(seq: int, *, base: int = 1, epoch: int = EPOCH) -> Header:
    return Header(epoch, seq, base, epoch, False, seq)


def packed(seq: int, value: float = 70, *, base: int = 1, topic: str = UP) -> Message:
    made = body([("wearable-1", reading("heart_rate", value, "/min", 0, 1000 * seq))])
    return Message(topic, message(header(seq, base=base), made), False)


@pytest.fixture
def intake(writer: Writer) -> Intake:
    return Intake(writer, "one")


def stored(querying: Querying) -> int:
    return sum(stream.stored for stream in querying.streams())


def heard(answer: bytes) -> dict[int, int]:
    return cursor.decode(answer)[1]


def test_a_pack_is_stored_and_its_sender_hears_so(intake: Intake, querying: Querying) -> None:
    answer = intake.take([BORN, packed(1), packed(2)])
    assert cursor.decode(answer.publish[CURSOR]) == ("one", {EPOCH: 2})
    assert stored(querying) == 2


def test_replaying_everything_adds_no_row(intake: Intake, querying: Querying, writer: Writer) -> None:
    """To the same process, and to one that was started anew; before and after they are sealed; in any portions."""
    everything = [BORN, *[packed(seq) for seq in range(1, 40)]]
    for begin in range(0, 40, 7):
        intake.take(everything[begin : begin + 7])
        writer.tidy()
    before = querying.custody()
    stream = querying.streams("wearable-1")[0].id
    points = querying.history(stream, 0, 1 << 53)
    assert [point.time_ms for point in points[0]] == [1000 * seq for seq in range(1, 40)]
    for sealed in (False, True):
        for again in (intake, Intake(writer, "two")):
            for portion in (1, 40):
                for begin in range(0, 40, portion):
                    answer = again.take(everything[begin : begin + portion])
                assert heard(answer.publish[CURSOR]) == {EPOCH: 39}
        assert querying.custody() == before
        assert querying.history(stream, 0, 1 << 53) == points
        assert stored(querying) == 39
        rows = [writer._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("hot", "block")]
        assert rows == ([0, 1] if sealed else [6, 0])
        writer.seal_all()


def test_a_new_gateway_hears_at_once_whom_it_speaks_to(intake: Intake) -> None:
    answer = intake.take([BORN])
    assert {topic: cursor.decode(payload) for topic, payload in answer.publish.items()} == {
        CURSOR: ("one", {}),
        f"g/{ID}/cursor/urgent": ("one", {}),
    }


def test_a_large_birth_comes_deflated(intake: Intake, querying: Querying) -> None:
    intake.take([Message(f"g/{ID}/birth", zlib.compress(birth()), True), packed(1)])
    assert stored(querying) == 1


def test_a_pack_after_a_missing_one_waits(intake: Intake, querying: Querying) -> None:
    answer = intake.take([BORN, packed(1), packed(3)])
    assert heard(answer.publish[CURSOR]) == {EPOCH: 1}
    assert stored(querying) == 1
    assert heard(intake.take([packed(2), packed(3)]).publish[CURSOR]) == {EPOCH: 3}


def test_lanes_are_numbered_apart(intake: Intake, querying: Querying) -> None:
    urgent = f"g/{ID}/up/urgent"
    answer = intake.take([BORN, packed(1), packed(1, 71, topic=urgent)])
    assert heard(answer.publish[CURSOR]) == heard(answer.publish[f"g/{ID}/cursor/urgent"]) == {EPOCH: 1}
    assert stored(querying) == 2


def test_a_pack_whose_alias_is_not_known_is_neither_stored_nor_acknowledged(intake: Intake, querying: Querying) -> None:
    answer = intake.take([packed(1)])
    assert answer.births_wanted
    assert answer.publish == {}
    assert heard(intake.take([BORN, packed(1)]).publish[CURSOR]) == {EPOCH: 1}
    assert stored(querying) == 1


def test_a_failed_commit_acknowledges_nothing_and_can_be_repeated(
    intake: Intake, querying: Querying, writer: Writer
) -> None:
    intake.take([BORN, packed(1)])
    writer._db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON hot BEGIN SELECT raise(ABORT, 'disk full'); END")
    assert intake.take([packed(2), packed(3)]).publish == {}
    writer._db.execute("DROP TRIGGER full")
    assert stored(querying) == 1
    assert heard(intake.take([packed(2), packed(3)]).publish[CURSOR]) == {EPOCH: 3}
    assert stored(querying) == 3


_HEADER = pack.encode_header(header(1))
DAMAGED_PACKS = {
    "a header alone": _HEADER,
    "a body that is no deflate stream": _HEADER + b"\x00" * 40,
    "a body that is cut off": message(header(1), body([("cuff-1", reading("systolic", 1, "mm[Hg]", 0, 1))]))[:-3],
    "a body that is no pack": _HEADER + zlib.compress(b"\xa0"),
    "a deflate bomb": _HEADER + zlib.compress(bytes(MAX_BODY_BYTES + 1)),
    "a tally of no thing's id": message(header(1), body([], tallies={"a/b": (1, 1)})),
    "a quality that is no number": _HEADER
    + zlib.compress(cbor.encode([[[1, 0, cbor.integers([0]), [{}], 3, ["x"]]], {}, {}])),
    "a decimal fraction that is longer than memory": _HEADER
    + zlib.compress(cbor.encode([[[1, 0, cbor.integers([0]), 0, 3, [DecimalFraction(1, 1 << 40)]]], {}, {}])),
    "a time before 1970": message(header(1), body([("cuff-1", reading("systolic", 1, "mm[Hg]", 0, -5))])),
}
BAD_MESSAGES = {
    "an empty pack": (UP, b""),
    "noise": (UP, bytes(range(256))),
    "a pack that is too long": (UP, bytes(MAX_PACK_BYTES + 1)),
    "an unknown lane": (f"g/{ID}/up/fast", message(header(1), body([]))),
    "an id with a space": ("g/a b/up/bulk", message(header(1), body([]))),
    "a birth that is no JSON": (f"g/{ID}/birth", b"{"),
    "a birth of another gateway": (f"g/{ID}/birth", birth(gateway="other")),
    "a birth without things": (f"g/{ID}/birth", b'{"state": "online"}'),
    "a birth with half a character": (f"g/{ID}/birth", birth().replace(b"Block 1", b"\\ud800")),
    "a birth that is neither JSON nor deflated": (f"g/{ID}/birth", b"x" + birth()),
    "a birth that inflates beyond measure": (f"g/{ID}/birth", zlib.compress(birth() + b" " * 8_000_000)),
    "a birth that is too long": (f"g/{ID}/birth", birth() + b" " * 1_000_000),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_what_is_malformed_is_counted_and_harms_nothing(intake: Intake, querying: Querying, name: str) -> None:
    intake.take([BORN])
    topic, payload = BAD_MESSAGES[name]
    answer = intake.take([Message(topic, payload, False), packed(1)])
    assert querying.counters()["malformed"] == 1
    assert heard(answer.publish[CURSOR]) == {EPOCH: 1}  # its neighbour in the batch is stored
    assert stored(querying) == 1


@pytest.mark.parametrize("name", DAMAGED_PACKS)
def test_a_damaged_pack_is_kept_as_it_came_and_its_lane_goes_on(
    intake: Intake, writer: Writer, querying: Querying, name: str
) -> None:
    intake.take([BORN])
    damaged = Message(UP, DAMAGED_PACKS[name], False)
    answer = intake.take([damaged, packed(2)])
    assert heard(answer.publish[CURSOR]) == {EPOCH: 2}
    assert stored(querying) == 1
    assert querying.counters()["packs_set_aside"] == 1
    assert heard(intake.take([damaged]).publish[CURSOR]) == {EPOCH: 2}
    kept = writer._db.execute("SELECT epoch, seq, message FROM set_aside").fetchall()
    assert [tuple(row) for row in kept] == [(EPOCH, 1, DAMAGED_PACKS[name])]


def test_a_will_or_an_emptied_birth_takes_the_gateway_offline(intake: Intake, querying: Querying) -> None:
    for death in (b'{"state": "offline"}', b""):
        intake.take([BORN])
        assert querying.gateways()[0].state == "online"
        intake.take([Message(BORN.topic, death, False)])
        assert querying.gateways()[0].state == "offline"


def test_all_cursors_are_known_after_a_restart(intake: Intake, writer: Writer) -> None:
    intake.take([BORN, packed(1), packed(2)])
    found = Intake(writer, "two").all_cursors()
    assert {topic: cursor.decode(payload) for topic, payload in found.items()} == {CURSOR: ("two", {EPOCH: 2})}


def test_all_cursors_may_be_asked_for_while_a_batch_is_taken(intake: Intake) -> None:
    """The session begins in one thread while another one meets senders it has not known."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    names = [f"gw-{number}" for number in range(200)]
    batches = [[Message(f"g/{name}/birth", birth(gateway=name), True)] for name in names]
    taking = threading.Thread(target=lambda: [intake.take(batch) for batch in batches])
    taking.start()
    try:
        while taking.is_alive():
            intake.all_cursors()
    finally:
        taking.join()
        sys.setswitchinterval(before)
    assert len(intake.all_cursors()) == 2 * len(names)


def test_a_busy_store_is_no_crash(intake: Intake, writer: Writer, querying: Querying) -> None:
    """Somebody's shell holds the write lock for longer than we wait."""
    intake.take([BORN])
    writer._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(querying._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert intake.take([packed(1)]).publish == {}
    other.execute("ROLLBACK")
    other.close()
    assert heard(intake.take([packed(1)]).publish[CURSOR]) == {EPOCH: 1}


def test_a_gateway_may_speak_of_streams_whose_thing_was_removed(intake: Intake, querying: Querying) -> None:
    """Packs that it still holds may, and the births of its other things must get through."""
    born = json.loads(birth(time_ms=2))
    born["things"] = [thing for thing in born["things"] if thing["id"] != "gps-1"]
    for known in (BORN, None):
        intake.take([*([known] if known else []), Message(BORN.topic, json.dumps(born).encode(), True)])
        assert "malformed" not in querying.counters()
        assert [thing.state for thing in querying.things() if thing.id == "gps-1"] == ["offline"]
    assert heard(intake.take([packed(1)]).publish[CURSOR]) == {EPOCH: 1}


def test_a_hub_that_starts_anew_takes_what_a_gateway_holds_of_a_removed_thing(
    intake: Intake, querying: Querying
) -> None:
    born = json.loads(birth())
    born["things"] = [thing for thing in born["things"] if thing["id"] != "wearable-1"]
    intake.take([Message(BORN.topic, json.dumps(born).encode(), True), packed(1)])
    assert stored(querying) == 1
    assert "wearable-1" in [row.thing for row in querying.custody()]


def test_the_second_gateway_of_one_identity_is_refused_and_counted(intake: Intake, querying: Querying) -> None:
    topic = f"g/{ID}/birth"
    one, other = (birth(instance=instance) for instance in ("one", "other"))
    assert f"g/{ID}/refused" not in intake.take([Message(topic, one, False), Message(topic, other, False)]).publish
    answer = intake.take([Message(topic, one, False)])
    assert refusal.decode(answer.publish[f"g/{ID}/refused"]) == ["other"]
    assert querying.counters()["instances_refused"] == 1
    assert f"g/{ID}/refused" not in intake.all_cursors()


def test_a_gateway_whose_program_begins_anew_is_known_as_such(intake: Intake, writer: Writer) -> None:
    def born(instance: str, **states: str) -> Message:
        return Message(f"g/{ID}/birth", birth(instance=instance, states=states), False)

    assert intake.take([born("one")]).begun == {ID: INCARNATION}
    assert intake.take([born("one", **{"cuff-1": "offline"})]).begun == {}
    writer._db.execute("PRAGMA query_only = on")
    assert intake.take([born("two")]).failure
    writer._db.execute("PRAGMA query_only = off")
    assert intake.take([born("two")]).begun == {ID: INCARNATION}  # it is told though the first try failed
