"""Recordings of real pulses as the chip models read them: a small file, streamed with one kilobyte of memory.

The file is the magic "KPPG", the time between two samples in nanoseconds (u32), the number of samples (u32), then the
samples (u16), all little-endian. A sample is a level between 0 and 1023; more means more blood under the light.
"""

import struct

MAGIC = b"KPPG"
HEADER = "<4sII"
FULL_SCALE = 1024
_HEADER_BYTES = struct.calcsize(HEADER)
_BLOCK_SAMPLES = 512


class Recording:
    """A recording that repeats for ever. Call `close` when done; `path` must be a file in the format above."""

    def __init__(self, path: str):
        self._file = open(path, "rb")  # noqa: SIM115 - it stays open, see close
        magic: bytes
        self._period_ns: int
        self._count: int
        magic, self._period_ns, self._count = struct.unpack(HEADER, self._file.read(_HEADER_BYTES))
        if magic != MAGIC or not self._period_ns or not self._count:
            self._file.close()
            raise ValueError(path + " is no recording of a pulse")
        self._block = bytearray(2 * _BLOCK_SAMPLES)
        self._block_number = -1

    @property
    def duration_us(self) -> int:
        """How long it is until it begins again."""
        return self._count * self._period_ns // 1000

    def level(self, at_us: int) -> int:
        """The level at a time since the start, in 1/256 (0 ... 256 * 1023), interpolated between two samples."""
        at_ns = at_us * 1000
        place = at_ns // self._period_ns
        before = self._sample(place % self._count)
        after = self._sample((place + 1) % self._count)
        return before * 256 + (after - before) * 256 * (at_ns - place * self._period_ns) // self._period_ns

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _sample(self, place: int) -> int:
        number, within = divmod(place, _BLOCK_SAMPLES)
        if number != self._block_number:
            self._file.seek(_HEADER_BYTES + 2 * _BLOCK_SAMPLES * number)
            self._file.readinto(self._block)
            self._block_number = number
        return self._block[2 * within] | self._block[2 * within + 1] << 8
