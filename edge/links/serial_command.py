"""The frame of a command to a serial device, made from the template in its file."""

from typing import TYPE_CHECKING

from edge.errors import ActionRefused
from hardware.catalogue import Command, Serial
from hardware.catalogue.command import PLACE
from protocols.frames import TYPES, with_check

if TYPE_CHECKING:
    from protocols.reading import Value


def encoded(thing: str, command: Command, value: "Value", serial: Serial) -> bytes:
    """The bytes to send: the template with the value in its place, and the check of the device's frames.

    Raises ActionRefused for a value that the frame cannot hold.
    """
    assert command.frame is not None
    head = bytes.fromhex(PLACE.sub(lambda place: _number(thing, place[1], value).hex(), command.frame))
    return head if serial.frame is None else with_check(serial.frame.format, head)


def _number(thing: str, type_: str, value: "Value") -> bytes:
    size, signed = TYPES[type_]
    if isinstance(value, (str, tuple)) or value is None or value != int(value):
        raise ActionRefused(thing, f"the value {value!r} is no whole number")
    try:
        return int(value).to_bytes(size, "big", signed=signed)
    except OverflowError as error:
        raise ActionRefused(thing, f"the value {value!r} is not within {type_}") from error
