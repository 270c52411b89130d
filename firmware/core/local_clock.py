"""Local time without a zone, as a phone or gateway sets it by Bluetooth's Current Time Service, and shows it again."""

from protocols import gatt
from protocols.dates import DAY_S, date_of, day_of
from protocols.errors import DecodeError
from protocols.reading import DecimalFraction, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.core.clock import Clock

_THURSDAY = 3  # 1970-01-01 was one
_FRACTION = 390625  # 10^-8 s: 1/256 s


class LocalClock:
    """Begins with what the board's clock shows (UTC), or unset. What it is set to lasts until the next start."""

    def __init__(self, clock: "Clock"):
        self._clock = clock
        self._ahead_ms: "int | None" = None  # of the monotonic clock; from 1970

    def text(self) -> "str | None":
        """ "2026-11-25T01:02:03", or None while nobody has set it."""
        now_ms = self._now_ms()
        if now_ms is None:
            return None
        day, second = divmod(now_ms // 1000, DAY_S)
        return "%04d-%02d-%02dT%02d:%02d:%02d" % (date_of(day) + (second // 3600, second // 60 % 60, second % 60))

    def current_time(self) -> bytes:
        """The value of the Current Time characteristic; zeros for an unknown date."""
        now_ms = self._now_ms() or 0
        text = self.text()
        said = [
            reading("device_time", text or "0000-00-00T00:00:00", ""),
            reading("day_of_week", (now_ms // 1000 // DAY_S + _THURSDAY) % 7 + 1 if text else 0, ""),
            reading("second_fraction", DecimalFraction(now_ms % 1000 * 256 // 1000 * _FRACTION, -8), "s"),
        ]
        return gatt.encode(gatt.CURRENT_TIME, said)

    def set(self, value: bytes) -> None:
        """Go by this Current Time value from now on. Raises DecodeError, also for a date that is none."""
        facts = {each.metric: each.value for each in gatt.decode(gatt.CURRENT_TIME, value)}
        text, fraction = str(facts["device_time"]), facts["second_fraction"]
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        whole = day_of(year, month, day) if year and month and day else None
        if whole is None or date_of(whole) != (year, month, day):
            raise DecodeError("current time", "an unknown date")
        second = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        more_ms = fraction.mantissa // _FRACTION * 1000 // 256 if isinstance(fraction, DecimalFraction) else 0
        self._ahead_ms = (whole * DAY_S + second) * 1000 + more_ms - self._clock.monotonic_ms()

    def _now_ms(self) -> "int | None":
        return self._clock.unix_ms() if self._ahead_ms is None else self._clock.monotonic_ms() + self._ahead_ms
