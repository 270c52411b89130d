"""A contact at the end of a line with two resistors, read by a converter: at rest, active, cut or shorted."""

from hardware.sim.chips.contact import Contact

REST, ACTIVE, CUT, SHORTED = 0, 1, 2, 3
_VOLTAGES = (32768, 43690, 65535, 150)  # equal resistors against an equal pull-up; a shorted line has some ohms


class Loop(Contact):
    """As a contact, with the four states of the line in place of levels."""

    PIN = "loop"

    def become(self, level: "int | None") -> None:
        """The line is so now."""
        self._line.u16 = _VOLTAGES[CUT if level is None else level]
