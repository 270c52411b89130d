"""Commands to a Bluetooth device: one characteristic is written, once, and read back where that is possible."""

from decimal import Decimal

from edge.errors import ActionFailed, ActionRefused
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Peer
from hardware.catalogue import Command
from protocols.errors import EncodeError
from protocols.gatt.values import Integer, MedicalFloat
from protocols.reading import GOOD, DecimalFraction, Value, to_float, to_text

CODECS: dict[str, Integer | MedicalFloat] = {
    "uint8": Integer(1),
    "uint16": Integer(2),
    "uint32": Integer(4),
    "int8": Integer(1, signed=True),
    "int16": Integer(2, signed=True),
    "int32": Integer(4, signed=True),
    "sfloat": MedicalFloat(2),
    "float": MedicalFloat(4),
}


async def act(peer: Peer, thing: str, command: Command, value: Value) -> Value:
    """Write, and return what was read back, or None.

    Raises ActionRefused where surely nothing was done: also if the device answers the write with an error. Raises
    ActionFailed if the answer did not come, or if what was written cannot be read back.
    """
    uuid16 = command.characteristic
    if uuid16 is None:
        raise ActionRefused(thing, "takes commands by a characteristic, and this one names none")
    properties = peer.properties(uuid16)
    if not properties & {"write", "write-without-response"}:
        raise ActionRefused(thing, f"has no characteristic {uuid16:04X} that could be written")
    codec = CODECS[command.type]
    try:
        data = codec.encode(_exact(thing, value), GOOD)
    except EncodeError as error:
        raise ActionRefused(thing, f"{command.type}: {error.reason}") from error
    try:
        await peer.write(uuid16, data)
    except RadioError as error:
        if error.code is not None:
            raise ActionRefused(thing, f"refuses: {error.reason}") from error
        raise ActionFailed(thing, f"no answer to what was written: {error.reason}") from error
    if not command.read_back or "read" not in properties:
        return None
    try:
        found = await peer.read(uuid16)
    except RadioError as error:
        raise ActionFailed(thing, f"cannot be read back: {error.reason}") from error
    if len(found) != codec.size:
        raise ActionFailed(thing, f"gives {len(found)} bytes when read back, where {codec.size} were written")
    held, told = codec.decode(found)[0], codec.decode(data)[0]
    if _number(held) != _number(told):  # 21.5 is 21.50
        raise ActionFailed(thing, f"it was answered, but reads back as {to_text(held) or 'no number'}")
    return held


def _number(value: Value) -> float | None:
    return to_float(value) if isinstance(value, (int, float, DecimalFraction)) else None


def _exact(thing: str, value: Value) -> Value:
    """The number without a float's binary digits: 21.5 is 215 x 10^-1."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        parts = Decimal(repr(value)).normalize().as_tuple()
        if not isinstance(parts.exponent, int):
            raise ActionRefused(thing, f"{value} is no number")
        mantissa = int("".join(map(str, parts.digits))) * (-1 if parts.sign else 1)
        return DecimalFraction(mantissa, parts.exponent)
    if value is None or isinstance(value, str):
        raise ActionRefused(thing, f"{value!r} is no number")
    return value
