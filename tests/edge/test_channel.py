"""Channels: block by block the same as readings one by one, from the deadband to the hub's store."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.channel import Channel
from edge.deadband import HEARTBEAT_MS, Deadband
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from hardware.catalogue import catalogue
from protocols import pack
from protocols.deflated import inflate
from protocols.reading import BAD_TIMEOUT, GOOD, reading

METRICS = ("a", "b", "c")

blocks = st.lists(
    st.tuples(
        st.lists(st.integers(0, 4), min_size=3, max_size=3),
        st.lists(st.booleans(), min_size=3, max_size=3) | st.none(),
        st.integers(-2000, HEARTBEAT_MS + 1),
    ),
    max_size=40,
)
widths = st.lists(st.sampled_from([None, 0, 1, 2.5]), min_size=3, max_size=3)


class Taken:
    """What a channel puts."""

    def __init__(self, deadbands: list[float | None]):
        self.rows: list[pack.Row] = []
        self.suppressed = 0
        self.channel = Channel(METRICS, ("V", "V", "V"), np.array([7, 9, 300]), deadbands, self.put)

    def put(self, row: pack.Row | None, count: int, suppressed: int) -> None:
        if row is not None:
            assert count > 0
            self.rows.append(row)
        else:
            assert count == 0
        self.suppressed += suppressed

    def decoded(self) -> list[tuple[int, int, Any]]:
        body = pack.decode_body(pack.encode_body(pack.Body([], self.rows, {}, {})))
        return [(row.time_ms, *pair) for row in body.rows for pair in pack.by_alias(row)]


@given(widths, blocks, st.sampled_from(["u2", "<i4", ">u2", "<f4", "<f8"]))
def test_a_block_passes_as_its_readings_would(deadbands, blocks, dtype):
    taken = Taken(deadbands)
    singles = [Deadband(width) for width in deadbands]
    expected = []
    suppressed = 0
    time_ms = 1_000_000
    for values, good, after_ms in blocks:
        time_ms += after_ms
        taken.channel.take(np.array(values, dtype=dtype), time_ms, None if good is None else np.array(good))
        for index, (value, alias) in enumerate(zip(values, (7, 9, 300), strict=True)):
            if good is not None and not good[index]:
                continue
            if singles[index].passes(reading("m", value, "V", GOOD, time_ms)):
                expected.append((time_ms, alias, value))
            else:
                suppressed += 1
    assert taken.decoded() == expected
    assert taken.suppressed == suppressed


def test_infinities_where_there_is_no_value_are_left_alone():
    taken = Taken([1, 1, 1])
    for _ in range(3):
        taken.channel.take(np.array([np.inf, np.nan, 5.0]), 1000, np.array([False, False, True]))
    assert taken.decoded() == [(1000, 300, 5.0)]
    assert taken.suppressed == 2


@pytest.fixture
async def gateway(tmp_path):
    """A pipeline over a real outbox, with a meter."""
    file = OutboxFile(tmp_path / "outbox.db", max_bytes=1 << 20)
    outbox = Outbox(file)
    yield Pipeline(outbox, {"meter": catalogue()["eastron-sdm120"]}, clock=lambda: 5000), outbox, file
    file.close()


def values(*numbers: float) -> Any:
    return np.array(numbers, dtype="<f4")


async def test_a_metric_that_was_bad_is_told_again_though_its_value_is_the_same(gateway):
    pipeline, outbox, _ = gateway
    channel = pipeline.channel("meter", ["voltage", "current"])
    channel.take(values(230, 4), 1000)
    channel.take(values(230, 4), 2000)
    pipeline.take("meter", [reading("voltage", None, "V", BAD_TIMEOUT, 3000)])
    assert pipeline.things["meter"].latest()["voltage"].quality == BAD_TIMEOUT
    channel.take(values(230, 4), 4000)
    assert pipeline.things["meter"].latest()["voltage"] == reading("voltage", 230.0, "V", GOOD, 4000)
    pipeline.close_packs()
    (body,) = [pack.decode_body(inflate(row.body)) for batch in outbox._state.last() for row in batch.rows]
    sent = [(row.time_ms, value) for row in body.rows for _, value in pack.by_alias(row)]
    assert sent == [(1000, 230), (1000, 4), (4000, 230)]
    assert [(column.times_ms, column.values) for column in body.columns] == [([3000], [None])]
    assert body.tallies == {"meter": (7, 3)}


async def test_readings_that_wait_are_accounted_for_and_a_full_pack_is_closed(gateway):
    pipeline, outbox, _ = gateway
    channel = pipeline.channel("meter", ["voltage", "current"])
    for number in range(9_999):
        channel.take(values(number * 10, number * 10), 1000 + number)
    assert pipeline.pending() == {"meter": 19_998}
    assert outbox.buffered() == {}
    channel.take(values(-5, -5), 20_000)
    assert not pipeline.pending()
    assert outbox.buffered() == {"meter": 20_000}
