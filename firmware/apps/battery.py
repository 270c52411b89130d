"""How full a lithium cell is, by its voltage: a rough figure, as on every device that does not count its coulombs."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.hal import AnalogIn

_SUPPLY_MV = 3300
_CURVE = ((3300, 0), (3600, 10), (3700, 25), (3800, 50), (3900, 65), (4000, 80), (4100, 93), (4200, 100))  # mV, percent


class Battery:
    """A cell whose voltage comes halved by two equal resistors."""

    def __init__(self, converter: "AnalogIn"):
        self._converter = converter

    def percent(self) -> int:
        """What is left."""
        return percent_at(2 * _SUPPLY_MV * self._converter.read_u16() // 65535)


def percent_at(millivolts: int) -> int:
    """What a cell of this voltage has left, between the points of the curve by a straight line."""
    before_mv, before = _CURVE[0]
    for mv, percent in _CURVE:
        if millivolts <= mv:
            if mv == before_mv:
                return percent
            return before + (percent - before) * (millivolts - before_mv) // (mv - before_mv)
        before_mv, before = mv, percent
    return before
