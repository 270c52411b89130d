"""A sensor node's registers: what a PLC or another gateway reads of it, and sets, on its RS-485 line.

`registers` and `outputs` of the settings say which. Input registers: two for each metric, a signed number of 32 bits,
its high word first, in units of 10^exponent (apps/sensors.py); 0x80000000 as long as there is none. Holding registers:
one for each output, 0 or 1.
"""

from firmware.errors import RegisterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from firmware.hal import DigitalOut

_NO_SUCH_ADDRESS, _ILLEGAL_VALUE = 2, 3
_NONE = -0x80000000


class NodeRegisters:
    """`latest` holds the newest value of each metric, or None."""

    def __init__(
        self, metrics: "Sequence[str]", outputs: "Sequence[DigitalOut]", latest: "Mapping[str, int | None]"
    ) -> None:
        self._metrics = metrics
        self._outputs = outputs
        self._latest = latest

    def input(self, address: int) -> int:
        """A word of a metric."""
        if address >= 2 * len(self._metrics):
            raise RegisterError(address, _NO_SUCH_ADDRESS)
        value = self._latest.get(self._metrics[address // 2])
        return (_NONE if value is None else value) >> (0 if address % 2 else 16) & 0xFFFF

    def holding(self, address: int) -> int:
        """The level of an output."""
        return int(self._output(address).value() or 0)

    def check(self, address: int, value: int) -> None:
        """Whether the output may be set to this."""
        self._output(address)
        if value > 1:
            raise RegisterError(address, _ILLEGAL_VALUE)

    def write(self, address: int, value: int) -> None:
        """Set an output."""
        self._output(address).value(value)

    def _output(self, address: int) -> "DigitalOut":
        if address >= len(self._outputs):
            raise RegisterError(address, _NO_SUCH_ADDRESS)
        return self._outputs[address]
