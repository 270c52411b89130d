"""Steps: what is told of many readings in few numbers. Pure."""

from dataclasses import dataclass

import numpy as np

from hub.store.readings import Records, numbers


@dataclass(frozen=True)
class Step:
    """The usable numbers of one step of a history; it begins at `time_ms`."""

    time_ms: int
    min: float
    mean: float
    max: float
    last: float
    count: int


def steps_of(records: Records, step_ms: int) -> list[Step]:
    """The steps of readings that are in order of time; one without usable numbers is left out."""
    found, usable = numbers(records)
    found, times = found[usable], records["time_ms"][usable]
    if not len(found):
        return []
    begins = times // step_ms
    bounds = np.append(0, np.flatnonzero(np.diff(begins)) + 1)
    counts = np.diff(np.append(bounds, len(found)))
    columns = (
        begins[bounds] * step_ms,
        np.minimum.reduceat(found, bounds),
        np.add.reduceat(found, bounds) / counts,
        np.maximum.reduceat(found, bounds),
        found[bounds + counts - 1],
        counts,
    )
    return [Step(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
