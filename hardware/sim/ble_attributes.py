"""The attributes of a simulated board as MicroPython keeps them, under bumble's GATT server.

A value has room for 20 bytes until the board makes more; what a central writes beyond is cut off. Errors are those of
NimBLE, which also leaves a subscription unprotected: MicroPython has no flag for that.
Source: MicroPython 1.29, library/bluetooth and extmod/nimble; Core Specification 5.4, volume 3, part F, 3.4.1.1.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from bumble import att
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import (
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    Characteristic,
    Descriptor,
    Service,
)

ROOM = 20  # bytes, of a value whose board has not asked for more
READ, WRITE_NO_RESPONSE, WRITE, NOTIFY, INDICATE = 0x02, 0x04, 0x08, 0x10, 0x20
READ_ENCRYPTED, READ_AUTHENTICATED = 0x0200, 0x0400
WRITE_ENCRYPTED, WRITE_AUTHENTICATED = 0x1000, 0x2000
_PROPERTIES = 0xFF  # of the flags: those that the declaration shows
_ANY = att.Attribute.Permissions.READABLE | att.Attribute.Permissions.WRITEABLE  # what is refused is refused here

Bonded = Callable[[Connection], Awaitable[bool]]


class Value:
    """The local value of a characteristic or descriptor. `written` is told of what a central wrote."""

    def __init__(self, flags: int, bonded: Bonded, written: "Callable[[Connection, Value], Awaitable[None]]"):
        self.handle = 0
        self.bytes = b""
        self._flags = flags
        self._bonded = bonded
        self._written = written
        self._room = ROOM
        self._append = False

    def set_buffer(self, room: int, append: bool) -> None:
        """Make room for so many bytes."""
        self._room, self._append = room, append
        self.bytes = self.bytes[:room]

    def write(self, data: bytes) -> None:
        """A local write: it makes the room that it needs."""
        self.bytes = data
        self._room = max(self._room, len(data))

    def read(self) -> bytes:
        """A local read: what was added up is handed over."""
        data = self.bytes
        if self._append:
            self.bytes = b""
        return data

    def attribute(self) -> "att.AttributeValue[bytes]":
        """The value as centrals reach it."""
        return att.AttributeValue(read=self._read_by, write=self._written_by)

    async def _read_by(self, connection: Connection) -> bytes:
        if not self._flags & READ:
            raise att.ATT_Error(att.ATT_READ_NOT_PERMITTED_ERROR)
        await self._check(connection, READ_ENCRYPTED, READ_AUTHENTICATED)
        return self.bytes

    async def _written_by(self, connection: Connection, data: bytes) -> None:
        if not self._flags & (WRITE | WRITE_NO_RESPONSE):
            raise att.ATT_Error(att.ATT_WRITE_NOT_PERMITTED_ERROR)
        await self._check(connection, WRITE_ENCRYPTED, WRITE_AUTHENTICATED)
        self.bytes = ((self.bytes if self._append else b"") + data)[: self._room]
        await self._written(connection, self)

    async def _check(self, connection: Connection, encrypted: int, authenticated: int) -> None:
        if self._flags & (encrypted | authenticated) and not connection.is_encrypted:
            code = att.ATT_INSUFFICIENT_ENCRYPTION_ERROR
            if not await self._bonded(connection):
                code = att.ATT_INSUFFICIENT_AUTHENTICATION_ERROR
            raise att.ATT_Error(code)
        if self._flags & authenticated and not connection.authenticated:
            raise att.ATT_Error(att.ATT_INSUFFICIENT_AUTHENTICATION_ERROR)


class Subscription:
    """A characteristic's Client Characteristic Configuration, for each connection. `changed`: a central wrote it."""

    def __init__(self, allowed: int, changed: "Callable[[Connection, Subscription], Awaitable[None]]"):
        self._allowed = (1 if allowed & NOTIFY else 0) | (2 if allowed & INDICATE else 0)
        self._changed = changed
        self.handle = 0  # of the characteristic's value
        self.bits: dict[Connection, int] = {}

    def descriptor(self) -> Descriptor:
        """The descriptor as centrals reach it."""
        value = att.AttributeValue(read=self._read_by, write=self._written_by)
        return Descriptor(GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR, _ANY, cast(Any, value))

    def _read_by(self, connection: Connection) -> bytes:
        return self.bits.get(connection, 0).to_bytes(2, "little")

    async def _written_by(self, connection: Connection, data: bytes) -> None:
        if len(data) != 2:
            raise att.ATT_Error(att.ATT_INVALID_ATTRIBUTE_LENGTH_ERROR)
        bits = int.from_bytes(data, "little")
        if bits & ~self._allowed:
            raise att.ATT_Error(att.ATT_REQUEST_NOT_SUPPORTED_ERROR)
        self.bits[connection] = bits
        await self._changed(connection, self)


class Attributes:
    """What a board has registered: `values` and `subscriptions` by the handle of the value."""

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.attributes: dict[int, Characteristic[bytes] | Descriptor] = {}
        self._made: list[tuple[Value, Characteristic[bytes] | Descriptor, Subscription | None]] = []

    def service(
        self,
        declared: list[Any],
        bonded: Bonded,
        written: Callable[[Connection, Value], Awaitable[None]],
        subscribed: Callable[[Connection, Subscription], Awaitable[None]],
    ) -> Service:
        """bumble's service of a declared one: [uuid, [[uuid, flags, [[uuid, flags], ...]], ...]]."""
        characteristics = []
        for uuid, flags, descriptors in declared[1]:
            value = Value(flags, bonded, written)
            subscription = Subscription(flags, subscribed) if flags & (NOTIFY | INDICATE) else None
            more = [subscription.descriptor()] if subscription else []
            characteristic = Characteristic[bytes](
                _uuid(uuid), Characteristic.Properties(flags & _PROPERTIES), _ANY, cast(Any, value.attribute()), more
            )
            self._made.append((value, characteristic, subscription))
            for other, other_flags in descriptors:
                held = Value(other_flags, bonded, written)
                descriptor = Descriptor(_uuid(other), _ANY, cast(Any, held.attribute()))
                characteristic.descriptors = (*characteristic.descriptors, descriptor)
                self._made.append((held, descriptor, None))
            characteristics.append(characteristic)
        return Service(_uuid(declared[0]), characteristics)

    def number(self) -> Iterator[int]:
        """Once bumble has given the handles: those of the values, in the order of their declaration."""
        for value, attribute, subscription in self._made:
            value.handle = attribute.handle
            self.values[value.handle] = value
            self.attributes[value.handle] = attribute
            if subscription:
                subscription.handle = value.handle
                self.subscriptions[value.handle] = subscription
            yield value.handle


def _uuid(value: int | str) -> UUID:
    return UUID.from_16_bits(value) if isinstance(value, int) else UUID(value)
