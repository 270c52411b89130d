"""Driver of a light barrier across a chute: what falls through interrupts it for a millisecond or two."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.hal import Port


class DropSensor:
    """The barrier; its output is low while it is interrupted. `pulses`: how often it was since `arm`.

    An interrupt counts, so that nothing is missed between two looks. One tablet that tumbles may count twice: the count
    says that something fell, not how much.
    """

    def __init__(self, hal: "Port", pin: int):
        self.pulses = 0
        self._line = hal.digital_in(pin, pull="up", on_edge=self._count, edges="falling")

    def arm(self) -> None:
        """Count from now on."""
        self.pulses = 0

    def blocked(self) -> bool:
        """Whether it is interrupted now: something is stuck in the chute, or the light has failed."""
        return not self._line.value()

    def _count(self) -> None:
        self.pulses += 1
