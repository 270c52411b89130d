"""A man in the middle of a Bluetooth connection: a device to the technician, a technician to the device."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink

from bench.parts.new_device import Change, untouched
from protocols.provisioning import Values
from protocols.provisioning.framing import ANSWER, REQUEST, SERVICE
from tests.firmware.ble_boards import Central, Link

_ADDRESS = "C0:66:66:66:66:66"
_PIECE = 20  # fits every connection
_OFTEN = {"advertising_interval_min": 50, "advertising_interval_max": 50}  # ms


class Mallory:
    """Has the device to himself, and advertises in its name. `heard`: every message; whether it was for the device."""

    def __init__(self, link: LocalLink, name: str):
        self.to_device: Change = untouched
        self.to_technician: Change = untouched
        self.heard: list[tuple[bool, bytes]] = []
        controller = Controller("mallory", link=link)
        host = Host(controller, controller)
        controller.host = host
        self._device = Device("mallory", Address(_ADDRESS), host=host)
        self._name = name
        self._values = [Values(), Values()]
        self._waiting: asyncio.Queue[tuple[bool, bytes]] = asyncio.Queue()

    async def run(self, link: Link) -> None:
        """Carry everything between this connection to the device and whoever connects, until cancelled."""
        await link.subscribe(ANSWER)
        requests = Characteristic(
            REQUEST, Characteristic.Properties.WRITE, Characteristic.WRITEABLE, CharacteristicValue(write=self._written)
        )
        answers = Characteristic(ANSWER, Characteristic.Properties.INDICATE, Characteristic.READABLE, b"")
        self._device.add_service(Service(SERVICE, [requests, answers]))
        await self._device.power_on()
        said = AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, self._name.encode())])
        await self._device.start_advertising(advertising_data=bytes(said), auto_restart=True, **_OFTEN)
        listening = asyncio.create_task(self._listen(link))
        try:
            while True:
                to_device, piece = await self._waiting.get()
                for message in self._values[to_device].feed(piece):
                    self.heard.append((to_device, message))
                    for changed in (self.to_device if to_device else self.to_technician)(message):
                        data = Values().encode(changed)
                        for start in range(0, len(data), _PIECE):
                            await self._pass_on(link, to_device, answers, data[start : start + _PIECE])
        finally:
            listening.cancel()
            await self._device.power_off()

    def tell_technician(self, message: bytes) -> None:
        """Speak to the technician in the device's place."""
        self._waiting.put_nowait((False, Values().encode(message)))

    async def _pass_on(self, link: Link, to_device: bool, answers: Characteristic[bytes], piece: bytes) -> None:
        if to_device:
            await link.find(REQUEST).write_value(piece, with_response=True)
        else:
            await self._device.indicate_subscribers(answers, piece)

    async def _listen(self, link: Link) -> None:
        while True:
            _, piece = await link.arrived.get()
            self._waiting.put_nowait((False, piece))

    def _written(self, _: Connection, piece: bytes) -> None:
        self._waiting.put_nowait((True, bytes(piece)))


@asynccontextmanager
async def in_the_middle(link: LocalLink, address: str, name: str) -> AsyncIterator[Mallory]:
    """Mallory, between this device and everybody else."""
    central = Central(link)
    await central.device.power_on()
    async with central.connected(address) as connection:
        mallory = Mallory(link, name)
        running = asyncio.create_task(mallory.run(connection), name="mallory")
        try:
            yield mallory
        finally:
            running.cancel()
            [result] = await asyncio.gather(running, return_exceptions=True)
            await central.close()
    if not isinstance(result, asyncio.CancelledError):
        raise AssertionError(f"Mallory ended by himself: {result!r}")
