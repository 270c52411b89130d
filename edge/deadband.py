"""Deadband: leaves out readings that say nothing new. A stream is never silent for longer than its heartbeat."""

from protocols.reading import Reading, Value, to_float

HEARTBEAT_MS = 60_000


class Deadband:
    """The filter of one stream: `width` in the metric's unit; None lets everything pass, 0 leaves out equal values."""

    def __init__(self, width: float | None, *, heartbeat_ms: int = HEARTBEAT_MS):
        self._width = width
        self._heartbeat_ms = heartbeat_ms
        self._last: Reading | None = None

    def passes(self, reading: Reading) -> bool:
        """Whether the reading is to be kept; it is then what the next ones are compared with."""
        last = self._last
        if (
            self._width is None
            or last is None
            or reading.quality != last.quality
            or reading.time_ms is None
            or last.time_ms is None
            or not 0 <= reading.time_ms - last.time_ms < self._heartbeat_ms  # also when the clock has stepped back
            or self._differs(reading.value, last.value, self._width)
        ):
            self._last = reading
            return True
        return False

    @staticmethod
    def _differs(value: Value, last: Value, width: float) -> bool:
        if value is None or last is None or isinstance(value, str) or isinstance(last, str):
            return value != last
        return abs(to_float(value) - to_float(last)) > width
