"""Readings as columns: hot rows and sealed blocks give back exactly what was put in, whatever it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import DamagedBlockError
from hub.store import block, hot
from hub.store.batch import Batch
from hub.store.querying import MAX_ROWS, Point, Querying
from hub.store.readings import Readings, in_order, join, values
from hub.store.writing import Writer
from protocols.pack import Body, Column, Row
from protocols.reading import DecimalFraction
from tests.hub.conftest import parsed, store_body
from tests.hub.gateway import aliases, birth

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.reading import Value

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.builds(DecimalFraction, st.integers(-(10**15), 10**15), st.integers(-12, 3)),
)
TIMES = st.integers(0, (1 << 53) - 1)
COLUMNS = st.lists(
    st.lists(st.tuples(TIMES | st.integers(0, 5), st.integers(0, 255), VALUES), min_size=1, max_size=40),
    min_size=1,
    max_size=5,
)


def column(rows: list[tuple[int, int, Value]], alias: int = 0) -> Column:
    times, qualities, held = zip(*rows, strict=True)
    return Column(alias, list(times), list(qualities), list(held))


def readings(columns: list[list[tuple[int, int, Value]]], stream: int = 7) -> Readings:
    batch = Batch()
    for number, rows in enumerate(columns):
        batch.add_column(stream, column(rows), backfill=number % 2 == 1)
    return batch.readings()


def told(given: Readings) -> list[tuple[object, ...]]:
    """Everything that is known of each reading; the type too, since 1 == 1.0 == True."""
    records = given.records
    return [
        (time, quality, late, type(value[0]), repr(value[0]), value[1])
        for time, quality, late, value in zip(
            records["time_ms"].tolist(), records["quality"].tolist(), records["backfill"].tolist(), values(given),
            strict=True,
        )
    ]  # fmt: skip


def expected(value: Value) -> tuple[object, int | None]:
    if isinstance(value, DecimalFraction):
        mantissa, exponent = value
        return (mantissa / 10**-exponent if exponent < 0 else float(mantissa * 10**exponent)), exponent
    if isinstance(value, bool):
        return (b"\x01" if value else b"\x00"), None
    return value, None


@given(COLUMNS)
def test_columns_hold_every_value_exactly(columns: list[list[tuple[int, int, Value]]]) -> None:
    given = readings(columns)
    flat = [
        (time, quality, number % 2 == 1, value) for number, rows in enumerate(columns) for time, quality, value in rows
    ]
    wanted = []
    for time, quality, late, value in flat:
        shown, exponent = expected(value)
        wanted.append((time, quality, late, type(shown), repr(shown), exponent))
    assert told(given) == wanted


@given(COLUMNS)
def test_a_block_gives_back_exactly_what_was_sealed(columns: list[list[tuple[int, int, Value]]]) -> None:
    given = in_order(readings(columns))
    assert told(block.decode(block.encode(given), 7, 0)) == told(given)


@given(st.lists(COLUMNS, min_size=1, max_size=4))
def test_hot_rows_give_back_exactly_what_came(batches: list[list[list[tuple[int, int, Value]]]]) -> None:
    given = [readings(columns, stream=64) for columns in batches]
    rows = [row for part in given for shelf, row in hot.rows(part) if shelf == 1]
    assert told(hot.read(rows)) == told(join(given))


def test_a_row_of_hot_readings_is_those_of_one_shelf() -> None:
    batch = Batch()
    for stream in (200, 3, 64, 201, 63):
        batch.add_column(stream, column([(stream, 0, f"of {stream}")]), backfill=False)
    rows = {shelf: hot.read([row]) for shelf, row in hot.rows(batch.readings())}
    assert {shelf: found.records["stream"].tolist() for shelf, found in rows.items()} == {
        0: [3, 63], 1: [64], 3: [200, 201],
    }  # fmt: skip
    assert [value for value, _ in values(rows[3])] == ["of 200", "of 201"]


@pytest.mark.parametrize("value", [(1 << 64) - 1, 1 << 63, -(1 << 63) - 1])
def test_an_integer_beyond_64_bits_becomes_a_float(value: int) -> None:
    assert told(readings([[(1, 0, value)]]))[0][3:5] == (float, repr(float(value)))


def test_a_row_may_hold_unsigned_integers_of_64_bits() -> None:
    batch = Batch()
    batch.add_row([1, 2], Row(5, (1, 1), (1 << 63, 4)), backfill=True)
    assert told(batch.readings()) == [
        (5, 0, True, float, repr(float(1 << 63)), None), (5, 0, True, int, "4", None),
    ]  # fmt: skip


@pytest.mark.parametrize("place", [0, 5, 21, -1])
def test_a_block_that_was_damaged_is_not_believed(place: int) -> None:
    data = bytearray(block.encode(readings([[(1, 0, 70), (2, 0, 71.5), (3, 0, "x")]])))
    data[place] ^= 1
    with pytest.raises(DamagedBlockError, match="stream 7, day 3"):
        block.decode(bytes(data), 7, 3)
    with pytest.raises(DamagedBlockError):
        block.decode(bytes(data[:3]), 7, 3)


def pulses(times: list[int], first: int) -> Body:
    alias = aliases()["wearable-1", "heart_rate"]
    held = [first + number for number in range(len(times))]
    return Body([Column(alias, times, [0] * len(times), held)], [], {}, {})


def test_sealed_or_not_a_stream_is_the_same(born: Writer, querying: Querying) -> None:
    """Over two days, with times that come again and late ones in between; in whatever portions it is sealed."""
    day = 86_400_000
    stream = querying.streams("wearable-1")[0].id
    made: list[tuple[int, int]] = []
    for seq in range(1, 41):
        times = [day - 20_000 + 1_000 * (seq + place // 2) for place in range(seq * 7 % 23 + 1)]
        if seq % 5 == 0:
            times = [time - 60_000 for time in times]
        made += [(time, 1000 * seq + place) for place, time in enumerate(times)]
        store_body(born, pulses(times, 1000 * seq), seq)
        if seq % 3 == 0:
            born.seal_all()
        points, truncated = querying.history(stream, 0, 10 * day)
        assert [(point.time_ms, point.value) for point in points] == sorted(made, key=lambda one: one[0])
        assert not truncated
    part, _ = querying.history(stream, day - 5_000, day + 5_000)
    assert [p.value for p in part] == [v for t, v in sorted(made, key=lambda one: one[0]) if -5_000 <= t - day < 5_000]
    assert sum(step.count for step in querying.steps(stream, 0, 10 * day, 7_000)) == len(made)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(COLUMNS, st.booleans(), st.booleans()), min_size=1, max_size=5))
def test_whatever_comes_in_whatever_portions_is_there_in_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[list[tuple[int, int, Value]]], bool, bool]]
) -> None:
    """Of every type, of any time, some of it late; sealed in between or not, by one process or by several."""
    data = tmp_path_factory.mktemp("hub")
    writer = Writer(data)
    with writer.transaction():
        writer.write_birth(parsed(birth()))
    alias = aliases()["wearable-1", "heart_rate"]
    wanted = []
    for seq, (columns, sealed, restarted) in enumerate(batches, 1):
        made = Body([column(rows, alias) for rows in columns], [], {}, {})
        store_body(writer, made, seq, backfill=sealed)
        wanted += [(time, quality, sealed, *expected(value)) for rows in columns for time, quality, value in rows]
        if sealed:
            writer.seal_all()
        if restarted:
            writer.close()
            writer = Writer(data)
    wanted.sort(key=lambda row: row[0])
    querying = Querying(data)
    stream = querying.streams("wearable-1")[0]
    points, _ = querying.history(stream.id, 0, 1 << 53)
    assert [(p.time_ms, p.quality, p.backfill, type(p.value), repr(p.value), p.exponent) for p in points] == [
        (*row[:3], type(row[3]), repr(row[3]), row[4]) for row in wanted
    ]
    assert stream.stored == len(wanted)
    assert stream.latest is not None
    assert stream.latest.time_ms == wanted[-1][0]
    writer.close()


def test_the_newest_readings_are_found_without_the_older_days(born: Writer, querying: Querying) -> None:
    day, stream = 86_400_000, querying.streams("wearable-1")[0].id
    for number in range(4):
        times = [number * day + 1_000 * place for place in range(4_000)]
        store_body(born, pulses(times, 4_000 * number), number + 1)
        born.seal_all()
    store_body(born, pulses([day - 1, 3 * day + 999_999_999], 50_000), 5)
    points, truncated = querying.history(stream, 0, 100 * day)
    assert truncated
    assert len(points) == MAX_ROWS
    assert points[-1] == Point(3 * day + 999_999_999, 50_001, None, 0, False)
    assert [p.value for p in points[:-1]] == list(range(16_000 - MAX_ROWS + 1, 16_000))


def test_sealing_leaves_few_blocks_however_small_the_portions(born: Writer, querying: Querying, data: Path) -> None:
    for seq in range(1, 301):
        store_body(born, pulses([1_000 * seq], seq), seq)
        born.seal_all()
    counts = [row[0] for row in born._db.execute("SELECT count FROM block ORDER BY id")]
    assert sum(counts) == 300
    assert len(counts) <= math.log2(300)


def test_a_damaged_block_is_left_alone_when_others_are_sealed(born: Writer, querying: Querying) -> None:
    store_body(born, pulses([1_000], 1), 1)
    born.seal_all()
    born._db.execute("UPDATE block SET data = x'0102030405'")
    store_body(born, pulses([2_000], 2), 2)
    born.seal_all()
    stream = querying.streams("wearable-1")[0].id
    assert born._db.execute("SELECT count(*) FROM block").fetchone()[0] == 2
    with pytest.raises(DamagedBlockError):
        querying.history(stream, 0, 5_000)
    assert [point.value for point in querying.history(stream, 1_500, 5_000)[0]] == [2]
