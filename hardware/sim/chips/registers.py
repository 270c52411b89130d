"""What most chip models are made of: 256 registers behind a pointer that steps on."""


class RegisterChip:
    """A chip with registers. Models override what happens at a read and a write, and when time passes."""

    def __init__(self) -> None:
        self.registers = bytearray(256)
        self.now_us = 0
        self._pointer = 0

    def i2c_write(self, data: bytes) -> None:
        """A write transfer: the register's address, then bytes for it and those after it."""
        self._pointer = data[0]
        for byte in data[1:]:
            self.write(self._pointer, byte)
            self._pointer = self._pointer + 1 & 0xFF

    def i2c_read(self, count: int) -> bytes:
        """A read transfer from the current register on."""
        answer = bytearray(count)
        for place in range(count):
            answer[place] = self.read(self._pointer)
            self._pointer = self._pointer + 1 & 0xFF
        return bytes(answer)

    def advance(self, to_us: int) -> None:
        """Let time pass until `to_us`."""
        self.now_us = to_us

    def pulls_int_low(self) -> bool:
        """Whether the interrupt output conducts."""
        return False

    def read(self, register: int) -> int:
        """A byte is read."""
        return self.registers[register]

    def write(self, register: int, value: int) -> None:
        """A byte is written."""
        self.registers[register] = value
