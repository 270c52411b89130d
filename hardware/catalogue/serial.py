"""The serial part of a device file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hardware.catalogue.table import Table
from protocols import nmea
from protocols.frames import CHECKS, TYPES, FrameFormat, check_size


def _is_hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{text!r} is not bytes in hex") from None
    return text


def _is_check(name: str) -> str:
    if name not in CHECKS:
        raise ValueError(f"there is no check {name}; there are {', '.join(CHECKS)}")
    return name


def _is_type(name: str) -> str:
    if name not in TYPES:
        raise ValueError(f"there is no type {name}; there are {', '.join(TYPES)}")
    return name


Hex = Annotated[str, AfterValidator(_is_hex)]


class Frame(Table):
    """How the frames of a device look; `start` and `end` in hex. See protocols.frames.

    length: of a fixed frame, all of it. most: bytes of the longest delimited one. separator: between the parts of one
    that is text.
    """

    start: Hex = ""
    end: Hex = ""
    length: int = Field(default=0, ge=0, le=512)
    most: int = Field(default=128, ge=2, le=512)
    check: Annotated[str, AfterValidator(_is_check)] | None = None
    check_from: int = Field(default=0, ge=0)
    check_order: Literal["big", "little"] = "big"
    separator: str | None = Field(default=None, min_length=1, max_length=1)

    @property
    def format(self) -> FrameFormat:
        """What protocols.frames reads them by."""
        return FrameFormat(
            bytes.fromhex(self.start),
            bytes.fromhex(self.end),
            self.length,
            self.most,
            self.check or "",
            self.check_from,
            self.check_order,
        )


class SerialField(Table):
    """Where a metric stands in a frame: `at` a byte, as `type`; or in part number `index` of a text.

    `match`: the text that part 0 must be, where a device has frames of several kinds.
    """

    at: int | None = Field(default=None, ge=0)
    type: Annotated[str, AfterValidator(_is_type)] = "uint8"
    order: Literal["big", "little"] = "big"
    bit: int | None = Field(default=None, ge=0, le=31)
    width: int = Field(default=1, ge=1, le=32)
    index: int | None = Field(default=None, ge=0)
    match: str | None = None
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> "SerialField":
        if (self.at is None) == (self.index is None):
            raise ValueError("needs either at, a byte of a frame, or index, a part of a text")
        if self.bit is not None and self.bit + self.width > 8 * TYPES[self.type][0]:
            raise ValueError(f"bits {self.bit} to {self.bit + self.width - 1} are not within {self.type}")
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        return self


class Serial(Table):
    """Line settings and framing. A device that speaks only when asked is sent `request` (hex) every `period_ms`.

    silence_ms: nothing whole for so long, and the device is gone; 0: one that speaks when it has something to say never
    is.
    """

    baud: int = Field(gt=0)
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    framing: Literal["nmea", "fixed", "delimited"]
    frame: Frame | None = None
    request: Hex | None = None
    period_ms: int = Field(default=1000, ge=20)
    silence_ms: int = Field(default=5000, ge=0)

    @property
    def silence_s(self) -> float:
        """For how long the device may be silent; 0: for ever. Of one that is asked, two requests without an answer."""
        return max(self.silence_ms, 2.5 * self.period_ms if self.request else 0) / 1000

    @model_validator(mode="after")
    def _check(self) -> "Serial":
        if self.request and not self.silence_ms:
            raise ValueError("silence_ms must not be 0 for a device that is asked: it has to answer")
        if (self.framing == "nmea") != (self.frame is None):
            raise ValueError("framing nmea has no frame, the others need one")
        if self.frame is None:
            return self
        around = len(self.frame.format.start) + len(self.frame.format.end) + check_size(self.frame.format)
        if self.framing == "fixed":
            if not self.frame.start:
                raise ValueError("frame.start is missing: without it no frame can be found")
            if self.frame.length <= around:
                raise ValueError(f"frame.length must be more than {around}, which start, check and end take")
        elif not self.frame.end or self.frame.length:
            raise ValueError("a delimited frame has an end and no length")
        if self.frame.check_from >= (self.frame.length or self.frame.most) - around:
            raise ValueError("frame.check_from is beyond the frame")
        return self

    def metric_problem(self, name: str, unit: str, field: SerialField | None, sentence: str | None) -> str:
        """Why a metric cannot be read from such sentences or frames; empty if it can."""
        if self.frame is None:
            return _sentence_problem(name, unit, sentence) if field is None else "framing nmea has no field"
        if field is None or sentence is not None:
            return f"framing {self.framing} needs field, and no sentence"
        if (self.frame.separator is None) != (field.index is None):
            return "index is for frames with a separator, at for those without"
        if field.at is not None and self.frame.length:
            end = self.frame.length - len(self.frame.format.end) - check_size(self.frame.format)
            if field.at + TYPES[field.type][0] > end:
                return f"{field.type} at {field.at} is beyond byte {end - 1}, the last before the check"
        return ""


def _sentence_problem(name: str, unit: str, sentence: str | None) -> str:
    if sentence not in nmea.METRICS:
        return f"framing nmea needs sentence: one of {', '.join(nmea.METRICS)}"
    given = nmea.METRICS[sentence]
    if name not in given:
        return f"is not in {sentence}, which has {', '.join(given)}"
    return "" if given[name] == unit else f"comes in {given[name] or 'no unit'}, not in {unit or 'no unit'}"
