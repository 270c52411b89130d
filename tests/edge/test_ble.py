"""The Bluetooth link against virtual controllers: real HCI over TCP, real pairing, real GATT."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bumble.controller import Controller
from bumble.device import Connection, Device
from bumble.hci import Address
from bumble.keys import MemoryKeyStore
from bumble.ll import AdvInd, ConnectInd

from edge.errors import ConfigError
from edge.links import bleak_radio, hci
from edge.links.base import Attached
from edge.links.ble import BleLink
from hardware.sim.ble import Dongle, HciHost, open_dongle
from protocols.reading import GOOD, TIME_ESTIMATED, Reading
from tests.edge.ble_room import (
    ABSENT,
    CUFF,
    CUFF_HERE,
    CUFF_MODEL,
    DATED,
    NOW_MS,
    OXIMETER,
    OXIMETER_HERE,
    TRUNCATED,
    UNDATED,
    FixedOximeter,
    QuietCuff,
    Room,
    radio_room,
    running,
)  # fmt: skip
from tests.edge.recorder import Recorder


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with radio_room(tmp_path) as made:
        yield made


def values(room: Room, thing: str, metric: str) -> list[object]:
    return [each.value for each in room.told.of(thing, metric)]


async def test_both_devices_deliver_what_their_models_declare(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff, room.device(FixedOximeter, OXIMETER):
        cuff.store(UNDATED)
        async with running(room.gateway(CUFF_HERE, OXIMETER_HERE).run()):
            await room.told.until(lambda: {who for who, _ in room.told.readings} == {"cuff", "oximeter"})
    assert [each for who, each in room.told.readings if who == "cuff"] == [
        Reading("systolic", 138, "mm[Hg]", TIME_ESTIMATED, NOW_MS),  # its date has no year
        Reading("diastolic", 88, "mm[Hg]", TIME_ESTIMATED, NOW_MS),
        Reading("mean_arterial_pressure", 120, "mm[Hg]", TIME_ESTIMATED, NOW_MS),
        Reading("pulse_rate", 60, "/min", TIME_ESTIMATED, NOW_MS),
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
        await room.told.until(lambda: values(room, "cuff", "systolic") == [138, 120])


async def test_measurements_made_while_nobody_listened_come_in_order(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff:
        for minute in range(3):
            cuff.store(DATED[:12] + bytes([minute]) + DATED[13:])
        async with running(room.gateway(CUFF_HERE).run()):
            await room.told.until(lambda: len(values(room, "cuff", "systolic")) == 3)
        assert cuff.confirmed == 3
        assert not cuff.records


async def test_a_record_whose_confirmation_was_lost_is_taken_once(room: Room):
    class Forgetful(QuietCuff):
        async def _confirmed(self, connection: Connection, record: bytes) -> bool:
            return await super()._confirmed(connection, record) and room.told.counts["repeated_records", "cuff"] > 0

    async with room.device(Forgetful, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(DATED)
        await room.told.until(lambda: room.told.counts["repeated_records", "cuff"] > 0)
    assert values(room, "cuff", "systolic") == [120]


async def test_undated_records_may_be_equal(room: Room):
    async with room.device(QuietCuff, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(UNDATED)
        cuff.store(UNDATED)
        await room.told.until(lambda: values(room, "cuff", "systolic") == [138, 138])


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


@pytest.mark.parametrize("garbage", [b"", b"\xff", TRUNCATED], ids=["empty", "flags", "truncated"])
async def test_what_cannot_be_decoded_is_counted_and_the_next_is_taken(room: Room, garbage: bytes):
    async with room.device(QuietCuff, CUFF) as cuff, running(room.gateway(CUFF_HERE).run()):
        cuff.store(garbage)
        cuff.store(UNDATED)
        await room.told.until(lambda: values(room, "cuff", "systolic") == [138])
    assert room.told.counts["decode_errors", "cuff"] == 1


async def test_an_absent_device_delays_nobody(room: Room):
    absent = Attached("absent", CUFF_MODEL, ABSENT)
    async with room.device(FixedOximeter, OXIMETER), running(room.gateway(absent, OXIMETER_HERE).run()):
        await room.told.until(lambda: bool(room.told.readings), within_s=2)
    assert room.told.states_of("absent") == ["waiting"]


async def test_a_device_that_advertises_and_never_answers_delays_nobody(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bleak_radio, "CONNECT_S", 1.0)

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
            await room.told.until(lambda: bool(room.told.readings), within_s=3)
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


async def test_a_device_that_went_back_to_sleep_delays_nobody(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hci, "INITIATE_S", 5.0)
    sleeper = Controller("sleeper", link=room.link)
    sleeper_here = Attached("sleeper", CUFF_MODEL, ABSENT)
    async with running(room.gateway(sleeper_here, OXIMETER_HERE).run()):
        await room.told.until(lambda: len(room.told.states) == 2)
        while room.dongle.pending_le_connection is None:  # until the scan has begun and the advertisement was heard
            room.link.send_advertising_pdu(sleeper, AdvInd(Address(ABSENT), b""))
            await asyncio.sleep(0.02)
        async with room.device(FixedOximeter, OXIMETER):
            await room.told.until(lambda: bool(room.told.readings), within_s=1.5)
        await room.told.until(lambda: "offline" in room.told.states_of("sleeper"))


async def test_more_devices_awake_than_the_controller_has_room_for(room: Room, monkeypatch: pytest.MonkeyPatch):
    """Three sleepers that were heard first fill the controller's list; the oximeter that was heard last is served."""
    monkeypatch.setattr(hci, "INITIATE_S", 5.0)
    monkeypatch.setattr(Dongle, "filter_accept_list_size", 3)
    addresses = [f"C0:00:00:00:01:0{number}" for number in range(3)]
    sleepers = [Attached(f"sleeper{number}", CUFF_MODEL, address) for number, address in enumerate(addresses)]
    controller = Controller("sleepers", link=room.link)
    async with running(room.gateway(*sleepers, OXIMETER_HERE).run()):
        await room.told.until(lambda: len(room.told.states) == 4)
        while len(room.dongle.accepted) < 3:
            for address in addresses:
                room.link.send_advertising_pdu(controller, AdvInd(Address(address), b""))
            await asyncio.sleep(0.02)
        async with room.device(FixedOximeter, OXIMETER):
            await room.told.until(lambda: bool(room.told.readings), within_s=1.5)


async def test_a_gateway_that_dies_leaves_the_dongle_to_the_next(room: Room):
    async with room.device(FixedOximeter, OXIMETER) as oximeter:
        first = asyncio.create_task(room.gateway(OXIMETER_HERE).run())
        await room.told.until(lambda: bool(room.told.readings))
        first.cancel()
        await asyncio.wait((first,))
        assert await oximeter.gone_within(2)  # the dongle let go, though no new host has reset it
        room.told.readings.clear()
        async with running(room.gateway(OXIMETER_HERE).run()):
            await room.told.until(lambda: bool(room.told.readings))


async def test_an_adapter_that_vanishes_and_returns_is_taken_up_again(room: Room):
    async with (
        room.device(FixedOximeter, OXIMETER) as oximeter,
        running(room.gateway(OXIMETER_HERE).run()),
    ):
        await room.told.until(lambda: bool(room.told.readings))
        host = room.dongle.host
        assert isinstance(host, HciHost)
        host.cut()
        await room.told.until(lambda: room.told.states[-1][1] == "offline")
        assert "the adapter is gone" in room.told.states[-1][2]
        assert await oximeter.gone_within(2)
        room.told.readings.clear()
        await room.told.until(lambda: bool(room.told.readings))
        assert room.told.states_of("oximeter")[-1] == "online"


async def test_an_adapter_that_is_not_there_yet_is_waited_for(room: Room, caplog: pytest.LogCaptureFixture):
    port = int(room.transport.rpartition(":")[2])
    room.server.close()
    await room.server.wait_closed()
    async with running(room.gateway(OXIMETER_HERE).run()):
        await room.told.until(lambda: "offline" in room.told.states_of("oximeter"))
        assert room.transport in room.told.states[-1][2]
        await asyncio.sleep(1.0)
        async with await open_dongle(room.link, port), room.device(FixedOximeter, OXIMETER):
            await room.told.until(lambda: bool(room.told.readings))
    assert sum(room.transport in record.message for record in caplog.records if record.levelname == "ERROR") == 1


async def test_without_bluez_its_devices_are_offline_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    told = Recorder()
    link = BleLink(name="ble", adapter="bluez", devices=(CUFF_HERE,), intake=told, clock=lambda: NOW_MS)
    async with running(link.run()):
        await told.until(lambda: told.states_of("cuff")[-1:] == ["offline"])
    assert "No such file" in told.states[-1][2]


async def test_an_unreadable_bond_file_is_the_reason(room: Room):
    room.bonds.parent.mkdir()
    room.bonds.write_text("{")
    async with running(room.gateway(CUFF_HERE).run()):
        await room.told.until(lambda: "offline" in room.told.states_of("cuff"))
    assert str(room.bonds) in room.told.states[-1][2]


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
            if ending == "adapter lost" and isinstance(room.dongle.host, HciHost):
                room.dongle.host.cut()
            task.cancel()
            await asyncio.wait((task,), timeout=2)
            assert task.cancelled(), f"still running when stopped {step * 12} ms after its start"


def test_two_devices_at_one_address_are_refused():
    twice = (CUFF_HERE, Attached("other", CUFF_MODEL, CUFF))
    with pytest.raises(ConfigError, match=CUFF):
        BleLink(name="ble", adapter="bluez", devices=twice, intake=Recorder(), clock=lambda: NOW_MS)


@pytest.mark.parametrize("adapter", ["", "hci0", "usb:0"])
def test_an_unknown_adapter_is_refused(adapter: str):
    with pytest.raises(ConfigError, match="adapter"):
        BleLink(name="ble", adapter=adapter, devices=(), intake=Recorder(), clock=lambda: NOW_MS)
