"""Bluetooth Low Energy: one adapter, and the devices that are heard by it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from edge import config
from edge.errors import ActionRefused, ConfigError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.ble_records import RecordMemory
from edge.links.ble_sensor import Sensor, SensorKey
from edge.links.ble_station import Station
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Heard, open_radio
from hardware.catalogue import Ble, Command
from protocols import gatt
from protocols.reading import Value

log = logging.getLogger(__name__)

MOST_GAP_S = 4.0  # between attempts to open the adapter: it is back within 15 s of its return
STEADY_S = 10.0  # an adapter that served for so long and failed is tried again at once
REMEMBERED = 32  # records of a device that does not say how many it can give again


def make_link(declared: config.BleLink, surroundings: Surroundings) -> "BleLink":
    """The link as the config declares it. Raises ConfigError for a key that cannot be used."""
    return BleLink(
        name=declared.name,
        adapter=declared.adapter,
        devices=[Attached(device.thing, device.declared, device.address) for device in declared.devices],
        keys={device.thing: surroundings.secret(device.key_file) for device in declared.devices if device.key_file},
        zone=ZoneInfo(declared.timezone) if declared.timezone else None,
        cursors=surroundings.cursors(),
        intake=surroundings.intake,
        clock=surroundings.clock,
        bonds=surroundings.data / f"bonds-{declared.name}.json",
    )


class BleLink:
    """The link of one adapter: "bluez", or "hci:" and a bumble transport ("hci:usb:0", "hci:tcp-client:HOST:PORT").

    keys: of sensors that encrypt, by thing; zone: where the devices' clocks are, by default the system's; cursors: what
    the outbox knows of the devices' records; bonds: the file that keeps bonded devices' keys where BlueZ does not,
    without which they end with the process. Raises ConfigError for devices or an adapter that cannot be used.
    """

    def __init__(
        self,
        *,
        name: str,
        adapter: str,
        devices: Sequence[Attached],
        intake: Intake,
        clock: Clock,
        keys: Mapping[str, str] | None = None,
        zone: ZoneInfo | None = None,
        cursors: Mapping[tuple[str, str], Mapping[int, int]] | None = None,
        bonds: Path | None = None,
    ):
        if adapter != "bluez" and not adapter.startswith("hci:"):
            raise ConfigError(f"{name}: adapter {adapter!r} is neither bluez nor hci:TRANSPORT")
        self.name = name
        self._adapter = adapter
        self._bonds = bonds
        self._reopening = Backoff(most_s=MOST_GAP_S)
        self._posts: dict[str, Station | Sensor] = {}  # by address
        for device in devices:
            address, ble = device.address.upper(), device.model.ble
            if address in self._posts:
                raise ConfigError(f"{name}: address {address} is given to two devices")
            if ble is None:
                raise ConfigError(f"{name}: {device.thing}: {device.model.device.model} is no Bluetooth device")
            if ble.advertises:
                text = (keys or {}).get(device.thing)
                key = SensorKey(device.thing, address, text) if text is not None else None
                self._posts[address] = Sensor(device, key=key, intake=intake, clock=clock, cursors=cursors or {})
            else:
                memory = RecordMemory(device.thing, cursors or {}, size=_remembered(ble))
                self._posts[address] = Station(device, ble=ble, intake=intake, clock=clock, zone=zone, memory=memory)

    async def run(self) -> None:
        """Serve the devices until cancelled; an adapter that fails or vanishes is opened again."""
        loop = asyncio.get_running_loop()
        told = ""
        while True:
            started = loop.time()
            try:
                reason = await self._serve()
            except RadioError as error:
                reason = error.reason
            for post in self._posts.values():
                post.cut_off(reason)
            if loop.time() - started > STEADY_S:
                self._reopening.reset()
                told = ""
            if reason != told:
                log.error("%s: %s; it is tried again every few seconds", self.name, reason)
                told = reason
            await asyncio.sleep(self._reopening.next_s())

    async def act(self, thing: str, command: Command, value: Value) -> Value:
        """Write a characteristic, once. Raises ActionRefused, ActionFailed."""
        for post in self._posts.values():
            if post.thing == thing:
                return await post.act(command, value)
        raise ActionRefused(thing, f"is no device of {self.name}")

    async def _serve(self) -> str:
        """Serve the devices until the adapter fails, and tell how it did. Raises RadioError if it cannot be opened."""
        async with open_radio(self._adapter, self._bonds) as radio, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(post.run(radio), name=f"{self.name}: {post.thing}") for post in self._posts.values()
            ]
            try:
                await radio.listen(self._heard)
            except RadioError as error:
                reason = error.reason
            for task in tasks:
                task.cancel()
        return reason

    def _heard(self, heard: Heard) -> None:
        if post := self._posts.get(heard.address):
            post.advertises(heard)


def _remembered(ble: Ble) -> int:
    """How many records to know again: all that the device can hold, each with its context."""
    if ble.records is None:
        return REMEMBERED
    return ble.records * (2 if gatt.GLUCOSE_MEASUREMENT_CONTEXT in ble.characteristics else 1)
