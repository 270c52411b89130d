"""When doses are due: a plan in local time, and a zone that says what local time is. Pure, in integers.

A minute of local time is counted from 1970-01-01 00:00 on the wall, whatever the zone: an occurrence of an entry is one
such minute, so it is the same one before and after a journey or a change of the clocks. An occurrence is due at the
first instant at which the wall clock shows its minute or a later one: one that is skipped when the clocks go forward is
due at that moment, one that comes twice when they go back is due the first time.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    class Entry(NamedTuple):
        """A dose of each of some weekdays: minute of the day (0-1439), weekdays as bits (Monday 1, Sunday 64)."""

        minute: int
        weekdays: int

    class Plan(NamedTuple):
        """Entries in the order of their minutes, each minute once.

        window_s: how long after it is due a dose may be dispensed. least_gap_s: at least so long between two doses.
        until_s: the Unix time from which on nothing may be dispensed by it.
        """

        version: int
        entries: "tuple[Entry, ...]"
        window_s: int
        least_gap_s: int
        until_s: int

else:
    Entry = namedtuple("Entry", ("minute", "weekdays"))
    Plan = namedtuple("Plan", ("version", "entries", "window_s", "least_gap_s", "until_s"))

DAY = 1440
EVERY_DAY = 0x7F
_KEPT = 3  # offsets of the past: doses that were due under them may still be open
_THURSDAY = 3  # 1970-01-01 was one


def local_minute(zone: "Sequence[Sequence[int]]", unix_s: int) -> int:
    """What the wall clock shows. A zone is a list of [from when on (Unix seconds), offset from UTC in minutes]."""
    offset = zone[0][1]
    for since, minutes in zone:
        if since > unix_s:
            break
        offset = minutes
    return unix_s // 60 + offset


def instant(zone: "Sequence[Sequence[int]]", minute: int) -> int:
    """The first Unix second at which the wall clock shows this minute or a later one."""
    for place, (since, offset) in enumerate(zone):
        shown = (minute - offset) * 60
        if place and shown < since:
            shown = since
        if place + 1 == len(zone) or shown < zone[place + 1][0]:
            return shown
    raise ValueError("a zone must have an offset")


def travelled(zone: "Sequence[Sequence[int]]", unix_s: int, arrived: "Sequence[Sequence[int]]") -> "list[list[int]]":
    """The zone of somebody who is somewhere else from now on: the old one so far, then the one of where they are."""
    before = [[since, offset] for since, offset in zone if since < unix_s]
    now = local_minute(arrived, unix_s) - unix_s // 60
    return before[-_KEPT:] + [[unix_s, now]] + [[since, offset] for since, offset in arrived if since > unix_s]


def next_after(plan: Plan, minute: int) -> "int | None":
    """The plan's first occurrence after this local minute, or None if it has none."""
    for day in range(minute // DAY, minute // DAY + 8):
        for entry in plan.entries:
            occurrence = day * DAY + entry.minute
            if occurrence > minute and entry.weekdays >> (day + _THURSDAY) % 7 & 1:
                return occurrence
    return None


def problem_of(plan: Plan) -> str:
    """What is wrong with a plan; empty if nothing is. Two doses may never be due within the window of one."""
    minutes = [entry.minute for entry in plan.entries]
    if not minutes or minutes != sorted(set(minutes)) or not 0 <= minutes[0] <= minutes[-1] < DAY:
        return "its minutes must be those of a day, in order, each once"
    if not all([0 < entry.weekdays <= EVERY_DAY for entry in plan.entries]):
        return "an entry has no weekday"
    gaps = [after - before for before, after in zip(minutes, minutes[1:] + [minutes[0] + DAY])]
    if not 0 < plan.window_s < 60 * min(gaps):
        return "its window must be shorter than the time between two doses"
    if not 0 <= plan.least_gap_s <= 60 * min(gaps):
        return "the least gap must not be longer than the time between two doses"
    return ""
