"""Which records of a device we have: kept with the outbox, in the transaction that stores the records themselves.

A device gives a stored record again when it did not hear our confirmation, when it is asked for all of them, or after a
restart of ours. It is known again by its bytes, which hold a date or a number. Of each record that is taken, an Origin
goes to the outbox; it becomes durable with the record or not at all, so no crash loses one or lets one in twice.
The records' digests fill a ring of as many rows as the device can hold, and the number of the last one has its own row.
"""

from collections.abc import Mapping
from hashlib import blake2b

from edge.links.base import Origin

_RING = "records"
_NUMBER = "record-number"
_DIGEST_BITS = 40
_Cursors = Mapping[tuple[str, str], Mapping[int, int]]


class RecordMemory:
    """The memory of one device. `size`: records that it can give again; older ones are forgotten.

    A ring's row is (slot, count << 40 | digest): the count tells which are the newest.
    """

    def __init__(self, thing: str, cursors: _Cursors, *, size: int):
        self._thing = thing
        self._size = size
        rows = sorted(cursors.get((thing, _RING), {}).values())
        self._count = rows[-1] >> _DIGEST_BITS if rows else 0
        mask = (1 << _DIGEST_BITS) - 1
        self._ring = dict.fromkeys(row & mask for row in rows[-size:])  # oldest first
        self._last: int | None = cursors.get((thing, _NUMBER), {}).get(0)

    @property
    def last(self) -> int | None:
        """The sequence number of the record that was taken last."""
        return self._last

    def knows(self, record: bytes) -> bool:
        """Whether this record was taken before."""
        return _digest(record) in self._ring

    def take(self, record: bytes) -> Origin:
        """Remember a record that was not known; the origin to store it with."""
        self._count += 1
        digest = _digest(record)
        self._ring[digest] = None
        if len(self._ring) > self._size:
            del self._ring[next(iter(self._ring))]
        return Origin(self._thing, _RING, self._count % self._size, self._count << _DIGEST_BITS | digest)

    def number(self, number: int) -> Origin:
        """Remember the sequence number of the record just taken; the origin to store with it."""
        self._last = number
        return Origin(self._thing, _NUMBER, 0, number)


def _digest(record: bytes) -> int:
    return int.from_bytes(blake2b(record, digest_size=_DIGEST_BITS // 8).digest(), "big")
