"""The journal: packs on flash until the gateway has them, whole after a loss of power at any byte.

One directory of append-only segments, `<epoch>-<first seq>.seg`. A record is length (u16), how many readings the pack
holds (u16), CRC-32 of both and of the payload (u32), payload; its seq is its place. What does not check at the end of a
segment was being written when power failed, and counts as never written. Every start opens a new epoch, so nothing is
ever appended behind such a tail.

The size is bounded: the oldest segment gives way, and `<epoch>.gap` keeps in its place which packs it held and
how many readings each, so that every one of them can still be sent as a gap record.
"""

import json
import os
import struct
from binascii import crc32

from firmware.core import files
from firmware.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = "<HHI"
_HEAD_BYTES = struct.calcsize(_HEAD)
_SEGMENTS = 16
_SMALLEST_SEGMENT = 256


class _Segment:
    """One file. `last` is first - 1 while it is empty; `position` is where the record of seq `at` begins."""

    def __init__(self, path: str, epoch: int, first: int):
        self.path = path
        self.epoch = epoch
        self.first = first
        self.last = first - 1
        self.size = 0
        self.at = first
        self.position = 0


class Journal:
    """Packs by (epoch, seq). `lost_readings` counts what had to give way since this start."""

    def __init__(self, directory: str, *, limit_bytes: int):
        files.make_directory(directory)
        self._directory = directory
        self._limit = limit_bytes
        self._segment_bytes = max(limit_bytes // _SEGMENTS, _SMALLEST_SEGMENT)
        self._segments: "list[_Segment]" = []  # oldest first; the last one is appended to once an epoch is open
        self._gaps: "dict[int, list[list[int]]]" = {}  # epoch -> runs of [first seq, last seq, readings in each]
        self._released: "dict[int, int]" = {}
        self._open: "int | None" = None
        self._next = 1
        self.lost_readings = 0
        self._load()

    def epochs(self) -> "list[tuple[int, int, int]]":
        """What is held, oldest epoch first: (epoch, first seq, last seq)."""
        spans: "dict[int, tuple[int, int]]" = {}
        for segment in self._segments:
            first, _ = spans.get(segment.epoch, (segment.first, 0))
            spans[segment.epoch] = (first, segment.last)
        for epoch, runs in self._gaps.items():
            last = max(runs[-1][1], spans.get(epoch, (0, 0))[1])
            spans[epoch] = (min(runs[0][0], spans.get(epoch, (runs[0][0], 0))[0]), last)
        return [(epoch, spans[epoch][0], spans[epoch][1]) for epoch in sorted(spans)]

    def open(self, epoch: int) -> None:
        """From now on packs are appended to this epoch, from seq 1."""
        self._open = epoch
        self._next = 1
        self._drop_released()

    def append(self, payload: bytes, readings: int) -> int:
        """Keep a pack of so many readings; returns its seq. Raises JournalError if the flash refuses it."""
        if self._open is None:
            raise JournalError("no epoch is open")
        if not 0 < len(payload) <= min(0xFFFF, self._segment_bytes - _HEAD_BYTES):
            raise JournalError(f"a pack of {len(payload)} bytes does not fit")
        segment = self._segment_for(len(payload) + _HEAD_BYTES)
        sizes = struct.pack("<HH", len(payload), readings)
        record = sizes + struct.pack("<I", crc32(payload, crc32(sizes))) + payload
        try:
            with open(segment.path, "ab") as file:
                file.write(record)
                file.flush()
        except OSError as error:
            self._abandon(segment)
            raise JournalError(f"{segment.path} cannot be written: {error}") from error
        segment.size += len(record)
        segment.last += 1
        self._next = segment.last + 1
        return segment.last

    def read(self, epoch: int, seq: int) -> "tuple[bytes | None, int]":
        """A pack's payload, or None if it had to give way, and how many readings it holds. Raises JournalError."""
        for segment in self._segments:
            if segment.epoch == epoch and segment.first <= seq <= segment.last:
                return self._read_from(segment, seq)
        for first, last, readings in self._gaps.get(epoch, ()):
            if first <= seq <= last:
                return None, readings
        raise JournalError(f"pack {epoch}/{seq} is not held")

    def release(self, epoch: int, upto: int) -> None:
        """The packs of the epoch up to this seq are in the gateway's keeping."""
        self._released[epoch] = max(upto, self._released.get(epoch, 0))
        runs = [run for run in self._gaps.get(epoch, ()) if run[1] > upto]
        if not runs and self._gaps.pop(epoch, []):
            os.unlink(self._gap_path(epoch))
        elif runs:
            self._gaps[epoch] = runs
        self._drop_released()

    def size(self) -> int:
        """Bytes in all segments."""
        return sum(segment.size for segment in self._segments)

    # --- segments ---

    def _segment_for(self, record_bytes: int) -> _Segment:
        live = self._segments[-1] if self._segments else None
        if live is None or live.epoch != self._open or live.size + record_bytes > self._segment_bytes:
            epoch = self._open or 0
            path = f"{self._directory}/{epoch:016x}-{self._next:08x}.seg"
            live = _Segment(path, epoch, self._next)
            self._segments.append(live)
            self._drop_released()
        while self.size() + record_bytes > self._limit and len(self._segments) > 1:
            self._give_way()
        return live

    def _abandon(self, segment: _Segment) -> None:
        """Part of a record may be in the file: the next one goes into a new file."""
        if segment.last < segment.first:
            self._segments.remove(segment)
            _unlink(segment.path)
        else:
            segment.size = self._segment_bytes

    def _drop_released(self) -> None:
        """Delete what is released whole; the segment that is appended to stays, so that not each pack costs a file."""
        kept = []
        for segment in self._segments:
            live = segment is self._segments[-1] and segment.epoch == self._open
            if segment.last <= self._released.get(segment.epoch, 0) and not live:
                _unlink(segment.path)
            else:
                kept.append(segment)
        self._segments = kept
        present = {segment.epoch for segment in kept} | {self._open}
        self._released = {epoch: upto for epoch, upto in self._released.items() if epoch in present}

    def _give_way(self) -> None:
        """The oldest segment goes; the gap record is durable before its packs are deleted."""
        segment = self._segments.pop(0)
        runs = self._gaps.setdefault(segment.epoch, [])
        released = self._released.get(segment.epoch, 0)
        for seq, _, readings in self._records(segment):
            if seq > released:
                _add_to_runs(runs, seq, readings)
                self.lost_readings += readings
        runs.sort()
        if runs:
            files.write(self._gap_path(segment.epoch), json.dumps(runs).encode())
        else:
            del self._gaps[segment.epoch]
        _unlink(segment.path)

    def _records(self, segment: _Segment) -> "Iterator[tuple[int, int, int]]":
        """(seq, position, readings) of each record known to be whole."""
        position = 0
        with open(segment.path, "rb") as file:
            for seq in range(segment.first, segment.last + 1):
                length, readings, _ = struct.unpack(_HEAD, file.read(_HEAD_BYTES))
                yield seq, position, readings
                position += _HEAD_BYTES + length
                file.seek(position)

    def _read_from(self, segment: _Segment, seq: int) -> "tuple[bytes, int]":
        """Packs are asked for in order, so the search goes on from where the last one was found."""
        if seq < segment.at:
            segment.at, segment.position = segment.first, 0
        with open(segment.path, "rb") as file:
            while True:
                file.seek(segment.position)
                length, readings, _ = struct.unpack(_HEAD, file.read(_HEAD_BYTES))
                if segment.at == seq:
                    return file.read(length), readings
                segment.position += _HEAD_BYTES + length
                segment.at += 1

    def _gap_path(self, epoch: int) -> str:
        return f"{self._directory}/{epoch:016x}.gap"

    # --- at start ---

    def _load(self) -> None:
        names = sorted(os.listdir(self._directory))
        for name in names:
            path = self._directory + "/" + name
            if name.endswith(".gap"):
                self._gaps[int(name[:16], 16)] = json.loads(files.read(path) or b"[]")
            elif name.endswith(".new"):
                os.unlink(path)  # a replacement that was not finished
        for name in names:
            if name.endswith(".seg"):
                self._load_segment(_Segment(f"{self._directory}/{name}", int(name[:16], 16), int(name[17:25], 16)))

    def _load_segment(self, segment: _Segment) -> None:
        _check(segment)
        runs = self._gaps.get(segment.epoch, ())
        # Power can fail between the writing of a gap record and the deletion of what it stands for.
        given_way = any(first <= segment.last and segment.first <= last for first, last, _ in runs)
        if given_way or segment.last < segment.first:
            _unlink(segment.path)
            return
        self._close_hole(segment)
        self._segments.append(segment)

    def _close_hole(self, segment: _Segment) -> None:
        """A record damaged in the middle of the segment before hid those behind it; how many readings is not known."""
        before = self._segments[-1] if self._segments else None
        if before is not None and before.epoch == segment.epoch:
            for seq in range(before.last + 1, segment.first):
                _add_to_runs(self._gaps.setdefault(segment.epoch, []), seq, 1)


def _check(segment: _Segment) -> None:
    """Find the segment's last whole record."""
    with open(segment.path, "rb") as file:
        while True:
            head = file.read(_HEAD_BYTES)
            if len(head) < _HEAD_BYTES:
                return
            length, _, crc = struct.unpack(_HEAD, head)
            payload = file.read(length)
            if not length or len(payload) < length or crc32(payload, crc32(head[:4])) != crc:
                return
            segment.size += _HEAD_BYTES + length
            segment.last += 1


def _add_to_runs(runs: "list[list[int]]", seq: int, readings: int) -> None:
    if runs and runs[-1][1] == seq - 1 and runs[-1][2] == readings:
        runs[-1][1] = seq
    else:
        runs.append([seq, seq, readings])


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        # A segment that was opened but not yet written to has no file.
        if error.errno != 2:
            raise
