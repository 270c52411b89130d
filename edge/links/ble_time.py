"""A Bluetooth device's own clock: local time without a zone, right or wrong, and when its records were made by ours.

Source: Bluetooth SIG Current Time Service 1.1 (2A2B) and the Date Time characteristic (2A08).
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from edge.clock import is_unix
from edge.links.base import Clock
from protocols import gatt
from protocols.reading import TIME_ESTIMATED, DecimalFraction, reading

TOLERANCE_MS = 60_000  # a clock that is right to the minute is right
EXACT_MS = 1_000  # one that is right to the second need not be set
OLDEST_MS = 2 * 365 * 86_400_000  # of a record, where the clock cannot be read: older ones come of a clock never set

_FORMAT = "%Y-%m-%dT%H:%M:%S"


class DeviceClock:
    """What is known of a device's clock in one connection, and the times that follow from it."""

    def __init__(self, clock: Clock, zone: ZoneInfo | None):
        self._clock = clock
        self._zone = zone  # None: the system's
        self.ahead_ms: int | None = None  # by how much it was before ours; None: it cannot be read
        self._set_ms: int | None = None  # when we set it

    @property
    def wrong(self) -> bool:
        """Whether it is known to be wrong."""
        return self.ahead_ms is not None and abs(self.ahead_ms) > TOLERANCE_MS

    @property
    def is_set(self) -> bool:
        """Whether it was set in this connection."""
        return self._set_ms is not None

    @property
    def may_be_set(self) -> bool:
        """Whether ours is known."""
        return is_unix(self._clock())

    def was_set(self) -> None:
        """We have set it now."""
        self._set_ms = self._clock()

    def read(self, text: str) -> None:
        """Its clock shows this time now. A date with unknown parts tells nothing; none does while ours is unknown."""
        shown, now = self._unix_ms(text), self._clock()
        self.ahead_ms = None if shown is None or not is_unix(now) else shown[0] - now

    def time_of(self, text: str | None, *, offset_min: int = 0, stored: bool = False) -> tuple[int, int]:
        """When a record of that date and time was made: Unix milliseconds, and TIME_ESTIMATED or 0.

        offset_min: what the record adds to its date; stored: it was not made just now. Without a date that can be
        used it is the time of arrival.
        """
        now = self._clock()
        shown = None if text is None else self._unix_ms(text)
        if shown is None:
            return now, TIME_ESTIMATED if stored or text is not None else 0
        stamp, ambiguous = shown[0] + offset_min * 60_000, shown[1]
        if not is_unix(now):
            return stamp, TIME_ESTIMATED  # nobody here knows better
        since_set = self._set_ms is not None and self._set_ms - TOLERANCE_MS <= stamp <= now + TOLERANCE_MS
        if self.ahead_ms is not None and self.wrong and not since_set:
            return min(stamp - self.ahead_ms, now), TIME_ESTIMATED
        if stamp > now + TOLERANCE_MS or (self.ahead_ms is None and stamp < now - OLDEST_MS):
            return now, TIME_ESTIMATED
        return min(stamp, now), TIME_ESTIMATED if ambiguous else 0

    def current_time(self) -> bytes:
        """Our local time as the value of Current Time."""
        now = self._now()
        readings = [
            reading("device_time", now.strftime(_FORMAT), ""),
            reading("day_of_week", now.isoweekday(), ""),
            reading("second_fraction", DecimalFraction(now.microsecond * 256 // 1_000_000 * 390_625, -8), "s"),
            reading("external_time_update", True, ""),
        ]
        return gatt.encode(gatt.CURRENT_TIME, readings)

    def date_time(self) -> bytes:
        """Our local time as the value of Date Time."""
        return gatt.encode(gatt.DATE_TIME, [reading("device_time", self._now().strftime(_FORMAT), "")])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC).astimezone(self._zone)

    def _unix_ms(self, text: str) -> tuple[int, bool] | None:
        """Unix milliseconds of a local time, and whether it was shown twice: in the night when summer time ends."""
        try:
            naive = datetime.strptime(text, _FORMAT).replace(tzinfo=self._zone)
            first, second = (naive.replace(fold=fold).timestamp() for fold in (0, 1))
        except (ValueError, OverflowError):  # an unknown year, month or day is zeros; the year 1 has no day before it
            return None
        return round(first * 1000), first < second
