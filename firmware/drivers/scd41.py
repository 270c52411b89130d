"""Driver of the SCD41, CO2, temperature and humidity (Sensirion data sheet SCD4x, version 1.5)."""

import asyncio

from firmware.drivers.registers import Registers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.drivers.registers import Bus

CHIP = "scd41"
ADDRESS = 0x62

_START, _STOP, _READY, _READ, _SERIAL = b"\x21\xb1", b"\x3f\x86", b"\xe4\xb8", b"\xec\x05", b"\x36\x82"
_STOP_S, _ANSWER_S = 0.5, 0.002
_READY_MASK = 0x07FF
_POLYNOMIAL, _FIRST = 0x31, 0xFF


class Scd41:
    """The sensor; after `start` it measures every 5 s."""

    def __init__(self, bus: "Bus", *, address: int = ADDRESS):
        self._registers = Registers(bus, CHIP, address)

    async def start(self) -> int:
        """Let it measure; returns its serial number. Raises DriverError."""
        self._registers.send(_STOP)  # it takes no other command while it measures
        await asyncio.sleep(_STOP_S)
        high, middle, low = await self._ask(_SERIAL, 3)
        self._registers.send(_START)
        return high << 32 | middle << 16 | low

    async def read(self) -> "tuple[int, int, int] | None":
        """CO2 in ppm, thousandths of a degree Celsius, thousandths of a percent; None while nothing new is there."""
        (ready,) = await self._ask(_READY, 1)
        if not ready & _READY_MASK:
            return None
        co2, temperature, humidity = await self._ask(_READ, 3)
        return co2, (175000 * temperature + 32767) // 65535 - 45000, (100000 * humidity + 32767) // 65535

    async def _ask(self, command: bytes, count: int) -> "list[int]":
        """Words, each with its checksum. Raises DriverError, also for a word that is damaged."""
        self._registers.send(command)
        await asyncio.sleep(_ANSWER_S)
        data = self._registers.receive(3 * count)
        words = []
        for at in range(0, 3 * count, 3):
            if crc8(data[at : at + 2]) != data[at + 2]:
                raise self._registers.error(f"the answer {data.hex()} is damaged")
            words.append(data[at] << 8 | data[at + 1])
        return words


def crc8(data: bytes) -> int:
    """The checksum of a word (data sheet, section 3.12)."""
    crc = _FIRST
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc
