"""Inputs for contacts and detectors: doors, motion, smoke, lids. Debounced, and supervised where the wiring allows it.

A plain contact between pin and ground is active when it is open, so that a cut wire is told as an alarm. On a loop with
two resistors of the end of line a cut and a short are told apart from both: R in series with the contact, R across it,
and a pull-up of R, so that the converter sees 1/2 of the supply at rest, 2/3 of it when active, all when cut, none when
shorted.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.hal import AnalogIn, DigitalIn

_SHORTED, _ACTIVE, _CUT = 16384, 38229, 54613  # of 65535: midway between the four voltages


class Debounce:
    """Believes a state that has lasted: `on_ms` to become active, `off_ms` to end."""

    def __init__(self, on_ms: int, off_ms: int):
        self._needed_ms = (off_ms, on_ms)
        self._since_ms: "int | None" = None  # when it began to be another one
        self.state: "bool | None" = None  # None before the first look

    def feed(self, state: bool, now_ms: int) -> bool:
        """What is seen now; whether the state that is believed has changed by it."""
        if self.state is None or state == self.state:
            changed = self.state is None
            self.state, self._since_ms = state, None
            return changed
        if self._since_ms is None:
            self._since_ms = now_ms
        if now_ms - self._since_ms < self._needed_ms[state]:
            return False
        self.state, self._since_ms = state, None
        return True


class Contact:
    """A contact or a detector's output: active while it is high."""

    def __init__(self, line: "DigitalIn", *, on_ms: int, off_ms: int):
        self._line = line
        self._debounce = Debounce(on_ms, off_ms)

    @property
    def active(self) -> bool:
        """Open, or detecting."""
        return bool(self._debounce.state)

    def look(self, now_ms: int) -> bool:
        """To be called every few milliseconds; whether something has changed."""
        return self._debounce.feed(bool(self._line.value()), now_ms)


class SupervisedLoop:
    """A contact with two resistors of the end of line; `tampered`: the loop is cut or shorted."""

    def __init__(self, converter: "AnalogIn", *, on_ms: int, off_ms: int):
        self._converter = converter
        self._active = Debounce(on_ms, off_ms)
        self._tampered = Debounce(on_ms, off_ms)

    @property
    def active(self) -> bool:
        """Open, or detecting; what it was before, while it is tampered with."""
        return bool(self._active.state)

    @property
    def tampered(self) -> bool:
        """Cut or shorted."""
        return bool(self._tampered.state)

    def look(self, now_ms: int) -> bool:
        """To be called every few milliseconds; whether something has changed."""
        level = self._converter.read_u16()
        tampered = not _SHORTED <= level < _CUT
        changed = self._tampered.feed(tampered, now_ms)
        if not tampered:
            changed = self._active.feed(level >= _ACTIVE, now_ms) or changed
        return changed
