"""Provisioning a real device (MicroPython) over the virtual radio, also with somebody in between."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bumble.link import LocalLink

from bench.parts.new_device import DEVICE, SERIAL, on_a_cable, powered, produce
from edge.errors import LinkError, ProvisionError
from edge.provision import ble_line as ble
from edge.provision.ble_line import ble_line
from edge.provision.conversation import Line, provision
from edge.provision.serial_line import serial_line
from hardware.sim.ble import open_dongle
from hardware.sim.ble_stack import open_boards
from hardware.sim.shims.radio_lines import address_of
from protocols.provisioning import Values, wire
from protocols.provisioning.content import Provision
from protocols.provisioning.framing import ANSWER, REQUEST
from runtime.label import Label
from tests.firmware.ble_boards import Central, Link
from tests.firmware.mallory import Mallory, in_the_middle
from tests.firmware.test_provisioning import CHANGED, CONFIG, PASSWORD, UNKNOWN

ADDRESS = ":".join(f"{byte:02X}" for byte in address_of(SERIAL))


class Air:
    """A radio link with a new device and the technician's dongle."""

    def __init__(self, link: LocalLink, adapter: str, state: Path, radio: int):
        self.link = link
        self.adapter = adapter
        self.state = state
        self.label = produce(state)
        self._radio = radio
        self._power = AsyncExitStack()

    async def start(self, but: str = "") -> None:
        await self._power.enter_async_context(powered(self.state, radio=self._radio, but=but))

    async def stop(self) -> None:
        await self._power.aclose()

    async def provision(self, label: Label | None = None) -> None:
        async with ble_line(self.adapter, DEVICE) as line:
            await self.provision_on(line, label)

    async def provision_on(self, line: Line, label: Label | None = None) -> None:
        given = Provision(CONFIG, b"certificate", b"ca")
        await provision(line, label or self.label, lambda _: given, lambda _: None)

    def config(self) -> Any:
        path = self.state / "config.json"
        return json.loads(path.read_text()) if path.exists() else None


@asynccontextmanager
async def open_air(folder: Path) -> AsyncIterator[Air]:
    link = LocalLink()
    async with await open_dongle(link, 0) as dongle, await open_boards(link, 0) as boards:
        adapter = f"hci:tcp-client:127.0.0.1:{dongle.sockets[0].getsockname()[1]}"
        air = Air(link, adapter, folder / "device", boards.sockets[0].getsockname()[1])
        try:
            yield air
        finally:
            await air.stop()


@pytest.fixture
async def air(tmp_path: Path) -> AsyncIterator[Air]:
    async with open_air(tmp_path) as air:
        await air.start()
        yield air


@pytest.fixture
async def mallory(air: Air) -> AsyncIterator[Mallory]:
    async with in_the_middle(air.link, ADDRESS, DEVICE) as mallory:
        yield mallory


async def test_over_the_air(air: Air) -> None:
    await air.provision()
    assert air.config() == CONFIG


async def test_who_listens_learns_nothing(air: Air, mallory: Mallory) -> None:
    await air.provision()
    assert air.config() == CONFIG
    heard = b"".join(message for _, message in mallory.heard)
    assert len(mallory.heard) == 8
    for secret in (PASSWORD.encode(), b"ward", b"192.0.2.1", air.label.secret, b"kerb-wearable", b"config"):
        assert secret not in heard


async def test_who_changes_a_message_changes_nothing_else(air: Air, mallory: Mallory) -> None:
    """Each message in turn; those first that end behind the proofs, lest the device wants to rest."""
    for number in (3, 4, 5, 6, 0, 1, 2, 7):
        count = 0

        def change(message: bytes) -> list[bytes]:
            nonlocal count
            count += 1
            return [message[:-1] + bytes([message[-1] ^ 1]) if count == number + 1 else message]  # noqa: B023

        mallory.to_device = mallory.to_technician = change
        with pytest.raises(ProvisionError, match=UNKNOWN if number > 5 else CHANGED + "|another device"):
            await air.provision()
        assert air.config() == (CONFIG if number == 7 else None)


async def test_who_plays_the_device_without_its_secret_is_told_nothing(air: Air, mallory: Mallory) -> None:
    """He has a challenge of his own, and sends the technician's proof back to him."""

    def play(message: bytes) -> list[bytes]:
        if message[0] == wire.HELLO:
            mallory.tell_technician(wire.join(wire.CHALLENGE, bytes(16), DEVICE.encode()))
        else:
            mallory.tell_technician(bytes([wire.ANSWER]) + message[1:])
        return []

    mallory.to_device = play
    with pytest.raises(ProvisionError, match="does not know the secret"):
        await air.provision()
    assert [message[0] for to_device, message in mallory.heard if to_device] == [wire.HELLO, wire.PROOF]
    assert not (air.state / "failed-bluetooth").exists()  # the device was left in peace


async def test_strangers_are_slowed_down_over_the_air_only(air: Air) -> None:
    stranger = Label.make(DEVICE)
    for _ in range(3):
        with pytest.raises(ProvisionError, match="does not know the secret"):
            await air.provision(stranger)
    await air.stop()
    await air.start()  # the count outlasts it
    for label in (stranger, None):
        with pytest.raises(ProvisionError, match="wants 1 seconds"):
            await air.provision(label)
    assert (air.state / "failed-bluetooth").read_text() == "3"
    async with on_a_cable() as cable:
        await air.stop()
        async with powered(air.state, console=cable.console):
            await cable.until(b"waits on")
            async with serial_line(cable.port) as line:
                await air.provision_on(line)
    assert air.config() == CONFIG


class SmallLine:
    """A technician's line in the smallest pieces that there are."""

    def __init__(self, link: Link):
        self._link = link
        self._values = Values()
        self._waiting: list[bytes] = []

    async def send(self, message: bytes) -> None:
        data = self._values.encode(message)
        for start in range(0, len(data), 20):
            await self._link.find(REQUEST).write_value(data[start : start + 20], with_response=True)

    async def receive(self) -> bytes:
        while not self._waiting:
            _, piece = await self._link.next()
            assert len(piece) <= 20
            self._waiting += self._values.feed(piece)
        return self._waiting.pop(0)


async def test_with_the_smallest_mtu(air: Air) -> None:
    async with central(air) as one, one.connected(ADDRESS, mtu=23) as link:
        await link.subscribe(ANSWER)
        await air.provision_on(SmallLine(link))
    assert air.config() == CONFIG


async def test_who_speaks_otherwise_or_not_at_all_makes_room_for_others(tmp_path: Path) -> None:
    async with open_air(tmp_path) as air, central(air) as one:
        await air.start(but="from firmware.core import gatt_line; gatt_line._SILENCE_S = 1")
        for said in ((), (b"\xff\xff",), (b"\x00\x01!",) * 6):
            async with one.connected(ADDRESS) as link:
                gone = asyncio.Event()
                link.connection.on(link.connection.EVENT_DISCONNECTION, lambda _, gone=gone: gone.set())
                for piece in said:
                    await link.find(REQUEST).write_value(piece, with_response=True)
                await asyncio.wait_for(gone.wait(), 5)
        await air.provision()
        assert air.config() == CONFIG


async def test_nobody_there(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    await air.stop()
    monkeypatch.setattr(ble, "FIND_S", 0.5)
    with pytest.raises(LinkError, match="nobody advertises as wearable-7"):
        await air.provision()


@asynccontextmanager
async def central(air: Air) -> AsyncIterator[Central]:
    central = Central(air.link)
    await central.device.power_on()
    try:
        yield central
    finally:
        await central.close()
