"""Read plans against an exhaustive search, and what a device's refusals teach, against devices with holes."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodeError
from protocols.modbus import Cost, Layout, plan_reads, serial_cost, tcp_cost

Span = tuple[int, int]

# Requests that cost as much as 3, 20 or 400 registers; a serial line at usual speeds; a network.
costs = st.sampled_from(
    [Cost(3, 1), Cost(20, 1), Cost(400, 1), serial_cost(9600), serial_cost(115_200, 0.001), tcp_cost()]
)
small = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1, 1, 2, 4])), min_size=1, max_size=7, unique=True)
large = st.lists(st.tuples(st.integers(0, 300), st.sampled_from([1, 2, 4, 10])), max_size=40)


def price(plan: list[Span], cost: Cost) -> float:
    return sum(cost.request_s + cost.each_s * count for _, count in plan)


def covers(block: Span, span: Span) -> bool:
    return block[0] <= span[0] and sum(span) <= sum(block)


def partitions(spans: list[Span]) -> Iterator[list[list[Span]]]:
    """Every way to share the spans out among requests, whatever their order."""
    if not spans:
        yield []
        return
    first, *rest = spans
    for parts in partitions(rest):
        yield [[first], *parts]
        for at, part in enumerate(parts):
            yield [*parts[:at], [first, *part], *parts[at + 1 :]]


def cheapest(spans: list[Span], cost: Cost, most: int, refused: list[Span]) -> float:
    """By trying everything."""
    best = float("inf")
    for parts in partitions(spans):
        plan = []
        for part in parts:
            start = min(address for address, _ in part)
            plan.append((start, max(map(sum, part)) - start))
        if all(count <= most for _, count in plan) and not any(covers(one, hole) for one in plan for hole in refused):
            best = min(best, price(plan, cost))
    return best


@given(small, costs, st.integers(4, 45), st.lists(st.tuples(st.integers(0, 44), st.integers(1, 6)), max_size=3))
def test_no_plan_is_cheaper(spans: list[Span], cost: Cost, most: int, refused: list[Span]) -> None:
    spans = [span for span in spans if not any(covers(span, hole) for hole in refused)]
    plan = plan_reads(spans, cost, most=most, refused=refused)
    assert all(any(covers(block, span) for block in plan) for span in spans)
    assert all(1 <= count <= most for _, count in plan)
    assert not any(covers(block, hole) for block in plan for hole in refused)
    assert plan == sorted(plan)
    if spans:
        assert price(plan, cost) == pytest.approx(cheapest(spans, cost, most, refused))


@given(large, costs)
def test_every_span_is_read_whole(spans: list[Span], cost: Cost) -> None:
    plan = plan_reads(spans, cost)
    assert all(any(covers(block, span) for block in plan) for span in spans)
    assert all(1 <= count <= 125 for _, count in plan)


def test_what_cannot_be_read_at_once_is_refused() -> None:
    for span in ((0, 126), (65535, 2), (-1, 2), (3, 0)):
        with pytest.raises(EncodeError):
            plan_reads([span], tcp_cost())
    with pytest.raises(EncodeError):
        plan_reads([(0, 4)], tcp_cost(), refused=[(2, 1)])


def test_a_thousand_tags_of_meters_take_at_most_fifty_requests() -> None:
    """Ten three-phase meters with 100 tags each, laid out as the Eastron SDM630 is: float32 pairs of registers, in
    clusters with holes between them (0 to 0x58, 0x64 to 0x6A, 0xC8 to 0x10C, 0x14E to 0x17C of its input registers)."""
    pairs = [*range(0x00, 0x5A, 2), *range(0x64, 0x6C, 2), *range(0xC8, 0x10E, 2), *range(0x14E, 0x16E, 2)]
    meter = [(address, 2) for address in pairs][:100]
    assert len(meter) == 100
    for cost in (tcp_cost(), serial_cost(9600), serial_cost(19_200)):
        assert 10 * len(plan_reads(meter, cost)) <= 50


@given(large, st.sets(st.integers(0, 310), max_size=8), costs)
def test_a_refusal_costs_no_neighbour_its_value(spans: list[Span], holes: set[int], cost: Cost) -> None:
    layout = Layout(spans, cost)
    readable = {span for span in spans if holes.isdisjoint(range(span[0], sum(span)))}
    refusals = 0
    for _ in range(12):
        read: set[Span] = set()
        refused = 0
        left = list(layout.blocks)
        while left:
            block = left.pop(0)
            if holes.isdisjoint(range(block[0], sum(block))):
                read |= {span for span in spans if covers(block, span)}
                layout.answered(block)
            else:
                refused += 1
                left = layout.refused(block) + left
        assert read == readable, "in every cycle, also in those that learn"
        refusals += refused
        if not refused:
            break
    else:
        pytest.fail("it never stops asking for what it was refused")
    assert set(layout.refused_spans) == set(spans) - readable
    assert refusals <= 8 * (len(holes) + 1) * max(1, len(spans)).bit_length() + len(spans)


def test_a_device_that_refuses_but_once_loses_nothing() -> None:
    layout = Layout([(0, 2), (2, 2)], tcp_cost())
    assert layout.blocks == [(0, 4)]
    assert layout.refused((0, 4)) == [(0, 2), (2, 2)]
    layout.answered((0, 2))
    layout.answered((2, 2))
    assert layout.refused_spans == []
    assert layout.blocks == [(0, 4)]
