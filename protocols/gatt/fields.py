"""The parts of a characteristic's table.

Every part has `bit` (the flag that says it is there; None: always), `metrics` (the names it gives), `units` (those of
their values), `size_in(flags)`, `read(data, flags) -> readings` and `write(readings by metric, flags) -> bytes`.
"""

from ..errors import EncodeError
from ..reading import Reading, reading
from .values import Integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .values import Code, ValueCodec

    Given = dict[str, list[Reading]]


class Field:
    """One value. `alternative` = (flag bit, codec, unit): what the field is instead when that flag is set."""

    def __init__(
        self,
        metric: str,
        codec: "ValueCodec",
        unit: str = "",
        *,
        bit: "int | None" = None,
        alternative: "tuple[int, ValueCodec, str] | None" = None,
    ):
        self.metrics = (metric,)
        self.bit = bit
        self._forms = ((codec, unit), alternative[1:] if alternative else (codec, unit))
        self.units = tuple([form[1] for form in self._forms])
        self._choice = 1 << alternative[0] if alternative else 0

    def _form(self, flags: int) -> "tuple[ValueCodec, str]":
        return self._forms[1 if flags & self._choice else 0]

    def size_in(self, flags: int) -> int:
        """Bytes of the value."""
        return self._form(flags)[0].size

    def read(self, data: bytes, flags: int) -> "list[Reading]":
        """The one reading."""
        codec, unit = self._form(flags)
        value, quality = codec.decode(data)
        return [reading(self.metrics[0], value, unit, quality)]

    def write(self, given: "Given", flags: int) -> bytes:
        """The value's bytes."""
        found = given[self.metrics[0]]
        if len(found) != 1:
            raise EncodeError(self.metrics[0], "is given more than once")
        return self.write_one(found[0], flags)

    def write_one(self, item: "Reading", flags: int) -> bytes:
        """One value's bytes; its unit must be the field's."""
        codec, unit = self._form(flags)
        if item.unit != unit:
            raise EncodeError(item.metric, f"unit {item.unit!r} where {unit!r} is wanted")
        return codec.encode(item.value, item.quality)

    def flags_wanted(self, given: "Given") -> int:
        """The choice flag, when the readings have the alternative's unit or are too large for the first codec."""
        (codec, unit), (_, other_unit) = self._forms
        for item in given.get(self.metrics[0], ()):
            if unit != other_unit:
                return self._choice if item.unit == other_unit else 0
            if isinstance(codec, Integer) and not codec.carries(item.value):
                return self._choice
        return 0


class Repeated(Field):
    """The same value once or more, up to the end of the characteristic."""

    def read(self, data: bytes, flags: int) -> "list[Reading]":
        """One reading each, in order."""
        size = self.size_in(flags)
        return [item for at in range(0, len(data), size) for item in Field.read(self, data[at : at + size], flags)]

    def write(self, given: "Given", flags: int) -> bytes:
        """All values' bytes, in order."""
        return b"".join([self.write_one(item, flags) for item in given[self.metrics[0]]])


class Bits:
    """A status word: one true-or-false reading for each named bit; bits without a name are reserved and left aside."""

    def __init__(self, size: int, names: "tuple[tuple[int, str], ...]", *, bit: "int | None" = None):
        self.size = size
        self.bit = bit
        self._names = names
        self.metrics = tuple([name for _, name in names])
        self.units = ("",)

    def size_in(self, flags: int) -> int:
        """Bytes of the word."""
        return self.size

    def read(self, data: bytes, flags: int) -> "list[Reading]":
        """One reading for each named bit."""
        word = int.from_bytes(data, "little")
        return [reading(name, bool(word >> place & 1), "") for place, name in self._names]

    def write(self, given: "Given", flags: int) -> bytes:
        """The word; a bit that is not given is clear."""
        word = 0
        for place, name in self._names:
            if name in given and truth(given[name]):
                word |= 1 << place
        return word.to_bytes(self.size, "little")

    def flags_wanted(self, given: "Given") -> int:
        """None."""
        return 0


class Flag:
    """A bit of the flags themselves as a reading. `when`: only if that other bit is set, which giving it sets."""

    bit: "int | None" = None
    units = ("",)

    def __init__(self, metric: str, place: int, *, when: "int | None" = None):
        self.metrics = (metric,)
        self._place = place
        self._when = when

    def size_in(self, flags: int) -> int:
        """No bytes of its own."""
        return 0

    def read(self, data: bytes, flags: int) -> "list[Reading]":
        """The bit, or nothing when the device does not support it."""
        if self._when is not None and not flags >> self._when & 1:
            return []
        return [reading(self.metrics[0], bool(flags >> self._place & 1), "")]

    def write(self, given: "Given", flags: int) -> bytes:
        """Nothing: the flags hold it."""
        return b""

    def flags_wanted(self, given: "Given") -> int:
        """The bit itself, and the one that makes it count."""
        found = given.get(self.metrics[0])
        if not found:
            return 0
        return (1 << self._place if truth(found) else 0) | (0 if self._when is None else 1 << self._when)


class Nibbles:
    """One byte with two codes, the low nibble first."""

    def __init__(self, low: "tuple[str, Code]", high: "tuple[str, Code]", *, bit: "int | None" = None):
        self.bit = bit
        self.metrics = (low[0], high[0])
        self.units = ("",)
        self._codes = (low[1], high[1])

    def size_in(self, flags: int) -> int:
        """One byte."""
        return 1

    def read(self, data: bytes, flags: int) -> "list[Reading]":
        """The two names."""
        return [
            reading(self.metrics[0], self._codes[0].name(data[0] & 0x0F), ""),
            reading(self.metrics[1], self._codes[1].name(data[0] >> 4), ""),
        ]

    def write(self, given: "Given", flags: int) -> bytes:
        """The byte."""
        low, high = [code.code(given[metric][0].value) for metric, code in zip(self.metrics, self._codes)]
        return bytes([low | high << 4])

    def flags_wanted(self, given: "Given") -> int:
        """None."""
        return 0


if TYPE_CHECKING:
    Part = Field | Bits | Flag | Nibbles


def truth(found: "list[Reading]") -> bool:
    """The one true-or-false value. Raises EncodeError for anything else."""
    if len(found) != 1 or not (found[0].value is True or found[0].value is False):
        raise EncodeError(found[0].metric, "must be given once, as true or false")
    return bool(found[0].value)
