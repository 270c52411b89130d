"""What the outbox decides, without a disk: order behind entrusted packs, failed commits, epochs, what gives way."""

from edge import outbox_state
from edge.holdings import Holdings
from edge.links.base import Origin
from edge.outbox_file import Content
from edge.outbox_state import OutboxState
from protocols.custody import epoch_number
from protocols.deflated import inflate
from protocols.pack import Body, decode_body
from protocols.topics import LANES

BODY = Body([], [], {}, {})
CONTENT = Content({"meter": 2}, {"meter": (2, 0)}, (1000, 2000))
ORIGIN = Origin("wearable", "bulk", 77, 1)
EPOCHS = [epoch_number(3, count, 0) for count in range(1, 9)]


def fresh() -> OutboxState:
    state = OutboxState(EPOCHS[0], held=dict.fromkeys(LANES, ()), holdings=Holdings(), tallies={})
    state.line_up()
    return state


def due(state: OutboxState, lane: str = "bulk") -> list[tuple[int, int]]:
    return [(EPOCHS.index(header.epoch) + 1, header.seq) for header in state.senders[lane].due(0)]


def test_what_follows_an_entrusted_pack_waits_for_its_commit_though_that_fails_once():
    state = fresh()
    assert state.append("bulk", BODY, CONTENT)
    assert not state.append("bulk", BODY, CONTENT, [ORIGIN])
    assert not state.append("bulk", BODY, CONTENT)
    assert state.append("urgent", BODY, CONTENT)
    assert (due(state), due(state, "urgent")) == ([(1, 1)], [(1, 1)])
    batch = state.begin()
    assert batch.origins == [ORIGIN]
    assert not state.append("bulk", BODY, CONTENT)
    state.failed(batch)
    assert due(state) == []
    again = state.begin()
    assert [(row.lane, row.seq) for row in again.rows] == [
        ("bulk", 1), ("bulk", 2), ("bulk", 3), ("urgent", 1), ("bulk", 4),
    ]  # fmt: skip
    state.committed(again, [])
    assert due(state) == [(1, 2), (1, 3), (1, 4)]


def test_a_release_that_overtakes_a_failing_commit_leaves_its_packs_out_of_the_next():
    state = fresh()
    for _ in range(3):
        state.append("bulk", BODY, CONTENT)
    batch = state.begin()
    state.release("bulk", EPOCHS[0], 2)
    assert state.buffered() == {"meter": 6}  # they may be on disk already
    state.failed(batch)
    assert state.buffered() == {"meter": 2}
    again = state.begin()
    assert [row.seq for row in again.rows] == [3]
    assert again.releases == {("bulk", EPOCHS[0]): 2}


def test_a_new_epoch_waits_for_what_is_not_sent_of_the_one_before_and_meanwhile_packs_go_on():
    state = fresh()
    state.append("bulk", BODY, CONTENT, [ORIGIN])
    state.open(EPOCHS[1])
    assert state.epoch == EPOCHS[1]  # the entrusted pack is of the epoch before it
    state.append("urgent", BODY, CONTENT)
    batch = state.begin()
    state.open(EPOCHS[2])
    state.append("urgent", BODY, CONTENT)
    assert due(state, "urgent") == [(2, 1), (2, 2)]
    state.failed(batch)
    assert state.epoch == EPOCHS[1]
    state.committed(state.begin(), [])
    assert state.epoch == EPOCHS[2]
    state.append("bulk", BODY, CONTENT)
    assert due(state) == [(3, 1), (1, 1)]


def test_a_disk_that_fails_for_long_makes_bulk_packs_give_way_and_keeps_their_places(monkeypatch):
    monkeypatch.setattr(outbox_state, "_MAX_WAITING", 3)
    state = fresh()
    state.append("urgent", BODY, CONTENT)
    for _ in range(3):
        state.append("bulk", BODY, CONTENT)
    assert (state.buffered(), state.holdings.declared_lost) == ({"meter": 6}, {"meter": 2})
    rows = state.last().rows
    assert [(row.lane, row.seq, dict(row.content.counts)) for row in rows] == [
        ("urgent", 1, {"meter": 2}), ("bulk", 1, {}), ("bulk", 2, {"meter": 2}), ("bulk", 3, {"meter": 2}),
    ]  # fmt: skip
    gap = decode_body(inflate(state.body(("bulk", EPOCHS[0], 1)) or b""))
    assert gap == Body([], [], {"meter": (2, 0)}, {"meter": (2, 1000, 2000)})
