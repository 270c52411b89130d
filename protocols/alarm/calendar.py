"""Times of day, weekdays and dates, reckoned with whole numbers: there is no datetime on a microcontroller."""

from ..dates import DAY_S, date_of
from .keys import DAYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    # (name of a time zone, Unix ms) -> how many seconds its clocks are ahead of UTC then
    Offset = Callable[[str, int], int]

# Clocks are set at whole or half hours of UTC: so often an answer about later times is looked at again.
_RECHECK_MS = 1_800_000
_KNOWN_MS = 946_684_800_000  # the year 2000: a clock that says less has not been set


def utc(_zone: str, _time_ms: int) -> int:
    """The offset of whoever knows no time zones."""
    return 0


class Calendar:
    """Whether a time is within what a condition's `calendar` says, and when that may change."""

    def __init__(self, said: "Mapping[str, Any]", zone: str, offset: "Offset"):
        self._start_s, self._end_s = said["between"]
        self._days = [DAYS.index(day) for day in said["days"]]
        self._dates = said["dates"]
        self._not_dates = said["not_dates"]
        self._zone = zone
        self._offset = offset

    def holds(self, time_ms: int) -> "bool | None":
        """Whether it is so at this time; hours past midnight belong to the day on which they began.

        None if it is the time of a clock that has not been set.
        """
        if time_ms < _KNOWN_MS:
            return None
        day, second = divmod(time_ms // 1000 + self._offset(self._zone, time_ms), DAY_S)
        if self._start_s < self._end_s:
            if not self._start_s <= second < self._end_s:
                return False
        elif second < self._end_s:
            day -= 1
        elif second < self._start_s:
            return False
        if (day + 3) % 7 not in self._days:  # 1970-01-01 was a Thursday
            return False
        year, month, of_month = date_of(day)
        forms = ((year, month, of_month), (0, month, of_month))
        if self._dates and not any([form in self._dates for form in forms]):
            return False
        return not any([form in self._not_dates for form in forms])

    def due(self, time_ms: int) -> int:
        """The next time after this one at which to look again."""
        offset_s = self._offset(self._zone, time_ms)
        day, second = divmod(time_ms // 1000 + offset_s, DAY_S)
        bounds = [bound for bound in (self._start_s, self._end_s, DAY_S) if bound > second]
        bound_ms = (day * DAY_S + min(bounds) - offset_s) * 1000
        return min(bound_ms, (time_ms // _RECHECK_MS + 1) * _RECHECK_MS)
