"""When which device of a Modbus line is asked next. Pure: times come in as arguments, in seconds of a steady clock.

Devices that answer are polled on the raster of their periods, the one that is most overdue first, so a line with more
work than time is shared fairly; a cycle that could not be kept is counted and not made up for. Devices that do not
answer are only probed, one short request at a time, where it fits between two polls: each at gaps that double up to
PROBE_MOST_S, and all of them together in at most PROBE_SHARE of the line's time, whatever their number. So each of n
silent devices whose probes take t is probed every max(PROBE_MOST_S, n t / PROBE_SHARE) where there is room; where there
is none, a probe comes PROBE_MOST_S late; and where nobody answers, there is nobody to leave the time to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

PROBE_SHARE = 0.05
PROBE_FIRST_S = 0.25
PROBE_MOST_S = 2.0


@dataclass(eq=False)
class Poll:
    """Metrics of one unit with a period of their own. `due_s` is set by the schedule."""

    unit: "Unit"
    period_s: float
    phase_s: float = 0.0
    due_s: float = 0.0


@dataclass(eq=False)
class Unit:
    """A device as the schedule sees it."""

    polls: list[Poll] = field(default_factory=list)
    silent: bool = False
    probe_s: float = 0.0  # when it may be probed next
    gap_s: float = 0.0  # between its probes
    probe_takes_s: float = 0.0  # at most


class Schedule:
    """What is due on one line. apart_s: between two requests to a unit, if the first one was not answered."""

    def __init__(self, units: Sequence[Unit], apart_s: float = 0.0):
        self._units = units
        self._polls = [poll for unit in units for poll in unit.polls]
        self._apart_s = apart_s
        self._probe_from_s = 0.0

    def start(self, now_s: float) -> None:
        """Begin anew: everything is due by its phase, and who was silent before is probed at once."""
        self._probe_from_s = now_s
        for unit in self._units:
            unit.probe_s = now_s
        for poll in self._polls:
            poll.due_s = now_s + poll.phase_s

    def next(self, now_s: float) -> tuple[float, Poll | Unit]:
        """When to act next, and what to poll or, if it is a unit, to probe. Of two that are due the poll goes first."""
        poll = min((poll for poll in self._polls if not poll.unit.silent), key=lambda poll: poll.due_s, default=None)
        probe = self._next_probe()
        if probe is None:
            assert poll is not None, "a unit without polls is never silent"
            return poll.due_s, poll
        if poll is None:
            return probe.probe_s, probe
        probe_s = max(probe.probe_s, self._probe_from_s)
        overdue = now_s >= probe_s + PROBE_MOST_S  # on a line that is always busy, it would never come
        if overdue or max(probe_s, now_s) + probe.probe_takes_s <= poll.due_s:
            return probe_s, probe
        return poll.due_s, poll

    def _next_probe(self) -> Unit | None:
        return min((unit for unit in self._units if unit.silent), key=lambda unit: unit.probe_s, default=None)

    def polled(self, poll: Poll, now_s: float) -> int:
        """The poll has been made; returns how many of its cycles were missed."""
        poll.due_s += poll.period_s
        if poll.due_s > now_s:
            return 0
        missed = int((now_s - poll.due_s) / poll.period_s) + 1
        poll.due_s += missed * poll.period_s
        return missed

    def fell_silent(self, unit: Unit, asked_s: float, now_s: float) -> None:
        """The device gave no answer to a poll."""
        unit.silent = True
        unit.gap_s = PROBE_FIRST_S
        unit.probe_s = max(now_s + unit.gap_s, asked_s + self._apart_s)

    def probed(self, unit: Unit, asked_s: float, now_s: float, *, answered: bool) -> None:
        """A probe has been made; a device that answers is polled at once."""
        if answered:
            unit.silent = False
            for poll in unit.polls:  # on its raster still
                poll.due_s += (now_s - poll.due_s) // poll.period_s * poll.period_s
            return
        self._probe_from_s = now_s + (now_s - asked_s) * (1 / PROBE_SHARE - 1)
        unit.gap_s = min(2 * unit.gap_s, PROBE_MOST_S)
        unit.probe_s = max(now_s + unit.gap_s, asked_s + self._apart_s)
