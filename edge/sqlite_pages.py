"""Rows out of a damaged SQLite database: whatever page still reads as one of a table's, in the file or its log.

The format: https://www.sqlite.org/fileformat2.html (sections 1.5, 1.6, 2.1, 4). SQLite itself follows the tree from its
root, and gives up where a link is broken; here every page is looked at by itself, whether or not anything leads to it.
So old versions of rows come out too, and rows that were deleted: whoever asks must know a good row from a bad one, and
the newest from the others. Pure: bytes in, rows out.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Value = int | float | str | bytes | None

# What a page begins with, for those that hold rows of tables WITHOUT ROWID, and the place of the first cell's pointer
_KINDS = {0x02: 12, 0x0A: 8}  # inside the tree, at its edge
_FIRST_PAGE_HEADER = 100
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # of the serial types 0..6
_MOST_BYTES = 8_000_000  # a longer row is none of ours

_LOG_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_LOG_MAGIC = 0x377F0682  # the lowest bit: checksums of big-endian words


class Frame(NamedTuple):
    """A page in the log. commit: it says that it ends a transaction. valid: its checksum continues the one before."""

    number: int
    page: bytes
    commit: bool
    valid: bool


def frames_of(log: bytes, page_bytes: int) -> list[Frame]:
    """The frames of a log's present generation, in order; empty if its header is not one."""
    if len(log) < _LOG_HEADER.size:
        return []
    magic, _, _, _, *salt, one, two = _LOG_HEADER.unpack_from(log)
    if magic & ~1 != _LOG_MAGIC:
        return []
    order = ">" if magic & 1 else "<"
    frames = []
    before = (one, two)
    for at in range(_LOG_HEADER.size, len(log) - _FRAME_HEADER.size - page_bytes + 1, _FRAME_HEADER.size + page_bytes):
        number, size, *its_salt, one, two = _FRAME_HEADER.unpack_from(log, at)
        page = log[at + _FRAME_HEADER.size : at + _FRAME_HEADER.size + page_bytes]
        if its_salt == salt:
            valid = _checksum(log[at : at + 8] + page, before, order) == (one, two)
            frames.append(Frame(number, page, size > 0, valid))
        else:
            frames.append(Frame(0, page, False, False))  # of an older generation, or damaged
        before = (one, two)
    while frames and not frames[-1].valid:
        frames.pop()
    return frames


def cut_short(frames: list[Frame]) -> bool:
    """Whether SQLite would use less of the log than was committed: it stops at the first frame that is not valid.

    A transaction begins to be written when the one before it is on disk. So behind a bad frame whole frames of the same
    transaction may be there, whose writing the power cut short; those of the next one tell that the log is damaged. As
    a bad frame may have been the end of its transaction, damage to one of the last two is not told from a power cut.
    """
    broken = ended = False
    for frame in frames:
        if ended and frame.valid:
            return True
        broken |= not frame.valid
        ended |= broken and frame.valid and frame.commit
    return False


def rows_of(pages: Mapping[int, bytes], number: int) -> Iterator[tuple[Value, ...]]:
    """The rows that begin on this page, as far as they can be read."""
    page = pages[number]
    start = _FIRST_PAGE_HEADER if number == 1 else 0
    pointers = _KINDS.get(page[start])
    if pointers is None:
        return
    (count,) = struct.unpack_from(">H", page, start + 3)
    for place in range(start + pointers, min(start + pointers + 2 * count, len(page) - 1), 2):
        (at,) = struct.unpack_from(">H", page, place)
        if page[start] == 0x02:
            at += 4  # the link to the page below
        try:
            yield _record(_payload(pages, page, at))
        except (IndexError, ValueError, struct.error):
            continue  # damaged


def _payload(pages: Mapping[int, bytes], page: bytes, at: int) -> bytes:
    """A cell's bytes, with those on its overflow pages. Raises ValueError."""
    size, at = _varint(page, at)
    if size > _MOST_BYTES:
        raise ValueError("too long")
    usable = len(page)
    most = (usable - 12) * 64 // 255 - 23
    if size <= most:
        return _taken(page, at, size)
    least = (usable - 12) * 32 // 255 - 23
    here = least + (size - least) % (usable - 4)
    here = here if here <= most else least
    parts = [_taken(page, at, here)]
    (following,) = struct.unpack_from(">I", page, at + here)
    left = size - here
    while left > 0:
        overflow = pages.get(following)
        if overflow is None:
            raise ValueError("its overflow is gone")
        (following,) = struct.unpack_from(">I", overflow)
        parts.append(overflow[4 : 4 + left])
        left -= usable - 4
    return b"".join(parts)


def _record(payload: bytes) -> tuple[Value, ...]:
    """The values of a record. Raises ValueError."""
    header_end, at = _varint(payload, 0)
    values: list[Value] = []
    place = header_end
    while at < header_end:
        kind, at = _varint(payload, at)
        size = _size(kind)
        values.append(_value(kind, _taken(payload, place, size)))
        place += size
    if place != len(payload) or at != header_end:
        raise ValueError("its header and its length differ")
    return tuple(values)


def _size(kind: int) -> int:
    if kind < len(_INTEGER_BYTES):
        return _INTEGER_BYTES[kind]
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else 0


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind == 7:
        found: float = struct.unpack(">d", data)[0]
        return found
    if kind < 7:
        return int.from_bytes(data, "big", signed=True)
    if kind in (8, 9):
        return kind - 8
    if kind < 12:
        raise ValueError("a reserved type")
    return data if kind % 2 == 0 else data.decode()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(8):
        value = value << 7 | data[at + count] & 0x7F
        if data[at + count] < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9


def _taken(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("cut off")
    return data[at : at + size]


def _checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = before
    for word, following in struct.iter_unpack(f"{order}II", data):
        one = one + word + two & 0xFFFFFFFF
        two = two + following + one & 0xFFFFFFFF
    return one, two
