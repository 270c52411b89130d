"""Steps: what is told of many readings in few numbers, as columns; what is kept when readings have expired. Pure.

summary = CRC-32 of all behind it ++ lengths of its first six columns, uint32 each ++ seven columns, each by pcodec
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pcodec import ChunkConfig, standalone

from hub.errors import DamagedBlockError
from hub.store.readings import Records, numbers

Array = np.ndarray[Any, np.dtype[Any]]

_HEADER = struct.Struct("<7I")
_CONFIG = ChunkConfig()


@dataclass(frozen=True)
class Step:
    """The usable numbers of one step of a history; it begins at `time_ms`."""

    time_ms: int
    min: float
    mean: float
    max: float
    last: float
    count: int


class Steps(NamedTuple):
    """Steps as columns, in order of time. begins_ms: of each; lasts_ms: the time of its last reading."""

    begins_ms: Array
    mins: Array
    means: Array
    maxs: Array
    lasts: Array
    lasts_ms: Array
    counts: Array

    def rows(self) -> list[Step]:
        """One by one."""
        told = (self.begins_ms, self.mins, self.means, self.maxs, self.lasts, self.counts)
        return [Step(*row) for row in zip(*(column.tolist() for column in told), strict=True)]

    def within(self, from_ms: int, to_ms: int) -> "Steps":
        """Those that begin with from <= time < to."""
        chosen = (self.begins_ms >= from_ms) & (self.begins_ms < to_ms)
        return Steps(*(column[chosen] for column in self))


def steps_of(records: Records, step_ms: int) -> Steps:
    """The steps of readings, which begin at multiples of `step_ms`; one without usable numbers is left out."""
    found, usable = numbers(records)
    found, times = found[usable], records["time_ms"][usable]
    return merged([Steps(times, found, found, found, found, times, np.ones(len(found), np.int64))], step_ms)


def merged(parts: Iterable[Steps], step_ms: int) -> Steps:
    """The same readings in longer steps, or those of several parts together. What is coarser already stays so."""
    given = list(parts)
    if len(given) > 1:
        given = [Steps(*(np.concatenate(columns) for columns in zip(*given, strict=True)))]
    whole = given[0]
    begins = whole.begins_ms // step_ms * step_ms
    order = np.lexsort((whole.lasts_ms, begins))
    begins, mins, means, maxs, lasts, lasts_ms, counts = (c[order] for c in (begins, *whole[1:]))
    if not len(begins):
        return whole
    first = np.append(0, np.flatnonzero(begins[1:] != begins[:-1]) + 1)
    last = np.append(first[1:], len(begins)) - 1
    sums = np.add.reduceat(counts, first)
    return Steps(
        begins[first],
        np.minimum.reduceat(mins, first),
        np.add.reduceat(means * counts, first) / sums,
        np.maximum.reduceat(maxs, first),
        lasts[last],
        lasts_ms[last],
        sums,
    )


def encode(steps: Steps) -> bytes:
    """The bytes of a summary; at least one step."""
    columns = [standalone.simple_compress(np.ascontiguousarray(column), _CONFIG) for column in steps]
    rest = _HEADER.pack(0, *map(len, columns[:-1]))[4:] + b"".join(columns)
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def decode(data: bytes, stream: int, day: int) -> Steps:
    """The summary of a stream's day. Raises DamagedBlockError."""
    if len(data) < _HEADER.size or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        raise DamagedBlockError(stream, day)
    columns, at = [], _HEADER.size
    for length in (*_HEADER.unpack_from(data)[1:], len(data)):
        columns.append(standalone.simple_decompress(data[at : at + length]))
        at += length
    return Steps(*columns)
