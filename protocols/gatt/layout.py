"""A characteristic as a table of parts, and the loop that reads and writes by it."""

from ..errors import DecodeError, EncodeError, TruncatedError
from ..reading import Reading, reading
from .fields import Bits, Flag, Repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fields import Given, Part


class Layout:
    """A characteristic: flags of `flag_size` bytes (0: none), then `parts` in order.

    `doubts`: (metric, value, quality, metrics): when that metric has that value, the others' quality is at least this.
    """

    def __init__(
        self,
        name: str,
        flag_size: int,
        parts: "tuple[Part, ...]",
        doubts: "tuple[tuple[str, bool | str, int, tuple[str, ...]], ...]" = (),
    ):
        self.name = name
        self._flag_size = flag_size
        self._parts = parts
        self._doubts = doubts
        self._metrics = {metric for part in parts for metric in part.metrics}

    def units(self) -> "dict[str, tuple[str, ...]]":
        """The metrics that it may give, and the units of each."""
        return {metric: part.units for part in self._parts for metric in part.metrics}

    def decode(self, data: bytes) -> "list[Reading]":
        """The readings, in the order of the fields. Raises DecodeError; nothing is read before the length is right."""
        if len(data) < self._flag_size:
            raise TruncatedError(self.name, self._flag_size, len(data))
        flags = int.from_bytes(data[: self._flag_size], "little")
        present = [part for part in self._parts if part.bit is None or flags >> part.bit & 1]
        wanted = self._flag_size + sum([part.size_in(flags) for part in present])
        if len(data) < wanted:
            raise TruncatedError(self.name, wanted, len(data))
        if len(data) > wanted:
            if not isinstance(present[-1], Repeated):
                raise DecodeError(self.name, f"{len(data) - wanted} bytes after the last field")
            size = present[-1].size_in(flags)
            if (len(data) - wanted) % size:
                raise TruncatedError(self.name, len(data) + size - (len(data) - wanted) % size, len(data))
        readings = []
        at = self._flag_size
        try:
            for part in present:
                end = len(data) if isinstance(part, Repeated) else at + part.size_in(flags)
                readings += part.read(data[at:end], flags)
                at = end
        except DecodeError as error:
            raise DecodeError(self.name, str(error)) from None
        return self._doubted(readings)

    def encode(self, readings: "list[Reading]") -> bytes:
        """The bytes of readings in any order; time_ms is left aside. Raises EncodeError."""
        given = by_metric(self.name, readings, self._metrics)
        flags = 0
        for part in self._parts:
            flags |= part.flags_wanted(given)
            if part.bit is not None and any(metric in given for metric in part.metrics):
                flags |= 1 << part.bit
        data = flags.to_bytes(self._flag_size, "little") if self._flag_size else b""
        for part in self._parts:
            if part.bit is not None and not flags >> part.bit & 1:
                continue
            missing = [metric for metric in part.metrics if metric not in given]
            if missing and not isinstance(part, (Bits, Flag)):
                raise EncodeError(self.name, f"{missing[0]} is missing")
            data += part.write(given, flags)
        return data

    def _doubted(self, readings: "list[Reading]") -> "list[Reading]":
        for metric, value, quality, doubtful in self._doubts:
            if any(item.metric == metric and item.value == value for item in readings):
                readings = [
                    reading(item.metric, item.value, item.unit, max(item.quality, quality))
                    if item.metric in doubtful
                    else item
                    for item in readings
                ]
        return readings


def by_metric(name: str, readings: "list[Reading]", known: "set[str]") -> "Given":
    """Readings by their metric. Raises EncodeError for a metric that `known` does not hold."""
    given: "Given" = {}
    for item in readings:
        if item.metric not in known:
            raise EncodeError(name, f"has no field for {item.metric}")
        given.setdefault(item.metric, []).append(item)
    return given
