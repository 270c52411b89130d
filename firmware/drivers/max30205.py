"""Driver of the MAX30205, body temperature to 0.1 degree (data sheet 19-8463)."""

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "max30205"
ADDRESS = 0x48

_TEMPERATURE, _CONFIGURATION, _OVERTEMPERATURE = 0x00, 0x01, 0x03
_CONTINUOUS = 0x00  # comparator, normal data format, no time-out of the bus
_OVERTEMPERATURE_RESET = b"\x50\x00"  # 80 degrees: what the register holds after power-on, as far as we leave it


class Max30205:
    """The sensor; it has no id, so `start` reads back what it writes."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)

    def start(self) -> None:
        """Let it measure continuously, which takes 50 ms a time. Raises DriverError."""
        self._registers.write(_CONFIGURATION, bytes([_CONTINUOUS]))
        if self._registers.read(_CONFIGURATION, 1)[0] != _CONTINUOUS:
            raise self._registers.error("does not keep its configuration")
        if self._registers.read(_OVERTEMPERATURE, 2) != _OVERTEMPERATURE_RESET:
            raise self._registers.error("is another chip, or was set by somebody else")

    def temperature_mc(self) -> int:
        """Thousandths of a degree Celsius. Raises DriverError."""
        high, low = self._registers.read(_TEMPERATURE, 2)
        raw = (high << 8 | low) - (0x10000 if high > 127 else 0)
        return (raw * 1000 + 128) // 256
