"""The store: what is written is there, once, with its decimals; what cannot be written leaves no trace."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hub.errors import BirthError, StoreError, UnknownAliasError
from hub.store.lag import buckets_of, percentile
from hub.store.querying import Point, Querying
from hub.store.schema import FILE, connect, prepare
from hub.store.steps import Step
from hub.store.writing import Writer
from protocols.custody import Header, epoch_number
from protocols.pack import Body, Column, Row, decode_body, encode_body
from protocols.reading import BAD_INVALID, BAD_TIMEOUT, DecimalFraction, reading
from tests.hub.conftest import EPOCH, parsed, store_body
from tests.hub.gateway import ID, INCARNATION, aliases, birth, body

if TYPE_CHECKING:
    from protocols.reading import Value


def pulse(value: Value, time_ms: int, quality: int = 0) -> Body:
    return body([("wearable-1", reading("heart_rate", value, "/min", quality, time_ms))])


def latest(querying: Querying, thing: str = "wearable-1", metric: str = "heart_rate") -> Point | None:
    return next(stream.latest for stream in querying.streams(thing) if stream.metric == metric)


def test_the_file_is_durable(born: Writer, data: Path) -> None:
    connection = connect(data / FILE)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    connection.close()


def test_the_states_of_an_enumeration_keep_their_names(born: Writer, querying: Querying) -> None:
    named = json.loads(birth())
    stream = next(each for each in named["streams"] if each["metric"] == "heart_rate")
    stream["states"] = {"3": {"en": "closed", "zh": "闭合"}, "0": {"en": "open", "zh": "断开"}}
    with born.transaction():
        born.write_birth(parsed(json.dumps(named).encode()))
    states = {each.metric: each.states for each in querying.streams("wearable-1")}
    assert {metric: states[metric] for metric in ("heart_rate", "signal_quality")} == {
        "heart_rate": {3: {"en": "closed", "zh": "闭合"}, 0: {"en": "open", "zh": "断开"}}, "signal_quality": {},
    }  # fmt: skip


def test_migrations_are_applied_once(born: Writer, data: Path, querying: Querying) -> None:
    prepare(data)
    assert len(querying.things()) == 5


def test_a_row_is_one_reading_of_each_of_its_streams(born: Writer, querying: Querying) -> None:
    known = aliases()
    voltage, current = known["meter-1", "voltage"], known["meter-1", "current"]
    rows = [Row(1000, [voltage, current - voltage], [230.5, 4.25]), Row(2000, [current], [4.5])]
    store_body(born, decode_body(encode_body(Body([], rows, {"meter-1": (5, 2)}, {}))))
    assert latest(querying, "meter-1", "voltage") == Point(1000, 230.5, None, 0, False)
    assert latest(querying, "meter-1", "current") == Point(2000, 4.5, None, 0, False)
    custody = next(one for one in querying.custody() if one.thing == "meter-1")
    assert (custody.read, custody.suppressed, custody.stored) == (5, 2, 3)
    assert custody.p50_ms is not None
    unknown = Body([], [Row(1000, [1_000_000], [1.5])], {}, {})
    with pytest.raises(UnknownAliasError):
        born.check_pack(ID, Header(EPOCH, 2, 1, EPOCH, False, 2), unknown)


def test_readings_cursor_tally_and_lag_are_one_transaction(born: Writer, querying: Querying) -> None:
    """A crash after the pack is written, before the commit: nothing of it is there."""
    counted = Body(pulse(61, 1000).columns, [], {"wearable-1": (5, 4)}, {"wearable-1": (3, 10, 20)})
    with pytest.raises(RuntimeError, match="power cut"), born.transaction():  # noqa: PT012
        born.write_pack(ID, "bulk", Header(EPOCH, 1, 1, EPOCH, False, 1), counted)
        raise RuntimeError("power cut")
    assert latest(querying) is None
    assert born.cursors() == {}
    assert all((c.read, c.stored, c.declared_lost, c.p50_ms) == (0, 0, 0, None) for c in querying.custody())
    store_body(born, counted)
    assert born.cursors() == {(ID, "bulk"): {EPOCH: 1}}
    custody = next(one for one in querying.custody() if one.thing == "wearable-1")
    assert (custody.read, custody.suppressed, custody.stored, custody.declared_lost) == (5, 4, 1, 3)
    assert custody.p50_ms is not None


@pytest.mark.parametrize(
    ("value", "stored", "exponent"),
    [
        (DecimalFraction(3760, -2), 37.6, -2),
        (DecimalFraction(200, -2), 2.0, -2),
        (DecimalFraction(138, 0), 138.0, 0),
        (DecimalFraction(12, 2), 1200.0, 2),
        (-(1 << 63) + 1, -(1 << 63) + 1, None),
        (0.1, 0.1, None),
        (True, b"\x01", None),
        (False, b"\x00", None),
        ("open", "open", None),
        (None, None, None),
    ],
)
def test_a_value_survives_with_its_type_and_exponent(
    born: Writer, querying: Querying, value: Value, stored: object, exponent: int | None
) -> None:
    store_body(born, pulse(value, 1000))
    point = latest(querying)
    assert point is not None
    assert (point.value, type(point.value), point.exponent) == (stored, type(stored), exponent)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_no_number_is_absent_and_its_quality_says_so(
    born: Writer, querying: Querying, value: float
) -> None:
    store_body(born, pulse(value, 1000))
    store_body(born, pulse(value, 2000, BAD_TIMEOUT), 2)
    stream = querying.streams("wearable-1")[0].id
    points, truncated = querying.history(stream, 0, 3000)
    assert [(p.value, p.quality) for p in points] == [(None, BAD_INVALID), (None, BAD_TIMEOUT)]
    assert not truncated


def test_latest_is_the_newest_by_time(born: Writer, querying: Querying) -> None:
    store_body(born, pulse(70, 5000), 1)
    store_body(born, pulse(60, 4000), 2)  # older, and yet it came later
    assert latest(querying) == Point(5000, 70, None, 0, False)
    store_body(born, pulse(55, 5000), 3, backfill=True)  # as old as the live one: it poses as no current value
    assert latest(querying) == Point(5000, 70, None, 0, False)
    store_body(born, pulse(72, 6000), 4, backfill=True)  # all there is of that time: shown, but marked
    assert latest(querying) == Point(6000, 72, None, 0, True)
    store_body(born, pulse(73, 6000), 5)
    assert latest(querying) == Point(6000, 73, None, 0, False)


def test_backfill_counts_no_latency(born: Writer, querying: Querying) -> None:
    store_body(born, pulse(70, 5000), backfill=True)
    assert next(c for c in querying.custody() if c.thing == "wearable-1").p50_ms is None


def test_equal_readings_of_one_time_are_kept_and_are_no_duplicates(born: Writer, querying: Querying) -> None:
    """A burst from a serial port: same stream, same millisecond, same value, and yet made twice."""
    for seq in (1, 2, 3):
        columns = pulse(70, 5000).columns
        store_body(born, Body(columns, [], {"wearable-1": (seq, 0)}, {}), seq)
    found = next(c for c in querying.custody() if c.thing == "wearable-1")
    assert (found.stored, found.duplicates) == (3, 0)


def test_what_is_stored_beyond_its_tally_is_called_duplicates(born: Writer, querying: Querying) -> None:
    for epoch in (EPOCH, EPOCH + 1):
        tallies = {"wearable-1": (1, 0)} if epoch == EPOCH else {}
        store_body(born, Body(pulse(70, 5000).columns, [], tallies, {}), epoch=epoch)
    assert next(c for c in querying.custody() if c.thing == "wearable-1").duplicates == 1


def test_a_gap_record_for_several_packs_declares_only_what_did_not_come(born: Writer, querying: Querying) -> None:
    """Packs 1 to 4 held 3 readings each; the hub has 1 and 2 when it hears that 1 to 4 have given way."""
    for seq in (1, 2):
        columns = [Column(1, [seq], [0], [1]), Column(1, [seq + 10], [0], [1]), Column(1, [seq + 20], [0], [1])]
        store_body(born, Body(columns, [], {"wearable-1": (4 * seq, seq)}, {}), seq)  # one reading a pack is suppressed
    gap = Body([], [], {"wearable-1": (16, 4), "cuff-1": (5, 0)}, {"wearable-1": (12, 1, 24), "cuff-1": (5, 1, 24)})
    with born.transaction():
        born.write_pack(ID, "bulk", Header(EPOCH, 4, 1, EPOCH, False, 1), gap)
    lost = {one.thing: (one.read, one.suppressed, one.stored, one.declared_lost) for one in querying.custody()}
    assert lost["wearable-1"] == (16, 4, 6, 6)
    assert lost["cuff-1"] == (5, 0, 0, 5)


def test_no_epoch_is_ever_forgotten(born: Writer) -> None:
    """A gateway that crashed before its deletions were on disk sends packs of an epoch that it had called finished."""
    other = epoch_number(INCARNATION + 1, 1, 0)
    store_body(born, Body([], [], {}, {}), epoch=other, oldest=other)
    store_body(born, pulse(1, 2))
    store_body(born, pulse(1, 3), epoch=EPOCH + 1)
    store_body(born, pulse(1, 4), 2, epoch=EPOCH + 1, oldest=EPOCH + 1)
    assert born.cursors()[ID, "bulk"] == {other: 1, EPOCH: 1, EPOCH + 1: 2}


def test_the_tally_of_an_epoch_is_its_maximum_and_epochs_add_up(born: Writer, querying: Querying) -> None:
    for seq, count in ((1, 10), (2, 30), (3, 20)):
        store_body(born, Body([], [], {"cuff-1": (count, count // 2)}, {}), seq)
    store_body(born, Body([], [], {"cuff-1": (7, 1)}, {}), epoch=EPOCH + 1)
    found = next(c for c in querying.custody() if c.thing == "cuff-1")
    assert (found.read, found.suppressed) == (37, 16)


def test_an_alias_of_another_incarnation_is_unknown(born: Writer) -> None:
    with pytest.raises(UnknownAliasError) as caught:
        born.check_pack(ID, Header(epoch_number(8, 1, 0), 1, 1, epoch_number(8, 1, 0), False, 1), pulse(1, 1))
    assert (caught.value.gateway, caught.value.incarnation, caught.value.alias) == (ID, 8, 1)


def test_an_alias_keeps_its_meaning_within_an_incarnation(born: Writer) -> None:
    changed = birth().replace(b'"alias": 1,', b'"alias": 2,', 1)
    with pytest.raises(BirthError, match="alias 2"), born.transaction():
        born.write_birth(parsed(changed))
    with born.transaction():
        born.write_birth(parsed(changed.replace(b'"incarnation": 7', b'"incarnation": 8')))


def test_the_youngest_birth_owns_a_thing(born: Writer, querying: Querying) -> None:
    store_body(born, pulse(70, 5000))
    with born.transaction():
        born.write_birth(parsed(birth(gateway="block-2", time_ms=5), "block-2"))
    assert {thing.gateway for thing in querying.things()} == {"block-2"}
    assert latest(querying) == Point(5000, 70, None, 0, False)  # its history moves with it
    with born.transaction():
        born.write_birth(parsed(birth(time_ms=4)))
    assert {thing.gateway for thing in querying.things()} == {"block-2"}


def test_with_its_gateway_a_thing_is_offline(born: Writer, querying: Querying) -> None:
    assert {thing.state for thing in querying.things()} == {"online"}
    with born.transaction():
        born.write_death(ID)
    assert {(thing.state, thing.reason) for thing in querying.things()} == {("offline", "gateway offline")}
    assert querying.gateways()[0].state == "offline"


def test_steps_summarise_usable_numbers_only(born: Writer, querying: Querying) -> None:
    for seq, (value, time_ms, quality) in enumerate(
        [
            (60, 10_000, 0),
            (DecimalFraction(705, -1), 12_000, 2),
            (999, 14_000, 20),
            (None, 14_500, 17),
            (80.5, 15_000, 0),
        ],
        1,
    ):
        store_body(born, pulse(value, time_ms, quality), seq)
    steps = querying.steps(querying.streams("wearable-1")[0].id, 0, 20_000, 5_000)
    assert steps == [Step(10_000, 60, 65.25, 70.5, 70.5, 2), Step(15_000, 80.5, 80.5, 80.5, 80.5, 1)]


def test_a_changed_unit_makes_a_stream_of_its_own(born: Writer, querying: Querying) -> None:
    store_body(born, pulse(70, 5000))
    changed = birth(incarnation=8).replace(b'"unit": "/min"', b'"unit": "Hz"', 1)
    with born.transaction():
        born.write_birth(parsed(changed))
    (stream,) = [s for s in querying.streams("wearable-1") if s.metric == "heart_rate"]
    assert (stream.unit, stream.latest) == ("Hz", None)


def test_percentiles_are_right_to_five_percent() -> None:
    buckets = Counter(buckets_of(np.arange(1, 1001)).tolist())
    assert percentile(buckets.items(), 0.5) == pytest.approx(500, rel=0.05)
    assert percentile(buckets.items(), 0.99) == pytest.approx(990, rel=0.05)
    assert percentile([], 0.5) is None
    assert buckets_of(np.array([-40, 0.2])).tolist() == [0, 0]


def test_a_store_that_is_not_there_is_an_error(data: Path) -> None:
    with pytest.raises(StoreError):
        Querying(data).things()


def test_counts_are_right_after_transactions_that_were_undone(born: Writer, querying: Querying) -> None:
    """However often: what was undone is not counted, and the disk may fail while the tables are read again."""
    store_body(born, pulse(70, 1000))
    for table in ("hot", "latest", "tally"):
        born._db.execute(f"CREATE TEMP TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'full'); END")
        for _ in range(2):
            with pytest.raises(sqlite3.Error, match="full"):
                store_body(born, Body(pulse(71, 2000).columns, [], {"wearable-1": (2, 0)}, {}), 2)
        born._db.execute("DROP TRIGGER full")
        assert (stored := querying.streams("wearable-1")[0]).stored == 1
        assert stored.latest == Point(1000, 70, None, 0, False)
    store_body(born, pulse(72, 1500), 2)
    assert querying.streams("wearable-1")[0].stored == 2
    assert latest(querying) == Point(1500, 72, None, 0, False)
