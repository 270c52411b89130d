"""bleak's backend on bumble."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble.core import BaseBumbleError
from bumble.device import Connection

from edge.links.bleak_bumble import MOST_EARLY, backends
from edge.links.bumble_errors import bleak_errors
from edge.links.hci import HciAdapter
from tests.edge.ble_room import (
    CUFF,
    DATED,
    OXIMETER,
    SPO2_97_PULSE_72,
    UNDATED,
    FixedOximeter,
    QuietCuff,
    Room,
    radio_room,
)  # fmt: skip


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


async def test_what_is_indicated_before_the_subscription_is_not_lost(room: Room):
    class Eager(QuietCuff):
        """Remembers the subscription of its bonded central, as the specification has it, and uses it at once."""

        def _connected(self, connection: Connection) -> None:
            super()._connected(connection)
            connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, self._encrypted)

        def _encrypted(self) -> None:
            assert self.connection
            send = self.device.indicate_subscriber(self.connection, self.measurement, UNDATED, force=True)
            sent.set_result(asyncio.create_task(send))

    sent: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
    values: asyncio.Queue[bytes] = asyncio.Queue(100)
    async with room.device(Eager, CUFF) as cuff, HciAdapter(transport=room.transport, bonds=None) as adapter:
        cuff.store(DATED)
        scanner, client = backends(adapter)
        found = await BleakScanner.find_device_by_address(CUFF, backend=scanner)
        assert found
        async with BleakClient(found, backend=client) as connected:
            await connected.pair()
            await asyncio.wait_for(await sent, 5)  # so it has been confirmed, and the cuff would forget it
            await connected.start_notify("2a35", lambda _, value: values.put_nowait(bytes(value)))
            assert [await asyncio.wait_for(values.get(), 5) for _ in range(2)] == [UNDATED, DATED]


async def test_what_finds_no_room_is_not_confirmed_and_stays_with_its_sender(room: Room):
    confirmed: list[int] = []

    class Flooding(QuietCuff):
        """Indicates as soon as the link is encrypted, and never stops."""

        def _connected(self, connection: Connection) -> None:
            super()._connected(connection)
            connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, self._encrypted)

        def _encrypted(self) -> None:
            sending.set_result(asyncio.create_task(self._flood()))

        async def _flood(self) -> None:
            assert self.connection
            for number in range(MOST_EARLY + 1):
                send = self.device.indicate_subscriber(self.connection, self.measurement, UNDATED, force=True)
                await self.connection.cancel_on_disconnection(send)
                confirmed.append(number)

    sending: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
    async with room.device(Flooding, CUFF) as cuff, HciAdapter(transport=room.transport, bonds=None) as adapter:
        cuff.store(DATED)
        scanner, client = backends(adapter)
        found = await BleakScanner.find_device_by_address(CUFF, backend=scanner)
        assert found
        gone = asyncio.Event()
        async with BleakClient(found, lambda _: gone.set(), backend=client) as connected:
            await connected.pair()
            await asyncio.wait_for(gone.wait(), 10)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(await sending, 5)
    assert len(confirmed) == MOST_EARLY


async def test_the_backend_reads_pairs_and_subscribes(room: Room):
    async with room.device(FixedOximeter, OXIMETER), HciAdapter(transport=room.transport, bonds=None) as adapter:
        scanner, client = backends(adapter)
        found = await BleakScanner.find_device_by_name("Nonin3230_0002", backend=scanner)
        assert found
        assert found.address == OXIMETER
        gone = asyncio.Event()
        values: asyncio.Queue[bytes] = asyncio.Queue(100)
        async with BleakClient(found, lambda _: gone.set(), backend=client) as connected:
            assert await connected.read_gatt_char("2a19") == bytes([87])
            assert await connected.read_gatt_char("2a29") == b"Nonin"
            assert connected.mtu_size > 23
            with pytest.raises(BleakGATTProtocolError) as refused:
                await connected.start_notify("2a5f", lambda _, value: values.put_nowait(bytes(value)))
            assert refused.value.code == BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION
            await connected.pair()
            await connected.start_notify("2a5f", lambda _, value: values.put_nowait(bytes(value)))
            assert await asyncio.wait_for(values.get(), 5) == SPO2_97_PULSE_72
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize("outcome", ["result", "error"])
async def test_a_cancellation_that_comes_together_with_an_outcome_is_kept(outcome: str):
    async def like_wait_for() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if outcome == "error":
                raise BaseBumbleError("lost") from None

    async def work() -> None:
        with bleak_errors("working"):
            await like_wait_for()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,), timeout=1)
    assert task.cancelled()


async def test_what_bumble_cancels_is_an_error():
    pending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pending.cancel()
    with pytest.raises(BleakError, match="working: the link was lost"), bleak_errors("working"):
        await pending
