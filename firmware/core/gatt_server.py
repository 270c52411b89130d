"""A GATT server on MicroPython's `bluetooth`: services from a table, one central at a time, bonds kept on flash.

    server = GattServer(hal.bluetooth(), Bonds(hal.storage()), name="kerb-1")
    server.on_write[CONTROL] = take            # take(value), between two steps of the event loop
    server.start(((SERVICE, ((CONTROL, WRITE), (ANSWER, INDICATE))),), advertised=(SERVICE,))
    await server.run()                         # for ever; meanwhile:
    server.set(ANSWER, b"...")                 # what a read gives
    server.notify(ANSWER, b"...")              # to a central that has subscribed
    confirmed = await server.indicate(ANSWER, b"...")

UUIDs are numbers of 16 bits or text of 128. A characteristic with READ_ENCRYPTED or WRITE_ENCRYPTED is told to nobody
before the link is encrypted, and a server with such a one asks each central for that. Who has subscribed is known to
the stack alone: on an ESP32 a bonded central must subscribe anew at each connection, on an RP2 it need not.
Source: MicroPython 1.29, library/bluetooth.
"""

import asyncio
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from firmware.core.bonds import Bonds

    Uuid = int | str
    Service = tuple[Uuid, tuple[tuple[Uuid, int], ...]]

READ, WRITE_NO_RESPONSE, WRITE, NOTIFY, INDICATE = 0x02, 0x04, 0x08, 0x10, 0x20
READ_ENCRYPTED, WRITE_ENCRYPTED = 0x0200, 0x1000
MTU = 247  # what fits one packet of the link layer
SMALLEST_MTU = 23

_CENTRAL_CONNECT, _CENTRAL_DISCONNECT, _GATTS_WRITE, _INDICATE_DONE, _MTU_EXCHANGED = 1, 2, 3, 20, 21
_ENCRYPTION_UPDATE, _GET_SECRET, _SET_SECRET = 28, 29, 30
_NO_INPUT_NO_OUTPUT = 3
_INTERVAL_US = 250000
_ROOM = MTU - 3  # bytes that may be written to a characteristic: all that fits behind the header
_MOST_WRITES = 8  # that wait to be taken; a central waits for each answer, so more of them are a fault, and counted
_CONFIRM_S = 30  # the Attribute Protocol's own timeout
_FLAGS, _UUIDS_16, _UUID_128, _NAME = 0x01, 0x03, 0x07, 0x09  # parts of an advertisement
_LONGEST_ADVERTISEMENT = 31


class GattServer:
    """The server. `on_link` is called when a central comes, has encrypted the link, or goes."""

    def __init__(self, bluetooth: "Any", bonds: "Bonds", *, name: str, confirm_s: float = _CONFIRM_S):
        self._bluetooth = bluetooth
        self._ble = bluetooth.BLE()
        self._bonds = bonds
        self._name = name
        self._confirm_s = confirm_s
        self._flag = asyncio.ThreadSafeFlag()  # type: ignore[attr-defined]  # MicroPython's, to be set in interrupts
        self._handles: "dict[Uuid, int]" = {}
        self._sealed: "set[int]" = set()  # handles that are for encrypted links
        self._writes: "list[tuple[int, bytes]]" = []
        self._connection: "int | None" = None
        self._ended: "dict[int, int]" = {}  # by handle: how an indication ended
        self._awaited: "dict[int, asyncio.Event]" = {}  # by handle: an indication under way
        self._known = (False, False)
        self._advertised: "tuple[bytes, bytes]" = (b"", b"")
        self.encrypted = False
        self.mtu = SMALLEST_MTU
        self.dropped = 0  # writes that came faster than they were taken
        self.on_write: "dict[Uuid, Callable[[bytes], None]]" = {}
        self.on_link: "Callable[[], None]" = lambda: None

    @property
    def connected(self) -> bool:
        """Whether a central is there."""
        return self._connection is not None

    def start(self, services: "Sequence[Service]", *, advertised: "Sequence[Uuid]") -> None:
        """Switch the radio on, register the services, and let centrals know of those `advertised`."""
        ble, uuid = self._ble, self._bluetooth.UUID
        ble.irq(self._irq)
        ble.active(True)
        ble.config(mtu=MTU, gap_name=self._name, bond=True, le_secure=True, mitm=False, io=_NO_INPUT_NO_OUTPUT)
        table = [(uuid(service), [(uuid(each), flags) for each, flags in parts]) for service, parts in services]
        for (_, parts), handles in zip(services, ble.gatts_register_services(table)):
            for (each, flags), handle in zip(parts, handles):
                self._handles[each] = handle
                if flags & (READ_ENCRYPTED | WRITE_ENCRYPTED):
                    self._sealed.add(handle)
                if flags & (WRITE | WRITE_NO_RESPONSE):
                    ble.gatts_set_buffer(handle, _ROOM)
        self._advertised = advertisement(self._name, advertised)
        self._advertise()

    def set(self, uuid: "Uuid", value: bytes) -> None:
        """What a central reads there."""
        self._ble.gatts_write(self._handles[uuid], value)

    def notify(self, uuid: "Uuid", value: bytes) -> None:
        """Tell a central that has subscribed; it is also what a read gives."""
        self._ble.gatts_write(self._handles[uuid], value, self._may_tell(uuid))

    async def indicate(self, uuid: "Uuid", value: bytes) -> bool:
        """Tell a central that has subscribed; whether it confirmed. One at a time for each characteristic.

        A central that has not subscribed is only known by its silence, for as long as the protocol gives it.
        """
        handle = self._handles[uuid]
        if handle in self._awaited or not self._may_tell(uuid):
            return False
        ended = self._awaited[handle] = asyncio.Event()
        self._ended.pop(handle, None)
        try:
            self._ble.gatts_write(handle, value, True)
            await asyncio.wait_for(ended.wait(), self._confirm_s)
        except asyncio.TimeoutError:
            return False
        finally:
            del self._awaited[handle]
        return self._ended.get(handle) == 0

    def disconnect(self) -> None:
        """Send the central away."""
        if self._connection is not None:
            self._ble.gap_disconnect(self._connection)

    async def run(self) -> None:
        """Take what centrals write, keep bonds, and advertise whenever nobody is there."""
        while True:
            await self._flag.wait()
            self._bonds.save()
            while self._writes:
                handle, value = self._writes.pop(0)
                for uuid, take in self.on_write.items():
                    if self._handles[uuid] == handle:
                        take(value)
            link = (self.connected, self.encrypted)
            if link != self._known:
                before, self._known = self._known, link
                if link[0] and not before[0]:
                    self._ask_to_encrypt()
                elif not link[0]:
                    self._advertise()
                self.on_link()
            for handle, ended in self._awaited.items():
                if handle in self._ended or not self.connected:
                    ended.set()

    def _may_tell(self, uuid: "Uuid") -> bool:
        return self.connected and (self.encrypted or self._handles[uuid] not in self._sealed)

    def _ask_to_encrypt(self) -> None:
        if self._sealed and self._connection is not None:
            try:
                self._ble.gap_pair(self._connection)
            except OSError as error:
                print("gatt: the central is gone already:", error)

    def _advertise(self) -> None:
        try:
            self._ble.gap_advertise(_INTERVAL_US, self._advertised[0], resp_data=self._advertised[1])
        except OSError as error:
            print("gatt: cannot advertise:", error)

    def _irq(self, event: int, data: "tuple[Any, ...]") -> "bytes | bool | None":
        """An interrupt: notes what happened; only the stack's questions for secrets are answered here."""
        if event == _GET_SECRET:
            return self._bonds.get(data[0], data[1], None if data[2] is None else bytes(data[2]))
        if event == _SET_SECRET:
            done = self._bonds.set(data[0], bytes(data[1]), None if data[2] is None else bytes(data[2]))
            self._flag.set()
            return done
        if event == _CENTRAL_CONNECT:
            self._connection, self.encrypted, self.mtu = data[0], False, SMALLEST_MTU
        elif event == _CENTRAL_DISCONNECT:
            self._connection, self.encrypted = None, False
        elif event == _ENCRYPTION_UPDATE:
            self.encrypted = bool(data[1])
        elif event == _MTU_EXCHANGED:
            self.mtu = data[1]
        elif event == _INDICATE_DONE:
            self._ended[data[1]] = data[2]
        elif event == _GATTS_WRITE:
            self._note(data[1])
        self._flag.set()
        return None

    def _note(self, handle: int) -> None:
        """Take a written value at once: the next one takes its place."""
        if len(self._writes) < _MOST_WRITES:
            self._writes.append((handle, bytes(self._ble.gatts_read(handle))))
        else:
            self.dropped += 1


def advertisement(name: str, services: "Sequence[Uuid]") -> "tuple[bytes, bytes]":
    """An advertisement, and the answer to a scan, which has the name, cut to what fits.

    Source: Core Specification Supplement 11, part A.
    """
    short = b"".join([struct.pack("<H", each) for each in services if isinstance(each, int)])
    said = _part(_FLAGS, b"\x06")  # general discoverable, no classic Bluetooth
    if short:
        said += _part(_UUIDS_16, short)
    for each in services:
        if isinstance(each, str):
            said += _part(_UUID_128, bytes(reversed(bytes.fromhex(each.replace("-", "")))))
    return said, _part(_NAME, name.encode()[: _LONGEST_ADVERTISEMENT - 2])


def _part(kind: int, content: bytes) -> bytes:
    return bytes([len(content) + 1, kind]) + content
