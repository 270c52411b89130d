"""What the dispenser's display shows, as lines of text: pure, from the machine's state, the plan and the time.

A page is a tuple of at most four lines; a display shows the pages of a state one after the other. The first line is the
heading, unless it is large: then it takes two of the four rows.
"""

from collections import namedtuple

from firmware.apps import doses
from firmware.apps.texts import TEXTS
from protocols.medication import LANGUAGES
from protocols.schedule import DAY, local_minute, next_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from protocols.medication import MedicationPlan
    from protocols.schedule import Plan

    class Page(NamedTuple):
        """Lines from above; `large`: the first one in double size."""

        lines: "tuple[str, ...]"
        large: bool

else:
    Page = namedtuple("Page", ("lines", "large"))

WIDTH, ROWS = 128, 4
_NARROW, _WIDE = 8, 16
_LAST_NARROW = 126
_THURSDAY = 3
_PHASES = {  # in which nothing else counts, and what their pages say
    doses.UNSURE: (("unsure", "yes", "no", "call"), ("unsure", "look", "count unknown", "call")),
    doses.JAMMED: (("jammed", "opened", "yes", "no"), ("jammed", "look", "call")),
    doses.MOVING: (("moving",),),
}


def width(text: str) -> int:
    """In dots."""
    return sum([_NARROW if ord(character) <= _LAST_NARROW else _WIDE for character in text])


def wrapped(text: str) -> "list[str]":
    """The text as lines that fit: broken at blanks, in Chinese and where a word is too long anywhere."""
    lines = [""]
    for word in _pieces(text):
        if width((lines[-1] + word).strip()) > WIDTH:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines if line.strip()]


def _pieces(text: str) -> "list[str]":
    """What may not be broken: words with the blank behind them, and single wide characters."""
    pieces = [""]
    for character in text:
        wide = ord(character) > _LAST_NARROW
        if wide or pieces[-1][-1:] == " " or width(pieces[-1] + character) > WIDTH:
            pieces.append("")
        pieces[-1] += character
        if wide:
            pieces.append("")
    return pieces


def clock(minute: int) -> str:
    """The time of day of a local minute."""
    return f"{minute % DAY // 60:02d}:{minute % 60:02d}"


def local_text(minute: int) -> str:
    """A local minute as ISO 8601 has it, without an offset: what the wall clock shows."""
    days = minute // DAY
    year = 1970 + days * 400 // 146097
    while _days_before(year + 1) <= days:
        year += 1
    while _days_before(year) > days:
        year -= 1
    rest, month = days - _days_before(year), 1
    while rest >= _days_in(year, month):
        rest, month = rest - _days_in(year, month), month + 1
    return f"{year}-{month:02d}-{rest + 1:02d}T{clock(minute)}"


def _days_before(year: int) -> int:
    """From 1970 to the year's begin."""
    past = year - 1
    return 365 * (year - 1970) + past // 4 - past // 100 + past // 400 - 477


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


class Screens:
    """The pages for one plan, in its language."""

    def __init__(self, plan: "MedicationPlan", timetable: "Plan"):
        self._plan = plan
        self._timetable = timetable
        self._place = LANGUAGES.index(plan.language)

    def pages(self, state: "dict[str, Any]", unix_s: "int | None", *, remaining: "int | None") -> "list[Page]":
        """What to show now."""
        phase = state["phase"]
        left = self._count(remaining)
        if phase in _PHASES:
            shown = [self._page(*keys) for keys in _PHASES[phase]]
        elif phase == doses.TRAY:
            shown = self._medicines(self.say("tray"), left) + self._warnings()
        elif unix_s is None:
            shown = [self._page("no time", "call")]
        elif unix_s >= self._timetable.until_s:
            shown = [self._page("plan ended", "pharmacy")]
        elif phase == doses.DUE:
            shown = self._due(state, remaining, left)
        else:
            shown = self._waiting(state, unix_s, left)
        return shown

    def refusal(self, reason: str) -> "list[Page]":
        """Why the button did nothing."""
        return [self._page(reason)]

    def say(self, key: str, *values: object) -> str:
        """A text in the plan's language."""
        return TEXTS[key][self._place].format(*values)

    def _page(self, *keys: str) -> Page:
        return Page(tuple([self.say(key) for key in keys]), False)

    def _count(self, remaining: "int | None") -> str:
        return self.say("count unknown") if remaining is None else self.say("remaining", remaining)

    def _due(self, state: "dict[str, Any]", remaining: "int | None", left: str) -> "list[Page]":
        heading = clock(state["dose"][0]) + " " + self.say("due")
        if state["left"] is not None:
            return [self._page("left", "remove", "do not take")]
        if not remaining:
            return [self._page("empty", "refill"), Page((heading, self.say("no doses"), self.say("call")), False)]
        action = Page((heading, self.say("press"), left), False)
        return [action] + self._medicines(heading, left) + self._warnings()

    def _waiting(self, state: "dict[str, Any]", unix_s: int, left: str) -> "list[Page]":
        now = local_minute(state["zone"], unix_s)
        after = next_after(self._timetable, state["cursor"])
        lines = [clock(now), left]
        if after is not None:
            day = "" if after // DAY == now // DAY else self.say(f"day {(after // DAY + _THURSDAY) % 7}") + " "
            lines.insert(1, self.say("next", day + clock(after)))
        pages = [Page(tuple(lines), True)]
        if state["level"] == doses.ESCALATE:
            missed = self.say("missed") + " " + clock(state["cursor"])
            pages.append(Page((missed, self.say("call")), False))
        if state["left"] is not None:
            pages.append(self._page("left", "remove", "do not take"))
        if not state["remaining"]:
            pages.append(self._page("empty", "refill"))
        return pages

    def _medicines(self, heading: str, left: str) -> "list[Page]":
        """A page for each medicine, and more if its name is long."""
        pages = []
        for medicine in self._plan.medicines:
            lines = wrapped(medicine.name[self._place]) + wrapped(medicine.amount[self._place])
            if len(lines) < ROWS - 1:
                lines.append(left)
            pages += _paged(heading, lines)
        return pages

    def _warnings(self) -> "list[Page]":
        pages = []
        for warning in self._plan.warnings:
            pages += _paged(self.say("warning"), wrapped(warning[self._place]))
        return pages


def no_plan() -> "list[Page]":
    """What a device shows before it has one, in both languages."""
    return [Page(TEXTS["no plan"] + TEXTS["call"], False)]


def _paged(heading: str, lines: "list[str]") -> "list[Page]":
    step = ROWS - 1
    return [Page((heading,) + tuple(lines[at : at + step]), False) for at in range(0, len(lines), step)]
