"""What to request from a device so that every wanted span is read at the least cost, and what its refusals teach.

A span is (address, count) in registers or bits of one table; so is a block, which is one request.
"""

from collections import namedtuple

from ..errors import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    Span = tuple[int, int]

    class Cost(NamedTuple):
        """What a read costs, in seconds: so much for the request, and so much for each register or bit of it."""

        request_s: float
        each_s: float

else:
    Cost = namedtuple("Cost", ("request_s", "each_s"))

_REQUEST_BYTES = 8  # of a read on a serial line: unit, function, address, count, CRC
_RESPONSE_BYTES = 5  # around the data: unit, function, size, CRC
_GAP_BYTES = 7  # two silences of 3.5 characters
_CHARACTER_BITS = 11
_TCP_REGISTER_S = 2e-5  # of a small server's processor; the line itself takes less


def serial_cost(baud: int, turnaround_s: float = 0.005, *, bits: bool = False) -> "Cost":
    """Of a serial line: the bytes there and back at its speed, and the time a device takes before it answers."""
    byte_s = _CHARACTER_BITS / baud
    return Cost(
        (_REQUEST_BYTES + _RESPONSE_BYTES + _GAP_BYTES) * byte_s + turnaround_s, byte_s * (0.125 if bits else 2)
    )


def tcp_cost(round_trip_s: float = 0.005, *, bits: bool = False) -> "Cost":
    """Of a network: the round trip, beside which the bytes count for little."""
    return Cost(round_trip_s, _TCP_REGISTER_S * (0.0625 if bits else 1))


def plan_reads(
    spans: "Iterable[Span]", cost: "Cost", *, most: int = 125, refused: "Iterable[Span]" = ()
) -> "list[Span]":
    """The cheapest blocks of at most `most` that read every span whole and contain no refused interval.

    Raises EncodeError for a span that no such block can hold. O(n k), k the spans that fit into one block.
    """
    wanted = sorted(set(spans))
    walls = sorted(refused)
    best = [(0.0, 0)]  # of the first n spans: the least cost, and where its last block begins
    for last in range(len(wanted)):
        found = None
        end = 0
        for first in range(last, -1, -1):
            start = wanted[first][0]
            end = max(end, sum(wanted[first]))
            if end - start > most or _contains_any(start, end, walls):
                break
            price = best[first][0] + cost.request_s + cost.each_s * (end - start)
            if found is None or price < found[0]:
                found = (price, first)
        address, count = wanted[last]
        if found is None or count < 1 or not 0 <= address <= 0x10000 - count:
            raise EncodeError("modbus read", f"{count} registers at {address}")
        best.append(found)
    blocks = []
    last = len(wanted)
    while last:
        first = best[last][1]
        blocks.append(_block(wanted[first:last]))
        last = first
    return blocks[::-1]


def _block(spans: "list[Span]") -> "Span":
    start = min([address for address, _ in spans])
    return start, max([address + count for address, count in spans]) - start


def _contains_any(start: int, end: int, intervals: "list[Span]") -> bool:
    return any([start <= address and address + count <= end for address, count in intervals])


def _halves(spans: "list[Span]", block: "Span") -> "list[Span]":
    """Blocks that read the spans, each less than the block; a span that is the block itself is left out."""
    spans = [span for span in spans if span != block]
    middle = (len(spans) + 1) // 2
    found = []
    for half in (spans[:middle], spans[middle:]):
        if half:
            whole = _block(half)
            found += _halves(half, block) if whole == block else [whole]
    return found


class Layout:
    """The spans wanted of one table of one device, and which registers it has refused.

    What is known of a refusal is an interval: somewhere in it is a register that the device does not have. It shrinks
    as parts of it are answered. Where nothing is left of it, the device has refused the length: how much it does take
    is found out as far as that makes the plan cheaper. What is left between two spans may have either reason, and the
    two are read together once more. So in the end the plan is the cheapest that this device answers.
    `blocks` is the plan; `refused_spans` are those that cannot be read; `learning`: whether answers to the plan tell
    something new.
    """

    def __init__(self, spans: "Iterable[Span]", cost: "Cost", *, most: int = 125):
        self._spans = sorted(set(spans))
        self._cost = cost
        self._most = most  # in a block: no longer one may be answered
        self._limited = False  # whether the device takes less than was thought
        self._longest = 0  # block that was answered
        self._answered: set[int] = set()
        self._refused: set[Span] = set()  # blocks
        self._holes: "list[Span]" = []  # what is left of them
        self.blocks = plan_reads(self._spans, cost, most=most)
        self.refused_spans: "list[Span]" = []
        self.learning = False

    def refused(self, block: "Span") -> "list[Span]":
        """The device refused this block as an illegal address: smaller ones to read in its place, now.

        There are none when the block is a single span: that one cannot be read.
        """
        if self._answered.issuperset(range(block[0], sum(block))):
            self._contradicted(block)
        self._refused.add(block)
        self._holes = self._narrowed(self._holes + [block])
        self._plan()
        return _halves([span for span in self._spans if _contains_any(block[0], sum(block), [span])], block)

    def answered(self, blocks: "Iterable[Span]") -> None:
        """The device answered these blocks: all their registers are there. Of use after a refusal, while learning."""
        for block in blocks:
            self._answered.update(range(block[0], sum(block)))
            self._longest = max(self._longest, block[1])
        self._holes = self._narrowed(self._holes)
        self._plan()

    def forget(self) -> None:
        """The device has thought better of a refusal: of all of them, perhaps. How much it takes at once is kept."""
        self._answered, self._refused, self._holes = set(), set(), []
        self._plan()

    def _contradicted(self, block: "Span") -> None:
        """It is the length that the device refuses; or, where it has answered longer ones, it is another device now."""
        if block[1] > max(
            [self._longest] + [count for at, count in self._spans if (at, count) not in self.refused_spans]
        ):
            self._most = block[1] - 1
            self._limited = True
        else:
            self._answered.difference_update(range(block[0], sum(block)))
            self._longest = 0

    def _plan(self) -> None:
        self.refused_spans = [span for span in self._spans if _contains_any(span[0], sum(span), self._holes)]
        readable = [span for span in self._spans if span not in self.refused_spans]
        lengths = [self._most]
        if self._limited:  # what it has taken for sure; and more, where that is worth the try
            sure = max([self._longest] + [count for _, count in readable])
            lengths = [sure, (sure + self._most + 1) // 2, self._most]
        plans = [plan_reads(readable, self._cost, most=most, refused=self._holes) for most in lengths]
        self.blocks = next((plan for plan in plans[1:] if self._price(plan) < self._price(plans[0])), plans[0])
        doubt = self._doubt(readable)
        if doubt:
            apart = [span for span in readable if not _contains_any(doubt[0], sum(doubt), [span])]
            self.blocks = sorted(plan_reads(apart, self._cost, most=lengths[0], refused=self._holes) + [doubt])
        self.learning = not all([self._is_sure(block) for block in self.blocks])

    def _is_sure(self, block: "Span") -> bool:
        return block[1] <= self._longest and self._answered.issuperset(range(block[0], sum(block)))

    def _price(self, plan: "list[Span]") -> float:
        return sum([self._cost.request_s + self._cost.each_s * count for _, count in plan])

    def _doubt(self, readable: "list[Span]") -> "Span | None":
        """The spans around a hole, as a block: no plan reads over the hole without them. None if it was refused."""
        for hole in self._holes:
            before = [span for span in readable if sum(span) <= hole[0]]
            behind = [span for span in readable if span[0] >= sum(hole)]
            if before and behind:
                block = _block([max(before, key=sum), min(behind)])
                if block[1] <= self._most and not _contains_any(block[0], sum(block), list(self._refused)):
                    return block
        return None

    def _narrowed(self, intervals: "list[Span]") -> "list[Span]":
        """Without the registers at their ends that have been answered, and without those that contain another one.

        An interval of which nothing is left was refused by a device that has thought better of it.
        """
        kept: "list[Span]" = []
        for address, count in intervals:
            unknown = [each for each in range(address, address + count) if each not in self._answered]
            if unknown:
                kept.append((unknown[0], unknown[-1] + 1 - unknown[0]))
        return [
            one
            for at, one in enumerate(kept)
            if not any([other != one and _contains_any(one[0], sum(one), [other]) for other in kept])
            and one not in kept[:at]
        ]
