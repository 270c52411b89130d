"""The commands of a device file: what the device can be told to do, with one value."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hardware.catalogue.modbus import Register
from hardware.catalogue.serial import Hex
from hardware.catalogue.table import Name, Table
from protocols.frames import TYPES

PLACE = re.compile(r"\{value:(\w+)\}")  # of the value in a frame


def _is_template(text: str) -> str:
    for type_ in PLACE.findall(text):
        if type_ not in TYPES:
            raise ValueError(f"there is no type {type_}; there are {', '.join(TYPES)}")
    try:
        bytes.fromhex(PLACE.sub("00", text))
    except ValueError:
        raise ValueError(f"{text!r} is not bytes in hex, with {{value:TYPE}} in the value's place") from None
    return text


class Command(Table):
    """One of: a register or coil to write, a characteristic with its type, a frame to send; none for our own devices.

    `range` bounds the value, `states` are the only ones that there are. `frame` is text in hex, in which {value:TYPE}
    stands for the value and the frame's check is appended; `answer` is how the device's answer must begin, in hex.
    With `read_back` what was written is read again, where the device lets it.
    """

    name: Name
    unit: str = "1"
    range: tuple[float, float] | None = None
    states: Mapping[int, Name] | None = None
    register_: Register | None = Field(default=None, alias="register")
    characteristic: int | None = Field(default=None, ge=0, le=0xFFFF)
    type: Literal["uint8", "uint16", "uint32", "int8", "int16", "int32", "sfloat", "float"] = "uint8"
    frame: Annotated[str, AfterValidator(_is_template)] | None = None
    answer: Hex | None = None
    read_back: bool = True

    @model_validator(mode="after")
    def _check(self) -> "Command":
        targets = [self.register_, self.characteristic, self.frame]
        if sum(target is not None for target in targets) > 1:
            raise ValueError("has more than one of register, characteristic and frame")
        if self.register_ is not None and self.register_.table not in ("coil", "holding"):
            raise ValueError(f"a register of table {self.register_.table} cannot be written")
        if self.range is not None and self.states is not None:
            raise ValueError("has range and states; give one of them")
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError("range is empty: its first number is greater than its second")
        return self
