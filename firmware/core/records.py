"""Measurements that stay on flash until a central has them deleted: the oldest give way. A journal of their own."""

from firmware.core.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware.core.sectors import Flash

_MOST_SECTORS = 32


class Records:
    """Records in the order in which they were kept. Raises JournalError if the flash refuses one."""

    def __init__(self, flash: "Flash"):
        self._journal = Journal(flash, most_sectors=_MOST_SECTORS)
        self._gave_way = 0
        self._open()

    def append(self, record: bytes) -> None:
        """Keep a record: it is on flash when this returns."""
        self._journal.append(record, 1)
        if self._journal.lost_readings != self._gave_way:
            self._gave_way = self._journal.lost_readings
            self._forget_gaps()

    def places(self) -> "list[tuple[int, int]]":
        """Where the records are, oldest first, each to be read by `read`."""
        return [(epoch, seq) for epoch, first, last in self._journal.epochs() for seq in range(first, last + 1)]

    def read(self, place: "tuple[int, int]") -> "bytes | None":
        """The record there; None if it has given way."""
        return self._journal.read(place[0], place[1])[0]

    def delete_all(self) -> None:
        """Forget all records, so that they stay forgotten: a new epoch begins, which lets go of the last sector."""
        for epoch, _, last in self._journal.epochs():
            self._journal.release(epoch, last)
        self._open()

    def _open(self) -> None:
        epochs = self._journal.epochs()
        self._journal.open(epochs[-1][0] + 1 if epochs else 1)

    def _forget_gaps(self) -> None:
        for epoch, last in self._gaps():
            self._journal.release(epoch, last)

    def _gaps(self) -> "Iterator[tuple[int, int]]":
        for epoch, first, last in self._journal.epochs():
            seq = first
            while seq <= last and self._journal.read(epoch, seq)[0] is None:
                seq += 1
            if seq > first:
                yield epoch, seq - 1
