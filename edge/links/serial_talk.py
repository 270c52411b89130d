"""What a serial device says, from bytes to readings without times: NMEA sentences, or frames of its file. No I/O."""

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from edge.links.nmea_lines import NmeaLines
from hardware.catalogue import DeviceModel, Metric, Serial, SerialField
from protocols import nmea
from protocols.errors import ChecksumError, DecodeError
from protocols.frames import FrameReader, decode_field, decode_text, split_text
from protocols.reading import BAD_INVALID, BAD_RANGE, GOOD, Reading, reading

if TYPE_CHECKING:
    from protocols.reading import Value


class Talk(Protocol):
    """The state of one device's talk. `counts`: what was wrong, by kind; to be emptied by who reads it."""

    counts: Counter[str]

    def feed(self, data: bytes) -> list[tuple[bytes, list[Reading]]]:
        """Each whole sentence or frame that `data` completes, and the readings in it."""


def talk_of(model: DeviceModel) -> Talk:
    """The talk of a serial model."""
    assert model.serial is not None
    return NmeaTalk(model) if model.serial.framing == "nmea" else FrameTalk(model, model.serial)


class NmeaTalk:
    """Sentences (NMEA 0183); each metric comes from the type that the file names for it."""

    def __init__(self, model: DeviceModel):
        self.counts: Counter[str] = Counter()
        self._lines = NmeaLines()
        self._metrics: dict[str, set[str]] = {}  # sentence type -> the metrics that are taken from it
        for metric, declared in model.metrics.items():
            if declared.sentence is not None:
                self._metrics.setdefault(declared.sentence, set()).add(metric)

    def feed(self, data: bytes) -> list[tuple[bytes, list[Reading]]]:
        """See Talk."""
        found = []
        for text in self._lines.feed(data):
            try:
                sentence = nmea.parse(text)
                wanted = self._metrics.get(sentence.type, set())
                readings = nmea.decode(sentence) if wanted else []
            except ChecksumError:
                self.counts["checksum_errors"] += 1
            except DecodeError:
                self.counts["decode_errors"] += 1
            else:
                found.append((text, [each for each in readings if each.metric in wanted]))
        self.counts += self._lines.counts
        self._lines.counts.clear()
        return found


class FrameTalk:
    """Frames; each metric is a field of them."""

    def __init__(self, model: DeviceModel, serial: Serial):
        assert serial.frame is not None
        self.counts: Counter[str] = Counter()
        self._separator = serial.frame.separator
        self._format = serial.frame.format
        self._reader = FrameReader(self._format)
        self._fields = [(name, each, each.field) for name, each in model.metrics.items() if each.field is not None]

    def feed(self, data: bytes) -> list[tuple[bytes, list[Reading]]]:
        """See Talk."""
        found = []
        for frame in self._reader.feed(data):
            try:
                found.append((frame, self._readings(frame)))
            except DecodeError:
                self.counts["decode_errors"] += 1
        self.counts.update(self._reader.counts)
        self._reader.counts.clear()
        return found

    def _readings(self, frame: bytes) -> list[Reading]:
        parts = [] if self._separator is None else split_text(self._format, frame, self._separator)
        return [
            _judged(name, metric, _value(frame, parts, field))
            for name, metric, field in self._fields
            if field.match is None or parts[:1] == [field.match]
        ]


def _value(frame: bytes, parts: list[str], field: SerialField) -> "Value":
    if field.index is not None:
        return decode_text(parts, field.index, scale=field.scale, offset=field.offset)
    assert field.at is not None
    return decode_field(
        frame,
        field.at,
        field.type,
        order=field.order,
        bit=field.bit,
        width=field.width,
        scale=field.scale,
        offset=field.offset,
    )


def _judged(name: str, metric: Metric, value: "Value") -> Reading:
    if value is None:
        return reading(name, None, metric.unit, BAD_INVALID)
    if not metric.takes(value):
        return reading(name, None, metric.unit, BAD_RANGE)
    return reading(name, value, metric.unit, GOOD)
