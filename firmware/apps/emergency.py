"""The SOS button and what it means, as a state machine without pin and clock.

Held for two seconds it calls for help, which no bump against a table does. While a fall is suspected a short press
says that all is well. An alarm that is on ends only when the button is held for five seconds: who presses in distress
presses often. What is on stays on through a restart, if it is given at construction.
"""

_CALL_MS, _END_MS = 2000, 5000

NOTHING, WELL, CALLED, ENDED = range(4)


class Emergency:
    """`sos` and `fall`: which alarms are on. `look` is told whether the button is down, debounced, every few ms."""

    def __init__(self, *, sos: bool = False, fall: bool = False):
        self.sos = sos
        self.fall = fall
        self._down_ms: "int | None" = None  # since when
        self._done = False  # this press has had its effect

    @property
    def is_down(self) -> bool:
        """Whether the button is held."""
        return self._down_ms is not None

    def look(self, down: bool, now_ms: int) -> int:
        """What the button has said by now: NOTHING, WELL (a short press), CALLED or ENDED."""
        if not down:
            short = self._down_ms is not None and not self._done
            self._down_ms = None
            return WELL if short else NOTHING
        if self._down_ms is None:
            self._down_ms, self._done = now_ms, False
        if self._done:
            return NOTHING
        held_ms = now_ms - self._down_ms
        if self.sos or self.fall:
            if held_ms < _END_MS:
                return NOTHING
            self.sos = self.fall = False
            self._done = True
            return ENDED
        if held_ms < _CALL_MS:
            return NOTHING
        self.sos = self._done = True
        return CALLED
