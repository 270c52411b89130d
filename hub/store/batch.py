"""What one transaction brings: the readings of its packs, gathered as columns, and what follows from them. Pure."""

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from hub.store.readings import FLOAT, FORMED, INTEGER, RECORD, TEXT, Readings, form_and_number, without_noise
from protocols.pack import Column, Row

_QUALITY_SHIFT = 16
_BACKFILL = 1 << 24


def aliases_of(row: Row) -> list[int]:
    """The alias of each value of a row that was decoded."""
    return list(accumulate(row.steps))  # type: ignore[arg-type]  # what is decoded holds tuples


class Batch:
    """Readings in the order of their arrival."""

    def __init__(self) -> None:
        self._streams: list[int] = []
        self._forms: list[int] = []
        self._times: list[int] = []
        self._numbers: list[int] = []
        self._texts: list[str] = []

    def add_column(self, stream: int, column: Column, *, backfill: bool) -> None:
        """Readings of one stream."""
        late = _BACKFILL if backfill else 0
        for quality, value in zip(column.qualities, column.values, strict=True):
            if isinstance(value, str):
                form, number = TEXT, len(self._texts)
                self._texts.append(value)
            else:
                form, number = form_and_number(value)
            self._forms.append(form | quality << _QUALITY_SHIFT | late)
            self._numbers.append(number)
        self._times += column.times_ms
        self._streams += [stream] * len(column.times_ms)

    def add_row(self, streams: Sequence[int], row: Row, *, backfill: bool) -> None:
        """Good readings of these streams, in the order of the row's values, at its time."""
        values: Any = row.values
        count = len(streams)
        kind = INTEGER
        if isinstance(values[0], float):
            kind, values = FLOAT, struct.unpack(f"<{count}q", struct.pack(f"<{count}d", *values))
        elif max(values) >= 1 << 63:
            self._add_huge(streams, row, backfill=backfill)
            return
        self._streams += streams
        self._forms += [kind | (_BACKFILL if backfill else 0)] * count
        self._times += [row.time_ms] * count
        self._numbers += values

    def _add_huge(self, streams: Sequence[int], row: Row, *, backfill: bool) -> None:
        """Unsigned integers of 64 bits: those that are too large for ours become floats."""
        values: Any = row.values
        for stream, value in zip(streams, values, strict=True):
            self.add_column(stream, Column(0, [row.time_ms], [0], [value]), backfill=backfill)

    def readings(self) -> Readings:
        """All of them."""
        formed = np.zeros(len(self._streams), FORMED)
        formed["stream"], formed["form"] = self._streams, self._forms
        formed["time_ms"], formed["number"] = self._times, self._numbers
        made = Readings(formed.view(RECORD), self._texts)
        without_noise(made)
        return made
