"""NMEA 0183 framing: finds the sentences in a stream of bytes, and its start again after garbage. No I/O."""

from collections import Counter

from protocols.nmea import TOLERATED_LENGTH


class NmeaLines:
    """Bytes in, sentences out. Holds at most TOLERATED_LENGTH of an unfinished sentence.

    `counts` tells what had to be thrown away: "garbage_bytes" outside sentences, "cut_sentences" that a new start
    interrupts, and "overlong" ones.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._open: bytearray | None = None  # the sentence being received, without its line end

    def feed(self, data: bytes) -> list[bytes]:
        """The sentences that `data` completes, from their $ on, without the line end."""
        sentences = []
        for byte in data:
            if byte == 0x24:  # $
                if self._open is not None:
                    self.counts["cut_sentences"] += 1
                self._open = bytearray(b"$")
            elif self._open is None:
                self.counts["garbage_bytes"] += byte not in b"\r\n"
            elif byte in b"\r\n":
                sentences.append(bytes(self._open))
                self._open = None
            elif len(self._open) >= TOLERATED_LENGTH:
                self.counts["overlong"] += 1
                self._open = None
            else:
                self._open.append(byte)
        return sentences
