"""A GATT service as a line for provisioning: a technician writes messages in pieces, and is indicated the answers."""

import asyncio

from firmware.core.bonds import Bonds
from firmware.core.gatt_server import INDICATE, WRITE, GattServer
from firmware.errors import LineError
from protocols.errors import DecodeError
from protocols.provisioning import Values
from protocols.provisioning.framing import ANSWER, REQUEST, SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SILENCE_S = 10  # after which a central has to make room for others
_ATT_HEADER = 3
_MOST_WAITING = 4  # messages; a technician waits for each answer


class GattLine:
    """Messages of one central at a time, which finds the device by its id."""

    name = "bluetooth"

    def __init__(self, hal: "Any", device: str):
        self._server = GattServer(hal.bluetooth(), Bonds(hal.storage()), name=device)
        self._values = Values()
        self._waiting: "list[bytes]" = []
        self._there = False
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Be found, and take what is written, until cancelled."""
        self._server.on_write[REQUEST] = self._take
        self._server.on_link = self._news.set
        try:
            self._server.start(((SERVICE, ((REQUEST, WRITE), (ANSWER, INDICATE))),), advertised=(SERVICE,))
        except OSError as error:
            print("bluetooth: cannot be used:", error)  # there is the console still
            return
        await self._server.run()

    async def receive(self) -> bytes:
        """The next message. Raises LineError when the central has gone."""
        while not self._waiting:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), _SILENCE_S)
            except asyncio.TimeoutError:
                self._server.disconnect()
            was_there, self._there = self._there, self._server.connected
            if was_there and not self._there:
                self._values = Values()
                self._waiting = []
                raise LineError(self.name, "the technician has gone")
        return self._waiting.pop(0)

    async def send(self, message: bytes) -> None:
        """Indicate the message, piece by piece. Raises LineError when the central is not there to confirm."""
        data = self._values.encode(message)
        size = self._server.mtu - _ATT_HEADER
        for start in range(0, len(data), size):
            if not await self._server.indicate(ANSWER, data[start : start + size]):
                raise LineError(self.name, "the technician takes no answer")

    def _take(self, value: bytes) -> None:
        """Take a piece. Who sends something else, or more than he is answered, is sent away."""
        try:
            self._waiting += self._values.feed(value)
        except DecodeError as error:
            print("provisioning:", error)
            self._server.disconnect()
        if len(self._waiting) > _MOST_WAITING:
            self._waiting = self._waiting[:_MOST_WAITING]
            self._server.disconnect()
        self._news.set()
