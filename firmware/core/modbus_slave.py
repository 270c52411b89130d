"""The slave's role on a Modbus line: functions 3, 4, 6 and 16, and a refusal of all else (MODBUS V1.1b3, section 6).

No line and no clock: a frame comes in, an answer goes out. A frame that is damaged, or for somebody else, is not
answered; a broadcast is obeyed and not answered.
"""

import struct

from firmware.errors import RegisterError
from protocols.errors import DecodeError
from protocols.rtu import parse_rtu, rtu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Registers(Protocol):
        """What a slave holds. Each raises RegisterError for what is not there, or not to be written."""

        def holding(self, address: int) -> int: ...
        def input(self, address: int) -> int: ...
        def check(self, address: int, value: int) -> None: ...
        def write(self, address: int, value: int) -> None: ...


_HOLDING, _INPUT, _WRITE, _WRITE_SEVERAL = 3, 4, 6, 16
_MOST_READ, _MOST_WRITTEN = 125, 123
_ILLEGAL_FUNCTION, _ILLEGAL_VALUE = 1, 3
_REFUSED = 0x80
_BROADCAST, _LAST_UNIT = 0, 247


class ModbusSlave:
    """One unit on a line. `damaged`: frames that did not check, of whomever."""

    def __init__(self, unit: int, registers: "Registers"):
        if not 0 < unit <= _LAST_UNIT:
            raise ValueError(f"a unit is 1 to {_LAST_UNIT}, not {unit}")
        self._unit = unit
        self._registers = registers
        self.damaged = 0

    def answer(self, frame: bytes) -> "bytes | None":
        """The frame that answers this one, or None."""
        try:
            unit, pdu = parse_rtu(frame)
        except DecodeError:
            self.damaged += 1
            return None
        if unit not in (self._unit, _BROADCAST):
            return None
        response = self._response(pdu)
        return None if unit == _BROADCAST else rtu(self._unit, response)

    def _response(self, pdu: bytes) -> bytes:
        function = pdu[0]
        if function not in (_HOLDING, _INPUT, _WRITE, _WRITE_SEVERAL):
            return bytes((function | _REFUSED, _ILLEGAL_FUNCTION))
        if len(pdu) < 5:
            return bytes((function | _REFUSED, _ILLEGAL_VALUE))
        address, second = struct.unpack(">HH", pdu[1:5])
        try:
            if function == _WRITE and len(pdu) == 5:
                self._write(address, (second,))
            elif function == _WRITE_SEVERAL and _is_whole(pdu, second):
                self._write(address, struct.unpack(f">{second}H", pdu[6:]))
            elif function in (_HOLDING, _INPUT) and len(pdu) == 5 and 0 < second <= _MOST_READ:
                read = self._registers.input if function == _INPUT else self._registers.holding
                words = [struct.pack(">H", read(each)) for each in range(address, address + second)]
                return bytes((function, 2 * second)) + b"".join(words)
            else:
                return bytes((function | _REFUSED, _ILLEGAL_VALUE))
        except RegisterError as error:
            return bytes((function | _REFUSED, error.code))
        return pdu[:5]

    def _write(self, address: int, values: "Sequence[int]") -> None:
        """All of them, or none."""
        for place, value in enumerate(values):
            self._registers.check(address + place, value)
        for place, value in enumerate(values):
            self._registers.write(address + place, value)


def _is_whole(pdu: bytes, count: int) -> bool:
    """Whether a request to write several registers holds as many as it says."""
    return 0 < count <= _MOST_WRITTEN and len(pdu) == 6 + 2 * count and pdu[5] == 2 * count
