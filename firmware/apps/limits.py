"""What a sensor node decides by itself: which readings are worth sending, and when a limit is passed.

The gateway's alarm rules do far more (protocols/alarm, some 30 kB of heap); these go on when there is no gateway.
Values are whole numbers, the mantissas of readings.
"""


class Deadband:
    """Passes what differs by more than `width` from the last one passed, or in quality; and one after each silence."""

    def __init__(self, width: int, silence_ms: int):
        self._width = width
        self._silence_ms = silence_ms
        self._value: "int | None" = None
        self._quality: "int | None" = None
        self._passed_ms = 0

    def passes(self, value: "int | None", quality: int, now_ms: int) -> bool:
        """Whether this reading is to be sent."""
        same = quality == self._quality and now_ms - self._passed_ms < self._silence_ms
        if same and (value is None or self._value is None or abs(value - self._value) <= self._width):
            return False
        self._value, self._quality, self._passed_ms = value, quality, now_ms
        return True


class Limit:
    """Active beyond `above` or `below`, until the value is back by more than `hysteresis`."""

    def __init__(self, *, above: "int | None" = None, below: "int | None" = None, hysteresis: int = 0):
        self._above = above
        self._below = below
        self._hysteresis = hysteresis
        self.active = False

    def feed(self, value: int) -> bool:
        """Take a value; whether it has become active or ended by it."""
        back = self._hysteresis if self.active else 0
        high = self._above is not None and (value > self._above - back)
        low = self._below is not None and (value < self._below + back)
        if (high or low) == self.active:
            return False
        self.active = not self.active
        return True
