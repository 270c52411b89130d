"""What the outbox decides, without a disk: order behind entrusted packs, failed commits, epochs, what gives way."""

from edge import outbox_state
from edge.holdings import Holdings
from edge.links.base import Origin
from edge.outbox_rows import Content, Row
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
    state = OutboxState(EPOCHS[0], held=dict.fromkeys(LANES, ()), holdings=Holdings(), tallies={}, commit_ms=1000)
    state.line_up()
    return state


def due(state: OutboxState, lane: str = "bulk") -> list[tuple[int, int]]:
    return [(EPOCHS.index(header.epoch) + 1, header.seq) for header in state.senders[lane].due(0)]


def test_what_follows_an_entrusted_pack_waits_for_its_commit_though_that_fails_once():
    state = fresh()
    assert state.append("bulk", BODY, CONTENT)
    assert not state.append("bulk", BODY, CONTENT, [ORIGIN])
    assert not state.append("bulk", BODY, CONTENT)
    assert due(state) == [(1, 1)]
    batch = state.begin()
    assert batch.origins == [ORIGIN]
    assert not state.append("bulk", BODY, CONTENT)
    state.failed(batch)
    assert due(state) == []
    again = state.begin()
    assert [(row.lane, row.seq) for row in again.rows] == [
        ("bulk", 1), ("bulk", 2), ("bulk", 3), ("bulk", 4),
    ]  # fmt: skip
    state.committed(again, {})
    assert due(state) == [(1, 2), (1, 3), (1, 4)]


def test_an_urgent_pack_is_sent_once_it_is_on_disk_or_the_disk_has_failed():
    state = fresh()
    assert not state.append("urgent", BODY, CONTENT)
    assert state.append("bulk", BODY, CONTENT)
    batch = state.begin()
    assert not state.append("urgent", BODY, CONTENT)
    assert due(state, "urgent") == []
    state.failed(batch)
    assert due(state, "urgent") == [(1, 1), (1, 2)]
    assert state.append("urgent", BODY, CONTENT)
    state.committed(state.begin(), {})
    assert not state.append("urgent", BODY, CONTENT)


def test_what_is_kept_goes_to_disk_with_the_packs_until_it_is_there():
    state = fresh()
    state.keep("alarm", "active")
    state.append("urgent", BODY, CONTENT)
    batch = state.begin()
    assert (batch.kept, len(batch.rows)) == ({"alarm": "active"}, 1)
    state.keep("alarm", "cleared")
    state.failed(batch)
    batch = state.begin()
    assert batch.kept == {"alarm": "cleared"}
    state.keep("siren", None)
    state.committed(batch, {})
    assert state.begin().kept == {"siren": None}
    assert [batch.kept for batch in state.last()] == [{"siren": None}]


def test_the_last_batch_tells_what_a_batch_under_way_would_have_released():
    """Else, were that one not written, what was never written since the hub had it would look like a hole."""
    state = fresh()
    for _ in range(3):
        state.append("bulk", BODY, CONTENT)
    state.release("bulk", EPOCHS[0], 2, 0)
    state.begin()
    (last,) = state.last()
    assert ([row.seq for row in last.rows], last.releases) == ([3], {("bulk", EPOCHS[0]): 2})
    state.release("bulk", EPOCHS[0], 3, 0)  # and what is released now is not written behind its own release
    (last,) = state.last()
    assert (last.rows, last.releases) == ([], {("bulk", EPOCHS[0]): 3})


def test_a_release_that_overtakes_a_failing_commit_leaves_its_packs_out_of_the_next():
    state = fresh()
    for _ in range(3):
        state.append("bulk", BODY, CONTENT)
    batch = state.begin()
    state.release("bulk", EPOCHS[0], 2, 0)
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
    state.failed(batch)
    assert due(state, "urgent") == [(2, 1), (2, 2)]
    assert state.epoch == EPOCHS[1]
    state.committed(state.begin(), {})
    assert state.epoch == EPOCHS[2]
    state.append("bulk", BODY, CONTENT)
    assert due(state) == [(3, 1), (1, 1)]


def waiting(state: OutboxState) -> list[Row]:
    return [row for batch in state.last() for row in batch.rows]


def test_a_disk_that_fails_for_long_makes_packs_give_way_our_own_before_devices_and_urgent_ones_last(monkeypatch):
    state = fresh()
    state.append("urgent", BODY, CONTENT)
    weight = waiting(state)[0].weight
    monkeypatch.setattr(outbox_state, "_WAITING_BYTES", 6 * weight)
    state.append("bulk", BODY, CONTENT, [ORIGIN])
    for _ in range(3):
        state.append("bulk", BODY, CONTENT)
    assert not state.holdings.declared_lost
    assert state.full
    for _ in range(20):
        state.append("bulk", BODY, CONTENT)
    assert state.buffered()["meter"] + state.holdings.declared_lost["meter"] == 50
    assert sum(row.weight for row in waiting(state)) <= 6 * weight
    kept = [(row.lane, row.first, row.seq, row.readings) for row in waiting(state)]
    lost = state.holdings.declared_lost["meter"] // 2
    assert kept[:3] == [("urgent", 1, 1, 2), ("bulk", 1, 1, 2), ("bulk", 2, lost + 1, 0)]
    assert kept[3:] == [("bulk", seq, seq, 2) for seq in range(lost + 2, 25)]
    gap = decode_body(inflate(state.body(("bulk", EPOCHS[0], 2, lost + 1)) or b""))
    assert gap == Body([], [], {"meter": (2, 0)}, {"meter": (2 * lost, 1000, 2000)})
    batch = state.begin()
    assert batch.origins == [ORIGIN]
    state.committed(batch, {})
    assert [(h.first, h.seq) for h in state.senders["bulk"].due(0)][:3] == [(1, 1), (2, lost + 1), (lost + 2, lost + 2)]


def test_in_the_end_devices_packs_and_urgent_ones_give_way_too_and_origins_are_kept(monkeypatch):
    monkeypatch.setattr(outbox_state, "_WAITING_BYTES", 1)
    state = fresh()
    origins = [Origin("wearable", "bulk", 77, seq) for seq in range(1, 10)]
    for origin in origins:
        state.append("bulk", BODY, CONTENT, [origin])
        state.append("urgent", BODY, CONTENT)
    assert state.buffered() == {}
    assert state.holdings.declared_lost == {"meter": 36}
    batch = state.begin()
    assert [(row.lane, row.first, row.seq) for row in batch.rows] == [("urgent", 1, 9), ("bulk", 1, 9)]
    assert batch.origins == origins


def test_each_pack_is_to_be_committed_in_its_time_and_what_the_hub_has_not_at_all():
    state = fresh()
    assert state.commit_due_ms() is None
    state.append("bulk", BODY, CONTENT, now_ms=5000)
    state.append("bulk", BODY, CONTENT, now_ms=5900)
    assert state.commit_due_ms() == 6000
    state.release("bulk", EPOCHS[0], 1, 5950)
    assert state.commit_due_ms() == 6900
    state.release("bulk", EPOCHS[0], 2, 6000)
    assert state.commit_due_ms() == 65_000  # the tallies
    state.append("urgent", BODY, CONTENT, now_ms=7000)
    assert state.commit_due_ms() == 7000
    state.committed(state.begin(), {})
    assert state.commit_due_ms() is None
    state.release("urgent", EPOCHS[0], 1, 8000)
    assert state.commit_due_ms() == 9000  # it is on disk
    batch = state.begin()
    assert (batch.rows, dict(batch.releases)) == ([], {("urgent", EPOCHS[0]): 1})


def test_a_large_backlog_is_committed_in_parts_whose_tallies_speak_of_nothing_else(monkeypatch):
    state = fresh()
    for count in range(1, 6):
        state.tally.packed("bulk", "meter", 2)
        state.append("bulk", BODY, Content({"meter": 2}, {"meter": (2 * count, 0)}, (1000, 2000)))
    state._batch_bytes = 2 * waiting(state)[0].weight
    monkeypatch.setattr(outbox_state, "_BATCH_BYTES", state._batch_bytes)
    parts = []
    while (batch := state.begin()).rows:
        parts.append(([row.seq for row in batch.rows], batch.tallies["bulk", EPOCHS[0], "meter"]))
        state.committed(batch, {})
    assert parts == [([1, 2], (4, 0)), ([3, 4], (8, 0)), ([5], (10, 0))]
