"""Counts for the equation of custody: read = suppressed + stored + buffered + declared lost, per thing and lane."""

from collections.abc import Iterable, Mapping, Sequence

from protocols.custody import COUNTER_BITS, NONCE_BITS, incarnation_of

Counts = tuple[int, int]  # read, suppressed


class Tally:
    """What was read and suppressed on each lane in the present epoch, and what of it is not on disk yet.

    A reading counts once there is a pack that it is in, or was suppressed before; till then it dies uncounted with us.
    """

    def __init__(self, totals: Mapping[str, Counts], epoch: int):
        self._before = dict(totals)  # of all former epochs, by thing
        self._former: dict[tuple[str, int, str], Counts] = {}
        self._first = epoch
        self._recall_from = epoch
        self._now: dict[tuple[str, str], Counts] = {}  # by lane and thing
        self._dirty: set[tuple[str, str]] = set()
        self._epoch = epoch
        self._unwritten: dict[tuple[str, int, str], Counts] = {}
        self._durable: dict[tuple[str, int, str], Counts] = {}  # by lane, epoch and thing

    def remember(self, former: Mapping[tuple[str, int, str], Counts], *, over: int) -> None:
        """What the totals hold of each epoch before this one, and up to which one no more can be found."""
        self._former = dict(former)
        self._durable = dict(former)
        self._recall_from = max(over + 1, incarnation_of(self._first) << COUNTER_BITS + NONCE_BITS)

    def recall(self, epoch: int, lanes: Mapping[str, Mapping[str, Counts]]) -> bool:
        """What the far side knows of an epoch before our start: more than we do, if we were killed before it was
        written. Returns whether it was so."""
        if not self._recall_from <= epoch < self._first:
            return False
        more = False
        for lane, tallies in lanes.items():
            for thing, (read, suppressed) in tallies.items():
                known = self._former.get((lane, epoch, thing), (0, 0))
                best = max(known[0], read), max(known[1], suppressed)
                if best != known:
                    more = True
                    self._former[lane, epoch, thing] = self._unwritten[lane, epoch, thing] = best
                    gained = best[0] - known[0], best[1] - known[1]
                    self._before[thing] = _sum(self._before.get(thing, (0, 0)), gained)
        return more

    def packed(self, lane: str, thing: str, count: int) -> None:
        """So many readings went into a pack."""
        self._add(lane, thing, (count, 0))

    def suppressed(self, lane: str, thing: str, count: int) -> None:
        """So many readings were within their deadbands."""
        self._add(lane, thing, (count, count))

    def of(self, lane: str, things: Iterable[str]) -> dict[str, Counts]:
        """(read, suppressed) of these things on this lane since the epoch began: what their pack says."""
        return {thing: self._now.get((lane, thing), (0, 0)) for thing in things}

    def durable(self, lane: str, epochs: Sequence[int]) -> list[tuple[int, int, int]]:
        """(epoch, read, suppressed) of these epochs of a lane over all things, as it is on disk.

        Other epochs of the lane are forgotten: they will not be asked for again.
        """
        sums = dict.fromkeys(epochs, (0, 0))
        for key in [key for key in self._durable if key[0] == lane]:
            if key[1] in sums:
                sums[key[1]] = _sum(sums[key[1]], self._durable[key])
            else:
                del self._durable[key]
        return [(epoch, *counts) for epoch, counts in sums.items()]

    def totals(self) -> dict[str, Counts]:
        """(read, suppressed) of every thing over all lanes and epochs."""
        totals = dict(self._before)
        for (_, thing), counts in self._now.items():
            totals[thing] = _sum(totals.get(thing, (0, 0)), counts)
        return totals

    def open_epoch(self, epoch: int) -> None:
        """Count from zero again, for the new epoch."""
        self._unwritten = self.unwritten()
        self._before = self.totals()
        self._now = {}
        self._dirty = set()
        self._epoch = epoch

    def unwritten(self) -> dict[tuple[str, int, str], Counts]:
        """{(lane, epoch, thing): (read, suppressed)} of what has changed since `written`."""
        now = {(lane, self._epoch, thing): self._now[lane, thing] for lane, thing in self._dirty}
        return {**self._unwritten, **now}

    def written(self, tallies: Mapping[tuple[str, int, str], Counts]) -> None:
        """These are on disk."""
        self._durable.update(tallies)
        self._unwritten = {key: tally for key, tally in self._unwritten.items() if tallies.get(key) != tally}
        self._dirty = {
            (lane, thing)
            for lane, thing in self._dirty
            if tallies.get((lane, self._epoch, thing)) != self._now[lane, thing]
        }

    def _add(self, lane: str, thing: str, counts: Counts) -> None:
        self._now[lane, thing] = _sum(self._now.get((lane, thing), (0, 0)), counts)
        self._dirty.add((lane, thing))


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1]
