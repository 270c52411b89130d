"""The Bluetooth stack and controller of simulated boards: what stands behind MicroPython's `bluetooth` there.

A board is a TCP connection (hardware/sim/shims/bluetooth.py); when it ends, the board has lost power. Its calls are
answered as MicroPython's documentation says, and as NimBLE does where that is silent. Bonds are the board's: the
stack asks for each secret, and hands it over to be kept. Whether subscriptions of bonded centrals are kept among them
differs by port: BTstack (RP2) does so, NimBLE (ESP32) does not; `keeps_subscriptions` chooses.
"""

import asyncio
import errno
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import BaseBumbleError, InvalidArgumentError
from bumble.device import AdvertisingType, Connection, Device
from bumble.host import Host
from bumble.keys import KeyStore, PairingKeys
from bumble.link import LocalLink
from bumble.pairing import PairingConfig, PairingDelegate

from hardware.sim.ble_attributes import Attributes, Subscription, Value
from hardware.sim.shims.radio_lines import ANSWER, ASK, CALL, DONE, EVENT, FAILED, LONGEST, decode, encode

log = logging.getLogger(__name__)

CENTRAL_CONNECT, CENTRAL_DISCONNECT, GATTS_WRITE, INDICATE_DONE, MTU_EXCHANGED = 1, 2, 3, 20, 21
ENCRYPTION_UPDATE, GET_SECRET, SET_SECRET = 28, 29, 30
PEER_SEC, CCCD, OUR_IRK = 2, 3, 10  # kinds of secrets, by NimBLE's numbers
NOT_CONNECTED, TIMED_OUT = 7, 13  # NimBLE's status of an indication
DEFAULT_MTU = 256
_NO_INPUT_NO_OUTPUT = 3
_KEY_BYTES = 16


class SecretStore(KeyStore):
    """The bonds, which the board keeps. `ask` has the board answer an event."""

    def __init__(self, ask: Callable[..., Awaitable[Any]], bonding: Callable[[], bool]):
        self._ask = ask
        self._bonding = bonding

    async def get(self, name: str) -> PairingKeys | None:
        """A peer's keys."""
        found = await self._ask(GET_SECRET, PEER_SEC, 0, peer_key(hci.Address(name)))
        return PairingKeys.from_dict(json.loads(found)) if found else None

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """None: a private address is not resolved here."""
        return []

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Have the board keep a peer's keys."""
        if self._bonding():
            await self._ask(SET_SECRET, PEER_SEC, peer_key(hci.Address(name)), json.dumps(keys.to_dict()).encode())

    async def delete(self, name: str) -> None:
        """Have the board forget a peer."""
        await self._ask(SET_SECRET, PEER_SEC, peer_key(hci.Address(name)), None)


class BoardRadio:
    """One board's stack. `run` serves its connection until the board is gone."""

    def __init__(self, link: LocalLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keeps: bool):
        self._link = link
        self._reader = reader
        self._writer = writer
        self._keeps_subscriptions = keeps
        self._answers: asyncio.Queue[Any] = asyncio.Queue(1)
        self._asking = asyncio.Lock()
        self._calls: asyncio.Queue[list[Any]] = asyncio.Queue(1)  # a board waits for each answer
        self._controller: Controller | None = None
        self._device: Device | None = None
        self._settings: dict[str, Any] = {"gap_name": b"MPY NIMBLE", "mtu": DEFAULT_MTU, "bond": False}
        self._settings |= {"mitm": False, "le_secure": False, "io": _NO_INPUT_NO_OUTPUT, "rxbuf": 256, "addr_mode": 1}
        self._attributes = Attributes()
        self._connections: dict[int, Connection] = {}
        self._encryption_told: dict[Connection, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._advertised = (b"", b"")

    async def run(self) -> None:
        """Serve until the board is gone."""
        serving = asyncio.create_task(self._serve(), name="board: calls")
        try:
            while line := await self._reader.readline():
                message = decode(line)
                if message[0] == CALL:
                    await self._calls.put(message)
                elif message[0] == ANSWER:
                    await self._answers.put(message[1])
        except (ConnectionError, ValueError) as error:
            log.warning("a board is cut off: %s", error)
        finally:
            serving.cancel()
            for task in (serving, *self._tasks):
                task.cancel()
            self.vanish()
            self._writer.close()

    def vanish(self) -> None:
        """What a loss of power looks like from the other end: nothing more comes."""
        if self._controller is None:
            return
        controller, self._controller, self._device = self._controller, None, None
        for connection in controller.le_connections.values():
            with suppress(InvalidArgumentError):  # the peer has left the link altogether
                connection.send_ll_control_pdu(ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR))
        controller.le_connections.clear()
        controller.le_legacy_advertiser.stop()
        self._link.remove_controller(controller)

    async def _serve(self) -> None:
        while True:
            _, name, arguments = await self._calls.get()
            call = self._call_named(name)
            try:
                self._send([DONE, await call(*arguments)])
            except OSError as error:
                self._send([FAILED, error.errno])
            except (BaseBumbleError, KeyError, TypeError, ValueError) as error:
                log.warning("%s: %r", name, error)
                self._send([FAILED, errno.EINVAL])

    def _call_named(self, name: str) -> Callable[..., Awaitable[Any]]:
        calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "active": self._active,
            "configure": self._configure,
            "setting": self._setting,
            "gap_advertise": self._gap_advertise,
            "gap_disconnect": self._gap_disconnect,
            "gap_pair": self._gap_pair,
            "gatts_register_services": self._register,
            "gatts_read": self._gatts_read,
            "gatts_write": self._gatts_write,
            "gatts_notify": self._gatts_notify,
            "gatts_indicate": self._gatts_indicate,
            "gatts_set_buffer": self._gatts_set_buffer,
        }
        return calls[name]

    def _send(self, message: list[Any]) -> None:
        self._writer.write(encode(message))

    def _tell(self, number: int, *data: Any) -> None:
        self._send([EVENT, number, list(data)])

    async def _ask(self, number: int, *data: Any) -> Any:
        """The board's answer. It comes, and must be taken, also when nobody waits for it any more."""
        return await asyncio.shield(self._spawn(self._answered(number, *data)))

    async def _answered(self, number: int, *data: Any) -> Any:
        async with self._asking:
            self._send([ASK, number, list(data)])
            return await self._answers.get()

    # --- the board's calls ---

    async def _active(self, active: bool | None, address: bytes) -> bool:
        if active and self._device is None:
            await self._power_on(address)
        elif active is False:
            self.vanish()
        return self._device is not None

    async def _power_on(self, address: bytes) -> None:
        self._controller = Controller("board", link=self._link)
        host = Host(self._controller, self._controller)  # no transport between the two halves
        self._controller.host = host
        self._device = device = Device("board", hci.Address(address[::-1]), host=host)
        device.name = self._settings["gap_name"].decode()
        device.keystore = SecretStore(self._ask, lambda: bool(self._settings["bond"]))
        device.pairing_config_factory = self._pairing
        device.gatt_server.max_mtu = self._settings["mtu"]
        device.on(Device.EVENT_CONNECTION, self._connected)
        if not await self._ask(GET_SECRET, OUR_IRK, 0, b"irk"):
            await self._ask(SET_SECRET, OUR_IRK, b"irk", bytes(range(16)))
        await device.power_on()

    async def _configure(self, values: list[list[Any]]) -> None:
        for name, value in values:
            if name not in self._settings:
                raise OSError(errno.EINVAL)
            self._settings[name] = value.encode() if name == "gap_name" and isinstance(value, str) else value
        if self._device:
            self._device.gatt_server.max_mtu = self._settings["mtu"]

    async def _setting(self, name: str) -> Any:
        if name == "mac":
            return [1, bytes(self._on.random_address)[::-1]]
        if name not in ("gap_name", "mtu", "rxbuf"):
            raise OSError(errno.EINVAL)
        return self._settings[name]

    async def _gap_advertise(
        self, interval_us: int | None, data: bytes | None, response: bytes | None, connectable: bool
    ) -> None:
        device = self._on
        if device.is_advertising:
            await device.stop_advertising()
        if interval_us is None:
            return
        self._advertised = (
            self._advertised[0] if data is None else data,
            self._advertised[1] if response is None else response,
        )
        if any(len(each) > 31 for each in self._advertised):
            raise OSError(errno.EINVAL)
        kinds = AdvertisingType
        interval_ms = interval_us // 625 * 0.625
        await device.start_advertising(
            advertising_type=kinds.UNDIRECTED_CONNECTABLE_SCANNABLE if connectable else kinds.UNDIRECTED_SCANNABLE,
            advertising_data=self._advertised[0],
            scan_response_data=self._advertised[1],
            advertising_interval_min=interval_ms,
            advertising_interval_max=interval_ms,
        )

    async def _gap_disconnect(self, handle: int) -> bool:
        if handle not in self._connections:
            return False
        self._spawn(self._connections[handle].disconnect())
        return True

    async def _gap_pair(self, handle: int) -> None:
        self._connection(handle).request_pairing()

    async def _register(self, services: list[Any]) -> list[list[int]]:
        if self._on.is_advertising:
            raise OSError(errno.EBUSY)
        self._attributes = made = Attributes()
        server = self._on.gatt_server
        server.attributes.clear()
        server.attributes_by_handle.clear()
        server.services.clear()
        self._on.add_default_services()
        found = [made.service(each, self._is_bonded, self._written, self._subscribed) for each in services]
        self._on.add_services(found)
        handles = made.number()
        return [[next(handles) for _, _, more in each[1] for _ in range(1 + len(more))] for each in services]

    async def _gatts_read(self, handle: int) -> bytes:
        return self._value(handle).read()

    async def _gatts_set_buffer(self, handle: int, room: int, append: bool) -> None:
        self._value(handle).set_buffer(room, append)

    async def _gatts_write(self, handle: int, data: bytes, send_update: bool) -> None:
        self._value(handle).write(data)
        subscription = self._attributes.subscriptions.get(handle)
        if not send_update or subscription is None:
            return
        for number, connection in self._connections.items():
            bits = subscription.bits.get(connection, 0)
            if bits & 1:
                await self._gatts_notify(number, handle, None)
            elif bits & 2:
                await self._gatts_indicate(number, handle, None)

    async def _gatts_notify(self, number: int, handle: int, data: bytes | None) -> None:
        connection, value = self._connection(number), self._value(handle)
        attribute = self._attributes.attributes[handle]
        said = value.bytes if data is None else data
        await self._on.gatt_server.notify_subscriber(connection, attribute, said, force=True)

    async def _gatts_indicate(self, number: int, handle: int, data: bytes | None) -> None:
        connection, value = self._connection(number), self._value(handle)
        self._spawn(self._indicate(number, connection, handle, value.bytes if data is None else data))

    async def _indicate(self, number: int, connection: Connection, handle: int, data: bytes) -> None:
        attribute = self._attributes.attributes[handle]
        indication = self._on.gatt_server.indicate_subscriber(connection, attribute, data, force=True)
        status = 0
        try:
            await connection.cancel_on_disconnection(indication)
        except TimeoutError:
            status = TIMED_OUT
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            status = NOT_CONNECTED  # bumble cancelled it: the link went first
        self._tell(INDICATE_DONE, number, handle, status)

    # --- what comes by radio ---

    def _connected(self, connection: Connection) -> None:
        self._connections[connection.handle] = connection
        told = self._encryption_told[connection] = asyncio.Event()
        peer = connection.peer_address
        who = (connection.handle, int(peer.address_type) & 1, bytes(peer)[::-1])
        self._tell(CENTRAL_CONNECT, *who)

        def gone(_reason: int) -> None:
            self._connections.pop(connection.handle, None)
            self._encryption_told.pop(connection, None)
            told.set()
            for subscription in self._attributes.subscriptions.values():
                subscription.bits.pop(connection, None)
            self._tell(CENTRAL_DISCONNECT, *who)

        connection.on(Connection.EVENT_DISCONNECTION, gone)
        connection.on(
            Connection.EVENT_CONNECTION_ATT_MTU_UPDATE,
            lambda: self._tell(MTU_EXCHANGED, connection.handle, connection.att_mtu),
        )
        connection.on(
            Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, lambda: self._spawn(self._encryption(connection, False))
        )
        connection.on(Connection.EVENT_PAIRING, lambda _keys: self._spawn(self._encryption(connection, True)))

    async def _encryption(self, connection: Connection, paired: bool) -> None:
        """NimBLE tells of it once: after a pairing, when the keys have been exchanged."""
        pairing = self._on.smp_manager.sessions.get(connection.handle)
        if pairing is not None and not paired and not pairing.completed:
            return
        keys = await self._keys(connection)
        if keys and self._keeps_subscriptions:
            await self._restore_subscriptions(connection)
        if self._connections.get(connection.handle) is not connection:
            return
        authenticated = keys is not None and keys.ltk is not None and keys.ltk.authenticated
        self._encryption_told[connection].set()
        self._tell(
            ENCRYPTION_UPDATE, connection.handle, connection.is_encrypted, authenticated, keys is not None, _KEY_BYTES
        )

    async def _restore_subscriptions(self, connection: Connection) -> None:
        for handle, subscription in self._attributes.subscriptions.items():
            key = peer_key(connection.peer_address) + handle.to_bytes(2, "little")
            if connection not in subscription.bits and (found := await self._ask(GET_SECRET, CCCD, 0, key)):
                subscription.bits[connection] = found[0]

    async def _subscribed(self, connection: Connection, subscription: Subscription) -> None:
        if self._keeps_subscriptions and await self._is_bonded(connection):
            key = peer_key(connection.peer_address) + subscription.handle.to_bytes(2, "little")
            await self._ask(SET_SECRET, CCCD, key, bytes([subscription.bits[connection]]))

    async def _written(self, connection: Connection, value: Value) -> None:
        """The board sees all in the order in which it happened; then the central has its answer."""
        if connection.is_encrypted and connection in self._encryption_told:
            await self._encryption_told[connection].wait()
        await self._ask(GATTS_WRITE, connection.handle, value.handle)

    async def _is_bonded(self, connection: Connection) -> bool:
        return await self._keys(connection) is not None

    async def _keys(self, connection: Connection) -> PairingKeys | None:
        keystore = self._on.keystore
        assert keystore
        return await keystore.get(str(connection.peer_address))

    # --- small things ---

    @property
    def _on(self) -> Device:
        if self._device is None:
            raise OSError(errno.ENODEV)
        return self._device

    def _connection(self, handle: int) -> Connection:
        if handle not in self._connections:
            raise OSError(errno.ENOTCONN)
        return self._connections[handle]

    def _value(self, handle: int) -> Value:
        self._on  # noqa: B018 - the radio must be on
        if handle not in self._attributes.values:
            raise OSError(errno.EINVAL)
        return self._attributes.values[handle]

    def _pairing(self, _connection: Connection) -> PairingConfig:
        keys = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        delegate = PairingDelegate(PairingDelegate.IoCapability(self._settings["io"]), keys, keys)
        settings = self._settings
        return PairingConfig(
            sc=bool(settings["le_secure"]),
            mitm=bool(settings["mitm"]),
            bonding=bool(settings["bond"]),
            delegate=delegate,
        )

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def peer_key(address: hci.Address) -> bytes:
    """A peer as NimBLE's store names it: type and address."""
    return bytes([int(address.address_type) & 1]) + bytes(address)


async def open_boards(link: LocalLink, port: int, *, keeps_subscriptions: bool = True) -> asyncio.Server:
    """Serve boards on 127.0.0.1:port (0: any free port)."""

    async def board(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end of the program; Python 3.11's streams complain of it
            await BoardRadio(link, reader, writer, keeps_subscriptions).run()

    return await asyncio.start_server(board, "127.0.0.1", port, limit=LONGEST)
