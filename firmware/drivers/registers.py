"""What drivers of I2C chips share: reading and writing with errors that name the chip."""

from firmware.errors import DriverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Bus(Protocol):
        """What a driver needs of `machine.I2C`."""

        def readfrom(self, addr: int, nbytes: int) -> bytes: ...
        def writeto(self, addr: int, buf: bytes) -> int: ...
        def readfrom_mem(self, addr: int, memaddr: int, nbytes: int) -> bytes: ...
        def readfrom_mem_into(self, addr: int, memaddr: int, buf: "bytearray | memoryview") -> None: ...
        def writeto_mem(self, addr: int, memaddr: int, buf: bytes) -> None: ...


class Registers:
    """One chip on a bus. Every method raises DriverError when it does not answer."""

    def __init__(self, bus: "Bus", chip: str, address: int):
        self._bus = bus
        self.chip = chip
        self.address = address

    def read(self, register: int, count: int) -> bytes:
        """So many bytes from a register and those after it."""
        try:
            return self._bus.readfrom_mem(self.address, register, count)
        except OSError as error:
            raise self.error(f"register 0x{register:02x} not read: {error}") from error

    def read_into(self, register: int, buffer: "bytearray | memoryview") -> None:
        """Fill the buffer from a register."""
        try:
            self._bus.readfrom_mem_into(self.address, register, buffer)
        except OSError as error:
            raise self.error(f"register 0x{register:02x} not read: {error}") from error

    def write(self, register: int, data: bytes) -> None:
        """Write a register and those after it."""
        try:
            self._bus.writeto_mem(self.address, register, data)
        except OSError as error:
            raise self.error(f"register 0x{register:02x} not written: {error}") from error

    def send(self, data: bytes) -> None:
        """Write without a register, as chips with commands have it."""
        try:
            self._bus.writeto(self.address, data)
        except OSError as error:
            raise self.error(f"command {data.hex()} not taken: {error}") from error

    def receive(self, count: int) -> bytes:
        """Read without a register."""
        try:
            return self._bus.readfrom(self.address, count)
        except OSError as error:
            raise self.error(f"no answer: {error}") from error

    def expect(self, register: int, value: int) -> None:
        """Check the register by which a chip can be told. Raises DriverError if it is another chip."""
        found = self.read(register, 1)[0]
        if found != value:
            raise self.error(f"its id is 0x{found:02x}, not 0x{value:02x}")

    def error(self, reason: str) -> DriverError:
        """An error of this chip."""
        return DriverError(self.chip, self.address, reason)
