"""Which packs had to give way, in runs, so that every one of them can still be sent as a gap record in its place."""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_RUN = "<QIII"
RUN_BYTES = struct.calcsize(_RUN)


class Gaps:
    """Runs of [epoch, first seq, last seq, readings in all], oldest first, at most `most`.

    A pack's share of its run never changes, since it may have been sent already. Only when there are too many runs the
    two oldest become one; their readings stay counted.
    """

    def __init__(self, most: int, runs: "Sequence[list[int]]" = ()):
        self._most = most
        self.runs = list(runs)

    def add(self, epoch: int, seq: int, readings: int) -> None:
        """A pack of so many readings has given way, the next one after those of this epoch so far."""
        if self.runs:
            last = self.runs[-1]
            packs = last[2] - last[1] + 1
            if last[0] == epoch and last[2] == seq - 1 and last[3] == readings * packs:
                last[2] = seq
                last[3] += readings
                return
        self.runs.append([epoch, seq, seq, readings])
        if len(self.runs) > self._most:
            self._merge_oldest()

    def readings(self, epoch: int, seq: int) -> "int | None":
        """How many readings this pack held, or None if it has not given way."""
        for run_epoch, first, last, total in self.runs:
            if run_epoch == epoch and first <= seq <= last:
                packs, place = last - first + 1, seq - first
                return (place + 1) * total // packs - place * total // packs
        return None

    def release(self, epoch: int, upto: int) -> None:
        """The gap records of this epoch up to this seq are in the gateway's keeping."""
        self.runs = [run for run in self.runs if run[0] != epoch or run[2] > upto]

    def encode(self) -> bytes:
        """The runs as bytes, RUN_BYTES each."""
        return b"".join([struct.pack(_RUN, *run) for run in self.runs])

    def _merge_oldest(self) -> None:
        older, younger = self.runs.pop(0), self.runs[0]
        younger[3] += older[3]
        if older[0] == younger[0] and older[2] == younger[1] - 1:
            younger[1] = older[1]


def decode(data: bytes) -> "list[list[int]]":
    """The runs that `Gaps.encode` made these bytes of."""
    return [list(struct.unpack_from(_RUN, data, at)) for at in range(0, len(data), RUN_BYTES)]
