"""Time: a monotonic clock that does not wrap, and Unix time once the board knows it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Hal(Protocol):
        """What the clock needs of a port (firmware/hal)."""

        def ticks_ms(self) -> int: ...
        def ticks_diff(self, after: int, before: int) -> int: ...
        def unix_ms(self) -> "int | None": ...
        def random_bits(self, count: int) -> int: ...


class Clock:
    """Milliseconds since the start, and Unix time once the board knows it. To be asked at least once a day."""

    def __init__(self, hal: "Hal"):
        self._hal = hal
        self._ticks = hal.ticks_ms()
        self._elapsed_ms = 1  # 0 is no time at all

    def monotonic_ms(self) -> int:
        """Milliseconds of this start's own clock: always positive, never steps, begins anew with each start."""
        ticks = self._hal.ticks_ms()
        self._elapsed_ms += self._hal.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._elapsed_ms

    def unix_ms(self) -> "int | None":
        """Unix milliseconds, or None while the board has no wall clock."""
        return self._hal.unix_ms()
