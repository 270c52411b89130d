"""What can be read of a damaged outbox goes into a new file, with gap records where packs must have been.

Rows are found page by page, also old versions of them and rows that were deleted. All that the outbox counts only
grows, so the newest version is the greatest; and what was let go of is known by marks that only grow, too. So nothing
comes back, nothing is taken for what it is not, and whatever is lost is declared.
"""

import sqlite3
from collections import ChainMap, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge import outbox_tables, sqlite_pages
from edge.outbox_rows import Content, Row, checksum, make_gap, read_note
from edge.outbox_tables import FOLDED, PACK_COLUMNS, TABLES
from edge.sqlite_pages import Frame, Value
from protocols.custody import count_of, incarnation_of
from protocols.deflated import inflate
from protocols.errors import DecodeError
from protocols.pack import by_alias, decode_body

Numbering = tuple[str, int]  # lane and epoch
State = dict[str, dict[tuple[Value, ...], tuple[Value, ...]]]  # table -> key -> the other values

_EPOCHS_APART = 1 << 10  # where the count is lost, the next one is so much greater than any that is known to have been


@dataclass
class Salvaged:
    """How it went. packs: held again; lost: packs that are gone, with gap records in their places."""

    packs: int = 0
    lost: int = 0


@dataclass
class _Hole:
    """A run of packs that are gone. after: what the next pack says of each thing; before: what was packed before."""

    first: int
    seq: int
    after: Mapping[str, Content]
    before: dict[str, int] = field(default_factory=dict)

    def contents(self) -> Content:
        """What was in it, by the tallies of its neighbours."""
        counts, tallies = {}, {}
        for thing, content in self.after.items():
            own = content.counts.get(thing, 0) + content.lost.get(thing, (0, 0, 0))[0]
            packed = content.packed(thing) - own
            if (count := packed - self.before.get(thing, 0)) > 0:
                suppressed = content.tallies[thing][1]
                counts[thing], tallies[thing] = count, (packed + suppressed, suppressed)
        times = [content.span[0] for content in self.after.values()]
        return Content(counts, tallies, (min(times, default=0), max(times, default=0)))


def salvage(
    pages: Mapping[int, bytes], frames: Sequence[Frame], copy: State | None, into: sqlite3.Connection
) -> Salvaged:
    """Fill the new file with what the pages of the damaged one and its log still say.

    copy: what a copy beside it knows of streams and counts, if it is whole.
    """
    state: State = {table: {} for table in TABLES}
    for values in _rows(pages, frames):
        if row := _pack(values):
            _keep(into, row)
            for origin in read_note(row.note)[1]:
                _keep_greatest(state["cursor"], "cursor", (origin.sender, origin.lane, origin.epoch, origin.seq))
        elif table := _table_of(values):
            _keep_greatest(state[table], table, values[:-1])
    for table, rows in (copy or {}).items():
        for key, rest in rows.items():
            _keep_greatest(state[table], table, key + rest)
    for key, rest in state["cursor_copy"].items():
        _keep_greatest(state["cursor"], "cursor", key + rest)
    state["cursor_copy"] = state["cursor"]
    _forget_folded(into, state)
    _keep_apart(into, state, whole=copy is not None)
    if copy is None:
        _give_up_unknown(into, {key[0] for key in state["stream"]})
    result = Salvaged()
    for numbering in _numberings(into, state):
        _close_holes(into, state, numbering, result)
    for table, rows in state.items():
        outbox_tables.put(into, table, (key + rest for key, rest in rows.items()))
    (result.packs,) = into.execute("SELECT count(*) FROM pack").fetchone()
    return result


def _rows(pages: Mapping[int, bytes], frames: Sequence[Frame]) -> Iterator[tuple[Value, ...]]:
    """From every version of every page that there is."""
    logged = {frame.number: frame.page for frame in frames if frame.number}
    newest = _over(logged, pages)
    for number in newest:
        yield from sqlite_pages.rows_of(newest, number)
    for number in logged.keys() & pages.keys():
        yield from sqlite_pages.rows_of(_over({number: pages[number]}, newest), number)
    for frame in frames:
        if frame.number and frame.page is not logged[frame.number]:
            yield from sqlite_pages.rows_of(_over({frame.number: frame.page}, newest), frame.number)


def _over(some: dict[int, bytes], all_: Mapping[int, bytes]) -> Mapping[int, bytes]:
    return ChainMap(some, all_)  # type: ignore[arg-type]  # it is never written to


def _table_of(values: Sequence[Value]) -> str | None:
    """The table that this row is of, by its checksum; None if it is none of ours, or damaged."""
    for table, (columns, _) in TABLES.items():
        if len(values) == columns + 1 and values[-1] == checksum(table, *values[:-1]):
            return table
    return None


def _pack(values: Sequence[Value]) -> Row | None:
    """The pack, if it is one and its note is sound; its body may not be."""
    if len(values) != PACK_COLUMNS or values[5] != checksum("pack", *values[:5]):
        return None
    lane, epoch, seq, first, note, _, body = values
    return Row(str(lane), _number(epoch), _number(first), _number(seq), str(note), body if type(body) is bytes else b"")


def _keep(into: sqlite3.Connection, row: Row) -> None:
    """Keep a pack, if it is a better one than that in its place: sound, for more packs, or its later gap record."""
    there = outbox_tables.pack(into, row.lane, row.epoch, row.seq)
    if there is None or _worth(row) > _worth(there):
        outbox_tables.put_packs(into, [row])


def _worth(row: Row) -> tuple[bool, int, bool]:
    return row.sound, -row.first, not row.content.counts


def _keep_greatest(rows: dict[tuple[Value, ...], tuple[Value, ...]], table: str, values: tuple[Value, ...]) -> None:
    _, keys = TABLES[table]
    key, rest = values[:keys], values[keys:]
    rows[key] = max(rows.get(key, rest), rest)


def _forget_folded(into: sqlite3.Connection, state: State) -> None:
    """What is said of single epochs that are over is old: it is in their sum."""
    marks = state["mark"]
    folded = max((_number(released) for (_, epoch), (released,) in marks.items() if epoch == FOLDED), default=FOLDED)
    for table in ("mark", "tally"):
        state[table] = {key: rest for key, rest in state[table].items() if key[1] == FOLDED or _number(key[1]) > folded}
    into.execute("DELETE FROM pack WHERE epoch <= ?", (folded,))


def _keep_apart(into: sqlite3.Connection, state: State, *, whole: bool) -> None:
    """See that no number is given again: the incarnation is told by any epoch, the counts are moved on."""
    meta = state["meta"]
    epochs = {_number(key[1]) for table in ("mark", "tally") for key in state[table]}
    epochs |= {epoch for (epoch,) in into.execute("SELECT DISTINCT epoch FROM pack")}
    epochs |= {_number(folded) for (_, epoch), (folded,) in state["mark"].items() if epoch == FOLDED}
    if newest := max(epochs, default=FOLDED):
        meta.setdefault(("incarnation",), (incarnation_of(newest),))
        _keep_greatest(meta, "meta", ("epochs", count_of(newest)))
    if not whole:
        meta["epochs",] = (_number(meta.get(("epochs",), (0,))[0]) + _EPOCHS_APART,)
    (damages,) = meta.get(("damages",), (0,))
    meta["damages",] = (_number(damages) + 1,)


def _give_up_unknown(into: sqlite3.Connection, known: set[Value]) -> None:
    """A pack of streams that nobody can name any more would wait for ever: a gap record takes its place."""
    for lane, epoch, _, seq, _ in list(outbox_tables.notes(into)):
        row = outbox_tables.pack(into, lane, epoch, seq)
        if row and row.sound and not _aliases(row) <= known:
            outbox_tables.put_packs(into, [make_gap(lane, epoch, row.first, seq, [row.content])])


def _aliases(row: Row) -> set[Value]:
    try:
        body = decode_body(inflate(row.body))
    except DecodeError:
        return set()  # whoever receives it sets it aside
    return {column.alias for column in body.columns} | {alias for each in body.rows for alias, _ in by_alias(each)}


def _numberings(into: sqlite3.Connection, state: State) -> list[Numbering]:
    held: set[Numbering] = set(into.execute("SELECT DISTINCT lane, epoch FROM pack"))
    counted = {(str(key[0]), _number(key[1])) for table in ("mark", "tally") for key in state[table]}
    return sorted(each for each in held | counted if each[1] != FOLDED)


def _close_holes(into: sqlite3.Connection, state: State, numbering: Numbering, result: Salvaged) -> None:
    """Leave out what was let go of and what gap records stand for; put gap records where packs are gone."""
    released = _number(state["mark"].get(numbering, (0,))[0])
    survey = _Survey(released)
    query = "SELECT first, seq, note FROM pack WHERE lane = ? AND epoch = ? ORDER BY seq DESC"
    superfluous = [seq for first, seq, note in into.execute(query, numbering) if not survey.keeps(first, seq, note)]
    into.executemany(
        "DELETE FROM pack WHERE lane = ? AND epoch = ? AND seq = ?", [(*numbering, seq) for seq in superfluous]
    )
    gaps = [make_gap(*numbering, hole.first, hole.seq, [hole.contents()]) for hole in survey.end()]
    if unseen := _beyond(state, numbering, survey.last):
        # Packs behind the last one that is left: how many is unknown, but not what they held. If the receiver has
        # stored them, it takes this record for a pack that it has.
        behind = max(survey.newest, released) + 1
        gaps.append(make_gap(*numbering, behind, behind, [unseen]))
    outbox_tables.put_packs(into, gaps)
    result.lost += sum(gap.seq - gap.first + 1 for gap in gaps) + _give_up_unsound(into, numbering)


class _Survey:
    """Looks at an epoch's packs from the last to the first: what comes behind a hole tells what was packed by then.

    last: what the last pack that speaks of a thing says of it; newest: the last pack's seq.
    """

    def __init__(self, released: int):
        self.last: dict[str, Content] = {}
        self.newest = 0
        self._released = released
        self._start = 0  # of the pack that was looked at before
        self._after: dict[str, Content] = {}
        self._holes: list[_Hole] = []
        self._waiting: dict[str, list[_Hole]] = defaultdict(list)  # by thing, for what was packed before

    def keeps(self, first: int, seq: int, note: str) -> bool:
        """Whether this pack, whose seq is less than that of the one before, is to be kept."""
        if seq <= self._released or (self._start and seq >= self._start):
            return False
        content = read_note(note)[0]
        if self._start and seq < self._start - 1:
            self._missing(seq + 1)
        for thing in content.tallies:
            for hole in self._waiting.pop(thing, ()):
                hole.before[thing] = content.packed(thing)
            self.last.setdefault(thing, content)
        self._after.update(dict.fromkeys(content.tallies, content))
        self._start, self.newest = first, self.newest or seq
        return True

    def end(self) -> list[_Hole]:
        """All holes, when there are no more packs."""
        if self._start > self._released + 1:
            self._missing(self._released + 1)
        return self._holes

    def _missing(self, first: int) -> None:
        self._holes.append(_Hole(first, self._start - 1, dict(self._after)))
        for thing in self._after:
            self._waiting[thing].append(self._holes[-1])


def _beyond(state: State, numbering: Numbering, last: Mapping[str, Content]) -> Content | None:
    """What was packed in this epoch behind the last pack that is left, by the tallies; None if nothing was."""
    counts, tallies = {}, {}
    for (lane, epoch, thing), (read, suppressed) in state["tally"].items():
        name = str(thing)
        more = _number(read) - _number(suppressed) - (last[name].packed(name) if name in last else 0)
        if (lane, epoch) == numbering and more > 0:
            counts[name], tallies[name] = more, (_number(read), _number(suppressed))
    end = max((content.span[1] for content in last.values()), default=0)
    return Content(counts, tallies, (end, end)) if counts else None


def _give_up_unsound(into: sqlite3.Connection, numbering: Numbering) -> int:
    """Put gap records in the place of packs whose bodies are damaged. Returns how many there are."""
    count = 0
    query = "SELECT seq FROM pack WHERE lane = ? AND epoch = ?"
    for (seq,) in into.execute(query, numbering).fetchall():
        row = outbox_tables.pack(into, *numbering, seq)
        if row and not row.sound:
            outbox_tables.put_packs(into, [make_gap(*numbering, row.first, seq, [row.content])])
            count += 1
    return count


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number, though its row's checksum is right")
    return value
