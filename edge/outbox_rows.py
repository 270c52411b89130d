"""What the outbox keeps: packs as rows, what a batch of them changes, and the checksum that each row of the file has.

No disk and no database here: the file writes these rows, and salvage finds them again in what is left of a file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from edge.holdings import Loss
from edge.links.base import Origin
from protocols import pack
from protocols.deflated import deflate

_OBJECT_BYTES = 400  # what a row takes in memory beside its texts


@dataclass(frozen=True)
class Content:
    """What a pack holds, for accounts and for the gap record that may have to take its place.

    counts: readings per thing; tallies: {thing: (read, suppressed)} of its lane and epoch as of this pack; span: its
    first and last ms; lost: what it declares lost itself.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    tallies: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    span: tuple[int, int] = (0, 0)
    lost: Mapping[str, Loss] = field(default_factory=dict)

    def losses(self) -> dict[str, Loss]:
        """What is lost if this pack is, by thing."""
        found = {thing: (count, *self.span) for thing, count in self.counts.items()}
        for thing, loss in self.lost.items():
            found[thing] = _joined(found.get(thing), loss)
        return found

    def packed(self, thing: str) -> int:
        """How many readings of this thing had been packed as of this pack, on its lane and in its epoch."""
        read, suppressed = self.tallies.get(thing, (0, 0))
        return read - suppressed


@dataclass(frozen=True, slots=True)
class Row:
    """A pack, or the gap record in the place of the packs first..seq.

    note: how many readings it holds, its Content, its origins and its body's checksum, as JSON: that is small, where a
    thousand of them wait for a disk that fails. origins: the devices' packs that it took over.
    """

    lane: str
    epoch: int
    first: int
    seq: int
    note: str
    body: bytes
    origins: Sequence[Origin] = ()

    @property
    def key(self) -> tuple[str, int, int, int]:
        """Lane, epoch, first and seq."""
        return self.lane, self.epoch, self.first, self.seq

    @property
    def readings(self) -> int:
        """How many readings it holds."""
        return int(self.note[1 : self.note.index(",")])

    @property
    def content(self) -> Content:
        """What it holds."""
        return read_note(self.note)[0]

    @property
    def sound(self) -> bool:
        """Whether its body is as it was made."""
        return crc32(self.body) == read_note(self.note)[2]

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory, about."""
        return len(self.body) + len(self.note) + _OBJECT_BYTES


def make_row(
    lane: str, epoch: int, seq: int, *, body: bytes, content: Content, origins: Sequence[Origin] = (), first: int = 0
) -> Row:
    """The row of a pack; `first` for a gap record in the place of several."""
    return Row(lane, epoch, first or seq, seq, _note(content, origins, body), body, origins)


def make_gap(lane: str, epoch: int, first: int, seq: int, contents: Iterable[Content]) -> Row:
    """The gap record in the place of the packs first..seq, which had these contents."""
    lost: dict[str, Loss] = {}
    tallies: dict[str, tuple[int, int]] = {}
    spans = []
    for content in contents:
        for thing, loss in content.losses().items():
            lost[thing] = _joined(lost.get(thing), loss)
        tallies.update(content.tallies)
        spans.append(content.span)
    span = min((span[0] for span in spans), default=0), max((span[1] for span in spans), default=0)
    body = deflate(pack.encode_body(pack.Body([], [], tallies, lost)))
    return make_row(lane, epoch, seq, body=body, content=Content({}, tallies, span, lost), first=first)


def gap_of(rows: Sequence[Row]) -> Row:
    """The gap record in the place of these rows, which follow one another."""
    return make_gap(rows[0].lane, rows[0].epoch, rows[0].first, rows[-1].seq, (row.content for row in rows))


class Held(NamedTuple):
    """Packs of an epoch that are held; gaps: runs (first, last) among them with a single gap record in their place."""

    epoch: int
    first: int
    last: int
    gaps: list[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """What is written together.

    releases: {(lane, epoch): seq} up to which the hub has the packs; tallies: {(lane, epoch, thing): (read,
    suppressed)}; kept: what other parts remember together with these packs, None to forget it.
    """

    rows: Sequence[Row]
    releases: Mapping[tuple[str, int], int]
    tallies: Mapping[tuple[str, int, str], tuple[int, int]]
    kept: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def origins(self) -> list[Origin]:
        """The devices' packs that the rows took over, in order of arrival."""
        return [origin for row in self.rows for origin in row.origins]


def checksum(table: str, *values: object) -> int:
    """The checksum of a row of the file, over all its values but the body (whose checksum is in its note)."""
    return crc32(repr((table, *values)).encode())


def read_note(note: str) -> tuple[Content, list[Origin], int]:
    """A note's content and origins, and the checksum of the body that it belongs to."""
    _, things, span, origins, body_checksum = json.loads(note)
    content = Content(
        {thing: numbers[0] for thing, numbers in things.items() if numbers[0]},
        {thing: (numbers[1], numbers[2]) for thing, numbers in things.items()},
        (span[0], span[1]),
        {thing: (numbers[3], numbers[4], numbers[5]) for thing, numbers in things.items() if len(numbers) > 3},
    )
    return content, [Origin(*origin) for origin in origins], body_checksum


def _note(content: Content, origins: Sequence[Origin], body: bytes) -> str:
    things = {}
    for thing in (*content.tallies, *content.counts, *content.lost):
        if thing not in things:
            tally = content.tallies.get(thing, (0, 0))
            things[thing] = [content.counts.get(thing, 0), *tally, *content.lost.get(thing, ())]
    told = [[origin.sender, origin.lane, origin.epoch, origin.seq] for origin in origins]
    readings = sum(content.counts.values())
    return json.dumps([readings, things, content.span, told, crc32(body)], separators=(",", ":"))


def _joined(one: Loss | None, other: Loss) -> Loss:
    return (one[0] + other[0], min(one[1], other[1]), max(one[2], other[2])) if one else other
