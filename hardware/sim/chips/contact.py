"""A contact at a pin, such as a door's or a detector's relay, that closes and opens at given times."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.sim.shims.simboard import Line


class Contact:
    """`changes`: (milliseconds, level or None for an open contact), in order, beginning anew each `repeat_ms`."""

    PIN = "contact"

    def __init__(
        self,
        lines: "dict[str, Line]",
        clock: "Callable[[], int]",
        changes: "Sequence[tuple[int, int | None]]",
        repeat_ms: "int | None" = None,
    ) -> None:
        self._line = lines[self.PIN]
        self._changes = changes
        self._repeat_us = repeat_ms * 1000 if repeat_ms else None
        self._round_us = 0
        self._next = 0

    def become(self, level: "int | None") -> None:
        """The contact is so now."""
        self._line.drive(level)

    def advance(self, to_us: int) -> None:
        """Go through all changes until then, so that short pulses are seen too."""
        while self._next < len(self._changes):
            at_ms, level = self._changes[self._next]
            if self._round_us + at_ms * 1000 > to_us:
                return
            self.become(level)
            self._next += 1
            if self._next == len(self._changes) and self._repeat_us:
                self._next = 0
                self._round_us += self._repeat_us
