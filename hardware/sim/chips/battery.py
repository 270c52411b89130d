"""A battery behind two equal resistors, so that a converter sees half of its voltage."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.sim.shims.simboard import Line

_SUPPLY_MV = 3300


class Battery:
    """At the pin `battery`, with this voltage in millivolts."""

    def __init__(self, lines: "dict[str, Line]", now_us: "Callable[[], int]", *, millivolts: int):
        lines["battery"].u16 = millivolts * 65535 // (2 * _SUPPLY_MV)

    def advance(self, to_us: int) -> None:
        """Nothing: it lasts."""
