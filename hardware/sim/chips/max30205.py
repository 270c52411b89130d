"""Register-level model of the MAX30205 (data sheet 19-8463): four registers, three of them two bytes wide."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _body(at_us: int) -> int:
    return 36_600  # thousandths of a degree


class Max30205:
    """One chip on skin; `temperature` gives thousandths of a degree at a time, and may be changed."""

    def __init__(self, temperature: "Callable[[int], int]" = _body) -> None:
        self.temperature = temperature
        self._wide = {0: 0, 2: 0x4B00, 3: 0x5000}
        self._configuration = 0
        self._pointer = 0

    def i2c_write(self, data: bytes) -> None:
        """The pointer, then what is written to its register."""
        self._pointer = data[0] & 3
        if len(data) > 1 and self._pointer == 1:
            self._configuration = data[1]
        elif len(data) > 2 and self._pointer:
            self._wide[self._pointer] = data[1] << 8 | data[2] & 0x80

    def i2c_read(self, count: int) -> bytes:
        """The register, again and again."""
        if self._pointer == 1:
            return bytes([self._configuration] * count)
        value = self._wide[self._pointer] & 0xFFFF
        return bytes([value >> 8 if place % 2 == 0 else value & 0xFF for place in range(count)])

    def advance(self, to_us: int) -> None:
        """A conversion, unless it is shut down."""
        if not self._configuration & 1:
            self._wide[0] = (self.temperature(to_us) * 256 + 500) // 1000

    def pulls_int_low(self) -> bool:
        """The over-temperature output: at 80 degrees."""
        return self._wide[0] >= self._wide[3]
