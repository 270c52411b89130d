"""A device by Bluetooth, which advertises under its id while it waits to be provisioned."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from edge.errors import LinkError
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Heard, Peer, Radio, open_radio
from edge.provision.words import word
from protocols.errors import DecodeError
from protocols.provisioning import Values
from protocols.provisioning.framing import ANSWER, REQUEST, SERVICE

FIND_S = 10.0
_NAME_BYTES = 29  # of a name fit an advertisement
_MOST_WAITING = 16  # messages; a device sends one at a time, so what comes beyond is nobody's answer, and dropped


class BleLine:
    """Messages in pieces: written here, indicated there. Raises LinkError when the connection fails."""

    def __init__(self, adapter: str, peer: Peer):
        self._adapter = adapter
        self._peer = peer
        self._values = Values()
        self._messages: asyncio.Queue[bytes | Exception] = asyncio.Queue(_MOST_WAITING)
        peer.gone.add_done_callback(lambda _: self._put(RadioError(word("gone"))))

    async def open(self) -> None:
        """Have the device's messages sent here."""
        with _link_errors(self._adapter):
            await self._peer.subscribe(ANSWER, self._arrived)

    async def send(self, message: bytes) -> None:
        """Send a message."""
        data, room = self._values.encode(message), self._peer.room(REQUEST)
        with _link_errors(self._adapter):
            if not room:
                raise RadioError(word("no service"))
            for start in range(0, len(data), room):
                await self._peer.write(REQUEST, data[start : start + room])

    async def receive(self) -> bytes:
        """The next message."""
        message = await self._messages.get()
        if isinstance(message, Exception):
            raise LinkError(self._adapter, str(message)) from message
        return message

    def _arrived(self, _: str, value: bytes) -> None:
        try:
            for message in self._values.feed(value):
                self._put(message)
        except DecodeError as error:
            self._put(error)

    def _put(self, message: bytes | Exception) -> None:
        with suppress(asyncio.QueueFull):
            self._messages.put_nowait(message)


@asynccontextmanager
async def ble_line(adapter: str, device: str) -> AsyncIterator[BleLine]:
    """The line to this device, found by its id. Raises LinkError."""
    with _link_errors(adapter):
        async with open_radio(adapter, None) as radio:
            heard = await _found(radio, device)
            async with radio.connected(heard, [SERVICE]) as peer:
                line = BleLine(adapter, peer)
                await line.open()
                yield line


async def _found(radio: Radio, device: str) -> Heard:
    """Who advertises under this id. Raises RadioError if nobody does."""
    name = device[:_NAME_BYTES]
    found: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

    def heard(said: Heard) -> None:
        if said.name == name and not found.done():
            found.set_result(said)

    listening = asyncio.create_task(radio.listen(heard), name="listening for the device")
    try:
        await asyncio.wait((found, listening), timeout=FIND_S, return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            await listening
        if not found.done():
            raise RadioError(word("not heard", device))
        return found.result()
    finally:
        listening.cancel()
        await asyncio.wait((listening,))


@contextmanager
def _link_errors(adapter: str) -> Iterator[None]:
    try:
        yield
    except RadioError as error:
        raise LinkError(adapter, error.reason) from error
