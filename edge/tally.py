"""Counts for the equation of custody: read = suppressed + stored + buffered + declared lost, per thing."""

from collections.abc import Iterable, Mapping


class Tally:
    """What was read and suppressed in the present epoch, and what of it is not on disk yet.

    A reading counts as read once it is in a pack or suppressed; one that waits for its pack dies uncounted with us.
    """

    def __init__(self, totals: Mapping[str, tuple[int, int]], epoch: int):
        self._before = dict(totals)  # (read, suppressed) of all former epochs
        self._now: dict[str, tuple[int, int]] = {}
        self._dirty: set[str] = set()
        self._epoch = epoch
        self._unwritten: dict[tuple[int, str], tuple[int, int]] = {}

    def packed(self, thing: str, count: int) -> None:
        """So many readings went into a pack."""
        read, suppressed = self._now.get(thing, (0, 0))
        self._now[thing] = (read + count, suppressed)
        self._dirty.add(thing)

    def suppressed(self, thing: str, count: int) -> None:
        """So many readings were within their deadbands."""
        read, suppressed = self._now.get(thing, (0, 0))
        self._now[thing] = (read + count, suppressed + count)
        self._dirty.add(thing)

    def of(self, things: Iterable[str]) -> dict[str, tuple[int, int]]:
        """(read, suppressed) of these things since the epoch began: what their pack says."""
        return {thing: self._now.get(thing, (0, 0)) for thing in things}

    def totals(self) -> dict[str, tuple[int, int]]:
        """(read, suppressed) of every thing over all epochs."""
        return {
            thing: _add(self._before.get(thing, (0, 0)), self._now.get(thing, (0, 0)))
            for thing in self._before.keys() | self._now.keys()
        }

    def open_epoch(self, epoch: int) -> None:
        """Count from zero again, for the new epoch."""
        self._unwritten = self.unwritten()
        self._before = self.totals()
        self._now = {}
        self._dirty = set()
        self._epoch = epoch

    def unwritten(self) -> dict[tuple[int, str], tuple[int, int]]:
        """{(epoch, thing): (read, suppressed)} of what has changed since `written`."""
        return {**self._unwritten, **{(self._epoch, thing): self._now[thing] for thing in self._dirty}}

    def written(self, tallies: Mapping[tuple[int, str], tuple[int, int]]) -> None:
        """These are on disk."""
        self._unwritten = {key: tally for key, tally in self._unwritten.items() if tallies.get(key) != tally}
        self._dirty = {thing for thing in self._dirty if tallies.get((self._epoch, thing)) != self._now[thing]}


def _add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
