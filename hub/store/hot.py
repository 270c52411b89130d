"""Hot rows: what one commit brought for 64 neighbouring streams, as plain records. Pure.

A stream's readings come one at a time, and those of different streams at once: rows by stream would touch a page of the
file for each reading, rows by arrival would make every query read everything. A shelf of streams is between the two.
"""

import json
from collections.abc import Iterable

import numpy as np

from hub.store.readings import NONE, RECORD, TEXT, Readings, compact, join, runs

_SHELF_BITS = 6

Row = tuple[bytes, str | None]  # records, and their texts as JSON


def shelf_of(stream: int) -> int:
    """The shelf whose rows hold this stream."""
    return stream >> _SHELF_BITS


def rows(readings: Readings) -> Iterable[tuple[int, Row]]:
    """(shelf, row) for each shelf that the readings speak of; within a row they stay in the order of arrival."""
    shelves = readings.records["stream"] >> _SHELF_BITS
    order = np.argsort(shelves, kind="stable")
    for begin, end in runs(shelves[order]):
        part = readings.records[order[begin:end]]
        texts = None
        if readings.texts and (part["kind"] == TEXT).any():
            part, told = compact(Readings(part, readings.texts))
            texts = json.dumps(told, ensure_ascii=False)
        yield shelf_of(int(part["stream"][0])), (part.tobytes(), texts)


def read(found: Iterable[Row]) -> Readings:
    """The readings of these rows, given in the order of their arrival."""
    given = list(found)
    if not any(texts for _, texts in given):
        data = b"".join(data for data, _ in given)
        return Readings(np.frombuffer(data, RECORD), ()) if data else NONE
    return join(Readings(np.frombuffer(data, RECORD), json.loads(texts) if texts else ()) for data, texts in given)
