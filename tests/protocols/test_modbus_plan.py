"""Read plans against an exhaustive search, and what a device's refusals teach, against devices with holes."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
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


def cheapest(spans: list[Span], cost: Cost, is_allowed: Callable[[Span], bool]) -> float:
    """By trying everything."""
    best = float("inf")
    for parts in partitions(spans):
        plan = []
        for part in parts:
            start = min(address for address, _ in part)
            plan.append((start, max(map(sum, part)) - start))
        if all(map(is_allowed, plan)):
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
        best = cheapest(spans, cost, lambda one: one[1] <= most and not any(covers(one, hole) for hole in refused))
        assert price(plan, cost) == pytest.approx(best)


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


# The input registers of an Eastron SDM630: float32 pairs in clusters with holes between them
PAIRS = (*range(0x00, 0x5A, 2), *range(0x64, 0x6C, 2), *range(0xC8, 0x10E, 2), *range(0x14E, 0x16E, 2))


def test_a_thousand_tags_of_meters_take_at_most_fifty_requests() -> None:
    """Ten three-phase meters with 100 tags each, laid out as the SDM630 is: PAIRS. It takes 80 registers at once."""
    meter = meter_map()
    assert len(meter) == 100
    for cost in (tcp_cost(), serial_cost(9600), serial_cost(19_200)):
        assert 10 * len(plan_reads(meter, cost, most=80)) == 40


def test_meters_that_answer_few_registers_at_once_take_at_most_fifty_requests_too() -> None:
    """Half of the meters are energy analysers: int32 pairs without gaps, of which one read may hold 50 registers."""
    analyser = [(address, 2) for address in range(0, 200, 2)]
    for cost in (tcp_cost(), serial_cost(9600), serial_cost(19_200)):
        blocks = plan_reads(analyser, cost, most=50)
        assert blocks == [(0, 50), (50, 50), (100, 50), (150, 50)]
        assert 5 * len(plan_reads(meter_map(), cost, most=80)) + 5 * len(blocks) == 40


def meter_map() -> list[Span]:
    """The first 100 of PAIRS."""
    return [(address, 2) for address in PAIRS][:100]


class Device:
    """Refuses blocks that touch a register it does not have, and those longer than it answers at once."""

    def __init__(self, holes: set[int], most: int = 125):
        self.holes = holes
        self.most = most

    def answers(self, block: Span) -> bool:
        return block[1] <= self.most and self.holes.isdisjoint(range(block[0], sum(block)))

    def poll(self, layout: Layout, *, at_once: bool) -> tuple[list[Span], int]:
        """(blocks answered, how many refused) of one cycle; a layout is told of answers at once or at its end."""
        answered: list[Span] = []
        refusals = 0
        left = list(layout.blocks)
        while left:
            block = left.pop(0)
            if self.answers(block):
                answered.append(block)
                if at_once:
                    layout.answered([block])
            else:
                refusals += 1
                left = layout.refused(block) + left
        if not at_once:
            layout.answered(answered)
        return answered, refusals


@given(large, st.sets(st.integers(0, 310), max_size=8), st.integers(10, 125), costs, st.booleans())
def test_a_refusal_costs_no_neighbour_its_value(
    spans: list[Span], holes: set[int], most: int, cost: Cost, at_once: bool
) -> None:
    device = Device(holes, most)
    layout = Layout(spans, cost)
    readable = {span for span in spans if device.answers(span)}
    for _ in range(40):
        answered, refusals = device.poll(layout, at_once=at_once)
        read = {span for span in spans if any(covers(block, span) for block in answered)}
        assert read == readable, "in every cycle, also in those that learn"
        if not refusals:
            break
    else:
        pytest.fail("it never stops asking for what it was refused")
    assert set(layout.refused_spans) == set(spans) - readable


@settings(max_examples=200)
@given(small, st.sets(st.integers(0, 45), max_size=3), st.integers(4, 45), costs)
def test_what_is_learned_in_the_end_is_the_cheapest_that_the_device_answers(
    spans: list[Span], holes: set[int], most: int, cost: Cost
) -> None:
    """As cheap as by an exhaustive search that is told where the holes are and how much the device takes."""
    device = Device(holes, most)
    layout = Layout(spans, cost)
    device.poll(layout, at_once=False)
    for _ in range(60):
        if layout.learning:
            device.poll(layout, at_once=False)
    assert not layout.learning
    assert device.poll(layout, at_once=False)[1] == 0
    readable = [span for span in spans if device.answers(span)]
    if readable:
        assert price(layout.blocks, cost) == pytest.approx(cheapest(readable, cost, device.answers))


@given(large, st.sets(st.integers(0, 310), max_size=8), costs, st.booleans())
def test_a_hole_is_found_by_halving(spans: list[Span], holes: set[int], cost: Cost, at_once: bool) -> None:
    """For each hole at most two ways down to it, each of log2(spans) refusals; besides, what is refused in the end."""
    layout = Layout(spans, cost)
    refusals = sum(Device(holes).poll(layout, at_once=at_once)[1] for _ in range(15))
    assert refusals <= 2 * len(holes) * len(spans).bit_length() + len(layout.refused_spans)


def test_a_register_that_nobody_wants_is_blamed_alone() -> None:
    """A meter with one illegal register in each gap between its clusters: every tag is read, and none is refused."""
    meter = meter_map()
    wanted = {address + at for address, count in meter for at in range(count)}
    gaps = {address for address in range(min(wanted), max(wanted)) if {address - 1, address} - wanted == {address}}
    assert len(gaps) == 3
    layout = Layout(meter, serial_cost(9600))
    counts = [Device(gaps).poll(layout, at_once=False)[1] for _ in range(6)]
    assert sum(counts) <= 3 * len(meter).bit_length()
    assert counts[-1] == 0
    assert layout.refused_spans == []
    assert len(layout.blocks) <= 5


def test_a_device_that_takes_only_short_blocks_is_asked_for_no_longer_ones() -> None:
    layout = Layout([(address, 1) for address in range(100)], tcp_cost())
    device = Device(set(), most=60)
    assert layout.blocks == [(0, 100)]
    refusals = [device.poll(layout, at_once=False)[1] for _ in range(4)]
    assert refusals == [1, 1, 0, 0], "once may be chance; the second time all parts are known to be there"
    assert layout.blocks == [(0, 50), (50, 50)]
    assert layout.refused_spans == []


def test_how_much_a_device_takes_is_found_out_where_that_makes_the_plan_cheaper() -> None:
    """125 of 130 are refused, and 32 are what is answered first: five requests, until it is known that 60 will do."""
    layout = Layout([(address, 1) for address in range(130)], tcp_cost())
    device = Device(set(), most=60)
    refusals = [device.poll(layout, at_once=False)[1] for _ in range(12)]
    assert len(layout.blocks) == 3
    assert max(count for _, count in layout.blocks) <= 60
    assert refusals[-3:] == [0, 0, 0]


def test_a_device_put_in_the_place_of_one_that_took_more_at_once_is_learned_anew() -> None:
    layout = Layout([(address, 1) for address in range(100)], tcp_cost())
    for holes, most in (({50}, 125), (set(), 30)):
        refusals = [Device(holes, most).poll(layout, at_once=False)[1] for _ in range(20)]
        assert refusals[-1] == 0
    assert len(layout.blocks) == 4


def test_a_device_put_in_the_place_of_another_is_learned_anew() -> None:
    spans = [(address, 1) for address in range(0, 40)]
    layout = Layout(spans, tcp_cost())
    for holes in ({7}, {7, 20, 33}):
        refusals = [Device(holes).poll(layout, at_once=False)[1] for _ in range(12)]
        assert refusals[-1] == 0
        assert layout.refused_spans == [(hole, 1) for hole in sorted(holes)]


def test_a_device_that_refuses_but_once_loses_nothing() -> None:
    layout = Layout([(0, 2), (2, 2)], tcp_cost())
    assert layout.blocks == [(0, 4)]
    assert layout.refused((0, 4)) == [(0, 2), (2, 2)]
    layout.answered([(0, 2), (2, 2)])
    assert layout.refused_spans == []
    assert layout.blocks == [(0, 4)]
