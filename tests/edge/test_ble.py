"""The Bluetooth link against virtual controllers: real HCI over TCP, real pairing, real GATT."""

import asyncio
import re
import signal
import stat
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from bumble.controller import Controller
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device
from bumble.hci import Address
from bumble.keys import MemoryKeyStore
from bumble.link import LocalLink
from bumble.ll import AdvInd, ConnectInd

from edge.errors import ConfigError, LinkError
from edge.links import ble, hci
from edge.links.base import Attached, Origin
from edge.links.ble import BleLink
from edge.links.bleak_bumble import backends
from edge.links.hci import HciAdapter, bleak_errors
from hardware.catalogue import catalogue
from hardware.sim.ble import Dongle, HciHost, open_dongle
from hardware.sim.ble_peripherals import Cuff, Oximeter, Peripheral, Setting
from protocols.reading import GOOD, Reading

NOW_MS = 1_790_000_000_000
CUFF, OXIMETER, ABSENT = "C0:00:00:00:00:01", "C0:00:00:00:00:02", "C0:00:00:00:00:03"
CUFF_MODEL, OXIMETER_MODEL = catalogue()["and-ua-651ble"], catalogue()["nonin-3230"]
NEVER_S = 3600.0

# 138/88 mmHg, mean 120, year unknown, pulse 60, user 1, status 0x27: the vector of the health reference.
UNDATED = bytes.fromhex("1e8a00580078000000041114293b3c00012700")
# Flags: time and pulse. 120/80 mmHg, mean 93, 2026-03-04 05:06:07, pulse 65.
DATED = bytes.fromhex("06780050005d00ea0703040506074100")
TRUNCATED = DATED[:-3]
KILOPASCAL = bytes.fromhex("0110000b000d00")
SPO2_97_PULSE_72 = bytes.fromhex("0061004800")


class Told:
    """An intake that remembers, and wakes who waits for something."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, Reading]] = []
        self.states: list[tuple[str, str, str]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()

    def take(
        self, thing: str, readings: Sequence[Reading], *, lane: str = "bulk", origin: Origin | None = None
    ) -> None:
        self.readings += [(thing, each) for each in readings]
        self._news.set()

    def state(self, thing: str, state: str, reason: str = "") -> None:
        self.states.append((thing, state, reason))
        self._news.set()

    def count(self, counter: str, thing: str = "", by: int = 1) -> None:
        self.counts[counter, thing] += by
        self._news.set()

    async def until(self, true: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self._news.clear()
                await self._news.wait()

    def values(self, thing: str, metric: str) -> list[object]:
        return [each.value for who, each in self.readings if who == thing and each.metric == metric]

    def states_of(self, thing: str) -> list[str]:
        return [state for who, state, _ in self.states if who == thing]


class QuietCuff(Cuff):
    """A cuff that measures nothing by itself."""

    async def _measure(self) -> None:
        await asyncio.Event().wait()


class FixedOximeter(Oximeter):
    """An oximeter that says what the test wants."""

    said = SPO2_97_PULSE_72

    def sample(self) -> bytes:
        return self.said


class Room:
    """A radio link with a dongle, and what runs there."""

    def __init__(self, link: LocalLink, server: asyncio.Server, bonds: Path):
        self.link = link
        self.server = server
        self.bonds = bonds
        self.told = Told()
        self.transport = f"tcp-client:127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @asynccontextmanager
    async def device(self, kind: type[Peripheral], address: str, period_s: float = 0.05) -> AsyncIterator[Peripheral]:
        model = OXIMETER_MODEL if issubclass(kind, Oximeter) else CUFF_MODEL
        peripheral = kind(model, Setting(self.link, address, period_s))
        if isinstance(peripheral, Cuff):
            peripheral.linger_s = 0.05
        async with running(peripheral.run()):
            yield peripheral

    def gateway(self, *devices: Attached) -> BleLink:
        return BleLink(
            name="ble",
            adapter=f"hci:{self.transport}",
            devices=devices,
            intake=self.told,
            clock=lambda: NOW_MS,
            bonds=self.bonds,
        )


@asynccontextmanager
async def running(coroutine) -> AsyncIterator[asyncio.Task[None]]:
    """The coroutine as a task, cancelled and awaited at the end."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
    if not isinstance(result, asyncio.CancelledError):
        raise AssertionError(f"ended by itself: {result!r}")


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    link = LocalLink()
    server = await open_dongle(link, 0)
    yield Room(link, server, tmp_path / "state" / "bonds.json")
    server.close()
    await server.wait_closed()


CUFF_HERE = Attached("cuff", CUFF_MODEL, CUFF.lower())
OXIMETER_HERE = Attached("oximeter", OXIMETER_MODEL, OXIMETER)


async def test_both_devices_deliver_what_their_models_declare(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff, room.device(FixedOximeter, OXIMETER):
        cuff.store(UNDATED)
        async with running(room.gateway(CUFF_HERE, OXIMETER_HERE).run()):
            await room.told.until(lambda: {who for who, _ in room.told.readings} == {"cuff", "oximeter"})
    assert [each for who, each in room.told.readings if who == "cuff"] == [
        Reading("systolic", 138, "mm[Hg]", GOOD, NOW_MS),
        Reading("diastolic", 88, "mm[Hg]", GOOD, NOW_MS),
        Reading("mean_arterial_pressure", 120, "mm[Hg]", GOOD, NOW_MS),
        Reading("pulse_rate", 60, "/min", GOOD, NOW_MS),
    ]
    assert [each for who, each in room.told.readings if who == "oximeter"][:2] == [
        Reading("oxygen_saturation", 97, "%", GOOD, NOW_MS),
        Reading("pulse_rate", 72, "/min", GOOD, NOW_MS),
    ]
    assert room.told.states_of("oximeter")[:2] == ["waiting", "online"]


async def test_a_cuff_that_hands_over_and_leaves_is_waited_for(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(UNDATED)
        await room.told.until(lambda: room.told.states_of("cuff") == ["waiting", "online", "waiting"])
        cuff.store(DATED)
        await room.told.until(lambda: room.told.values("cuff", "systolic") == [138, 120])


async def test_measurements_made_while_nobody_listened_come_in_order(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff:
        for minute in range(3):
            cuff.store(DATED[:12] + bytes([minute]) + DATED[13:])
        async with running(room.gateway(CUFF_HERE).run()):
            await room.told.until(lambda: len(room.told.values("cuff", "systolic")) == 3)
        assert cuff.confirmed == 3
        assert not cuff.records


async def test_a_record_whose_confirmation_was_lost_is_taken_once(room: Room):
    class Forgetful(QuietCuff):
        async def _confirmed(self, connection: Connection, record: bytes) -> bool:
            return await super()._confirmed(connection, record) and room.told.counts["repeated_records", "cuff"] > 0

    async with room.device(Forgetful, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(DATED)
        await room.told.until(lambda: room.told.counts["repeated_records", "cuff"] > 0)
    assert room.told.values("cuff", "systolic") == [120]


async def test_undated_records_may_be_equal(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(UNDATED)
        cuff.store(UNDATED)
        await room.told.until(lambda: room.told.values("cuff", "systolic") == [138, 138])


async def test_a_device_that_leaves_is_offline_and_taken_up_again(room: Room):
    async with room.device(FixedOximeter, OXIMETER) as oximeter, running(room.gateway(OXIMETER_HERE).run()):
        await room.told.until(lambda: bool(room.told.readings))
        await oximeter.disconnect()
        room.told.readings.clear()
        await room.told.until(lambda: bool(room.told.readings))
    assert room.told.states[:4] == [
        ("oximeter", "waiting", ""),
        ("oximeter", "online", ""),
        ("oximeter", "offline", "disconnected"),
        ("oximeter", "online", ""),
    ]


@pytest.mark.parametrize("garbage", [b"", b"\xff", TRUNCATED, KILOPASCAL], ids=["empty", "flags", "truncated", "unit"])
async def test_what_cannot_be_decoded_is_counted_and_the_next_is_taken(room: Room, garbage: bytes):
    async with room.device(QuietCuff, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(garbage)
        cuff.store(UNDATED)
        await room.told.until(lambda: room.told.values("cuff", "systolic") == [138])
    assert room.told.counts["decode_errors", "cuff"] == 1


async def test_an_absent_device_delays_nobody(room: Room):
    absent = Attached("absent", CUFF_MODEL, ABSENT)
    async with room.device(FixedOximeter, OXIMETER), running(room.gateway(absent, OXIMETER_HERE).run()):
        await room.told.until(lambda: bool(room.told.readings), 2.0)
    assert room.told.states_of("absent") == ["waiting"]


async def test_a_device_that_advertises_and_never_answers_delays_nobody(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ble, "CONNECT_S", 1.0)

    class Mute(Controller):
        """Accepts a connection, and has no host that would answer."""

        def on_le_connect_ind(self, packet: ConnectInd) -> None:
            super().on_le_connect_ind(packet)
            room.told.count("connections", "mute")

    mute = Mute("mute", link=room.link)
    mute.random_address = Address(ABSENT)
    mute.le_legacy_advertiser.own_address_type = Address.RANDOM_DEVICE_ADDRESS
    mute.le_legacy_advertiser.advertising_interval_min = 20
    mute.le_legacy_advertiser.start()
    mute_here = Attached("mute", CUFF_MODEL, ABSENT)
    async with running(room.gateway(mute_here, OXIMETER_HERE).run()):
        await room.told.until(lambda: room.told.counts["connections", "mute"] == 1)
        async with room.device(FixedOximeter, OXIMETER):
            await room.told.until(lambda: bool(room.told.readings), 3.0)
            assert room.told.states_of("mute") == ["waiting"]
            await room.told.until(lambda: "offline" in room.told.states_of("mute"))
    mute.le_legacy_advertiser.stop()
    assert room.told.counts["link_errors", "mute"] >= 1


async def test_a_bond_outlives_the_gateway(room: Room):
    async with room.device(FixedOximeter, OXIMETER) as oximeter:
        bondings: list[object] = []
        oximeter.device.on(Device.EVENT_KEY_STORE_UPDATE, lambda: bondings.append(None))
        for _ in range(2):
            room.told.readings.clear()
            async with running(room.gateway(OXIMETER_HERE).run()):
                await room.told.until(lambda: bool(room.told.readings))
                assert oximeter.connection
                assert oximeter.connection.is_encrypted
        assert len(bondings) == 1
    assert stat.S_IMODE(room.bonds.stat().st_mode) == 0o600


@pytest.mark.parametrize("keys", ["forgotten", "different"])
async def test_a_device_whose_bond_is_broken_is_paired_anew(room: Room, keys: str):
    async with room.device(FixedOximeter, OXIMETER) as oximeter:
        async with running(room.gateway(OXIMETER_HERE).run()):
            await room.told.until(lambda: bool(room.told.readings))
        store = oximeter.device.keystore
        assert isinstance(store, MemoryKeyStore)
        [bond] = store.all_keys.values()
        assert bond.ltk
        if keys == "forgotten":
            await store.delete_all()
        else:
            bond.ltk.value = bytes(16)
        room.told.readings.clear()
        async with running(room.gateway(OXIMETER_HERE).run()):
            await room.told.until(lambda: bool(room.told.readings))


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


async def test_a_device_that_went_back_to_sleep_delays_others_by_one_attempt(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hci, "INITIATE_S", 0.5)
    sleeper = Controller("sleeper", link=room.link)
    sleeper_here = Attached("sleeper", CUFF_MODEL, ABSENT)
    async with running(room.gateway(sleeper_here, OXIMETER_HERE).run()):
        await room.told.until(lambda: len(room.told.states) == 2)
        [dongle] = [each for each in room.link.controllers if isinstance(each, Dongle)]
        while dongle.pending_le_connection is None:  # until the scan has begun and the advertisement was heard
            room.link.send_advertising_pdu(sleeper, AdvInd(Address(ABSENT), b""))
            await asyncio.sleep(0.02)
        async with room.device(FixedOximeter, OXIMETER):
            await room.told.until(lambda: bool(room.told.readings), 3.0)
    assert ("sleeper", "offline") in [(thing, state) for thing, state, _ in room.told.states]


async def test_a_gateway_that_dies_leaves_the_dongle_to_the_next(room: Room):
    async with room.device(FixedOximeter, OXIMETER) as oximeter:
        first = asyncio.create_task(room.gateway(OXIMETER_HERE).run())
        await room.told.until(lambda: bool(room.told.readings))
        assert oximeter.connection
        host, port = room.transport.split(":")[1:]
        _, writer = await asyncio.open_connection(host, int(port))  # takes the dongle away, as a second process would
        writer.write(b"\x01\x03")  # and dies within a command
        await writer.drain()
        writer.transport.abort()
        with pytest.raises(LinkError) as caught:
            await first
        assert caught.value.link == "ble"
        assert room.told.states[-1][:2] == ("oximeter", "offline")
        assert await oximeter.gone_within(2)  # the dongle let go, though no new host has reset it
        room.told.readings.clear()
        async with running(room.gateway(OXIMETER_HERE).run()):
            await room.told.until(lambda: bool(room.told.readings))


async def test_an_adapter_that_is_not_there_is_a_link_error(room: Room):
    room.server.close()
    await room.server.wait_closed()
    with pytest.raises(LinkError, match=re.escape(room.transport)):
        await room.gateway(CUFF_HERE).run()


async def test_without_bluez_its_adapter_is_a_link_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    told = Told()
    with pytest.raises(LinkError, match="cannot scan"):
        await BleLink(name="ble", adapter="bluez", devices=(CUFF_HERE,), intake=told, clock=lambda: NOW_MS).run()
    assert told.states_of("cuff")[-1] == "offline"


async def test_an_unreadable_bond_file_is_a_link_error(room: Room):
    room.bonds.parent.mkdir()
    room.bonds.write_text("{")
    with pytest.raises(LinkError, match="bonds"):
        await room.gateway(CUFF_HERE).run()


@pytest.mark.parametrize("moment", ["started", "scanning", "connecting", "online", "taken"])
async def test_cancelling_leaves_no_task_behind(room: Room, moment: str):
    reached = {
        "started": lambda: True,
        "scanning": lambda: bool(room.told.states),
        "connecting": lambda: oximeter.connection is not None,
        "online": lambda: "online" in room.told.states_of("oximeter"),
        "taken": lambda: bool(room.told.readings),
    }[moment]
    async with room.device(FixedOximeter, OXIMETER) as oximeter:
        oximeter.device.on(Device.EVENT_CONNECTION, lambda _: room.told.count("connections"))
        before = asyncio.all_tasks()
        async with running(room.gateway(CUFF_HERE, OXIMETER_HERE).run()):
            await room.told.until(reached)
        await asyncio.sleep(0)  # tasks that are done leave the list at the next turn
        assert {task.get_name() for task in asyncio.all_tasks() - before if not task.done()} == set()


@pytest.mark.parametrize("ending", ["cancelled", "adapter lost"])
async def test_it_ends_at_once_whatever_it_is_doing(room: Room, ending: str):
    async with room.device(QuietCuff, CUFF) as cuff, room.device(FixedOximeter, OXIMETER):
        cuff.store(UNDATED)
        for step in range(20):
            task = asyncio.create_task(room.gateway(CUFF_HERE, OXIMETER_HERE).run())
            await asyncio.sleep(step * 0.012)  # from opening the adapter to serving both takes about 0.2 s
            [dongle] = [each for each in room.link.controllers if isinstance(each, Dongle)]
            if ending == "adapter lost" and isinstance(dongle.host, HciHost):
                dongle.host.cut()
            else:
                task.cancel()
            await asyncio.wait((task,), timeout=2)
            assert task.done(), f"still running when stopped {step * 12} ms after its start"
            if not task.cancelled():
                assert isinstance(task.exception(), LinkError)


async def test_the_backend_reads_pairs_and_subscribes(room: Room):
    async with room.device(FixedOximeter, OXIMETER), HciAdapter(transport=room.transport, bonds=None) as adapter:
        scanner, client = backends(adapter)
        found = await BleakScanner.find_device_by_name("nonin-3230", backend=scanner)
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


@asynccontextmanager
async def simulator(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "hardware.sim.ble", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_simulator_as_a_process(tmp_path: Path):
    told = Told()
    async with simulator("--hci-port=0", "--cuff", CUFF, "--oximeter", OXIMETER, "--period=1.5") as process:
        assert process.stdout
        ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        port = re.match(r"ready: HCI on 127\.0\.0\.1:(\d+);", ready)
        assert port, ready
        for _ in range(2):  # the second as a gateway that was started again
            told.readings.clear()
            link = BleLink(
                name="ble",
                adapter=f"hci:tcp-client:127.0.0.1:{port[1]}",
                devices=(CUFF_HERE, OXIMETER_HERE),
                intake=told,
                clock=lambda: NOW_MS,
                bonds=tmp_path / "bonds.json",
            )
            async with running(link.run()):
                await told.until(lambda: {who for who, _ in told.readings} == {"cuff", "oximeter"})
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert process.stderr
        assert await process.stderr.read() == b""


@pytest.mark.parametrize("address", ["40:00:00:00:00:01", "C0:00", "cuff"])
async def test_an_address_that_no_device_may_have_ends_the_simulator(address: str):
    async with simulator("--hci-port=0", "--cuff", address) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
    assert address in said.decode()


async def test_a_port_in_use_ends_the_simulator_with_a_sentence(room: Room):
    async with simulator("--hci-port", room.transport.rpartition(":")[2]) as process:
        _, said = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "cannot be opened" in said.decode()


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


def test_two_devices_at_one_address_are_refused():
    twice = (CUFF_HERE, Attached("other", CUFF_MODEL, CUFF))
    with pytest.raises(ConfigError, match=CUFF):
        BleLink(name="ble", adapter="bluez", devices=twice, intake=Told(), clock=lambda: NOW_MS)


@pytest.mark.parametrize("adapter", ["", "hci0", "usb:0"])
def test_an_unknown_adapter_is_refused(adapter: str):
    with pytest.raises(ConfigError, match="adapter"):
        BleLink(name="ble", adapter=adapter, devices=(), intake=Told(), clock=lambda: NOW_MS)
