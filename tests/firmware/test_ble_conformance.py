"""A central holds a board with the wearable's services against their specifications.

Source: Bluetooth SIG HRS 1.0, PLXS 1.0, HTS 1.0, BAS 1.0, DIS 1.1, CTS 1.1; Core Specification 5.4, volume 3,
parts F and G.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bumble.att import ATT_Error
from bumble.core import UUID

from protocols import gatt
from protocols.gatt import racp
from protocols.reading import BAD_INVALID, GOOD, DecimalFraction, Reading
from tests.firmware.ble_boards import Central, Link, Room, radio_room

VITALS = ("tests/firmware/vitals_board.py", "100")
HEART, SPOT, CONTINUOUS, TEMPERATURE = 0x2A37, 0x2A5E, 0x2A5F, 0x2A1C
CONTROL, CLOCK, LEVEL = 0x2A52, 0x2A2B, 0x2A19
READ, WRITE, NOTIFY, INDICATE = 0x02, 0x08, 0x10, 0x20
# What the specifications make mandatory of what is offered: service, characteristic, properties.
REQUIRED = (
    (0x180D, 0x2A37, NOTIFY), (0x180D, 0x2A38, READ),
    (0x1822, 0x2A5E, INDICATE), (0x1822, 0x2A5F, NOTIFY), (0x1822, 0x2A60, READ), (0x1822, 0x2A52, WRITE | INDICATE),
    (0x1809, 0x2A1C, INDICATE), (0x1809, 0x2A1D, READ), (0x1809, 0x2A21, READ),
    (0x180F, 0x2A19, READ | NOTIFY),
    (0x180A, 0x2A29, READ), (0x180A, 0x2A24, READ), (0x180A, 0x2A25, READ), (0x180A, 0x2A26, READ),
    (0x1805, 0x2A2B, READ | NOTIFY | WRITE),
)  # fmt: skip
READ_NOT_PERMITTED, WRITE_NOT_PERMITTED, INSUFFICIENT_AUTHENTICATION = 0x02, 0x03, 0x05
REQUEST_NOT_SUPPORTED, INVALID_LENGTH, INSUFFICIENT_ENCRYPTION = 0x06, 0x0D, 0x0F
YEAR = time.gmtime().tm_year
MOMENT = bytes.fromhex("ea070b1903041e038001")  # Wednesday 2026-11-25, 03:04:30.5, set by hand


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[tuple[Room, str, Central]]:
    """A board that measures, and a central."""
    async with radio_room(folder) as room, room.board("vitals", VITALS) as address, room.central() as central:
        yield room, address, central


def facts(uuid: int, data: bytes) -> dict[str, Reading]:
    return {each.metric: each for each in gatt.decode(uuid, data)}


async def refused(attempt: object) -> int:
    """The ATT error that an attempt ends with."""
    with pytest.raises(ATT_Error) as error:
        await attempt  # type: ignore[misc]
    return int(error.value.error_code)


async def ask(link: Link, request: bytes) -> bytes:
    """What the control point answers; records stay in `arrived`."""
    await link.find(CONTROL).write_value(request, with_response=True)
    kept = []
    while True:
        uuid, data = await link.next()
        if uuid == CONTROL:
            for each in kept:
                link.arrived.put_nowait(each)
            return data
        kept.append((uuid, data))


def drained(link: Link, uuid: int) -> list[bytes]:
    """What has arrived of this characteristic."""
    found = []
    while not link.arrived.empty():
        each, data = link.arrived.get_nowait()
        if each == uuid:
            found.append(data)
    return found


async def stored(link: Link, least: int) -> int:
    """Wait until the board has stored so many records; how many there are."""
    while True:
        reply = facts(CONTROL, await ask(link, racp.request("count", "all")))
        count = reply["record_count"].value
        assert isinstance(count, int)
        if count >= least:
            return count
        await asyncio.sleep(0.2)


async def test_discovery_finds_all_that_is_required(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address) as link:
        for service, characteristic, properties in REQUIRED:
            [found] = link.peer.get_services_by_uuid(UUID.from_16_bits(service))
            [proxy] = link.peer.get_characteristics_by_uuid(UUID.from_16_bits(characteristic), found)
            assert int(proxy.properties) == properties, hex(characteristic)
            descriptors = [str(each.type) for each in proxy.descriptors]
            wanted = 1 if properties & (NOTIFY | INDICATE) else 0
            assert sum("2902" in each for each in descriptors) == wanted, hex(characteristic)
        read = {uuid: bytes(await link.find(uuid).read_value()) for uuid in (0x2A38, 0x2A29, 0x2A24, 0x2A26, 0x2A1D)}
        assert read == {0x2A38: b"\x02", 0x2A29: b"Kerb", 0x2A24: b"kerb-wearable", 0x2A26: b"0.1.0", 0x2A1D: b"\x02"}
        assert bytes(await link.find(0x2A21).read_value()) == b"\x01\x00"
        assert bytes(await link.find(LEVEL).read_value()) == bytes([81])
        await link.secure()
        features = int.from_bytes(bytes(await link.find(0x2A60).read_value())[:2], "little")
        assert features & 0x0C == 0x0C  # stores spot checks, with their time
        assert bytes(await link.find(0x2A25).read_value()) == b"0123"


@pytest.mark.parametrize("mtu", [23, 24, 65, 185, 247])
async def test_the_mtu_is_followed(tmp_path: Path, mtu: int) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, mtu=mtu, bond=True) as link:
        assert link.connection.att_mtu == mtu
        await link.subscribe(HEART)
        while True:
            _, data = await link.next()
            intervals = [each for each in gatt.decode(HEART, data) if each.metric == "rr_interval"]
            assert len(data) <= mtu - 3
            if len(intervals) == min(10, (mtu - 5) // 2):
                break  # at the first one the board may not yet have heard of the exchange
        assert intervals[-1].value == DecimalFraction(866 * 9765625, -10)
        model = bytes(await link.find(0x2A24).read_value())
        assert model == b"kerb-wearable"  # also by parts, where it does not fit


async def test_what_is_notified_and_indicated(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        await link.subscribe(HEART, CONTINUOUS, TEMPERATURE)
        got: dict[int | str, bytes] = {}
        while len(got) < 3:
            uuid, data = await link.next()
            got[uuid] = data
        heart = facts(HEART, got[HEART])
        assert (heart["heart_rate"].value, heart["heart_rate"].quality) == (72, GOOD)
        assert heart["sensor_contact"].value is True
        oximetry = facts(CONTINUOUS, got[CONTINUOUS])
        assert (oximetry["oxygen_saturation"].value, oximetry["pulse_rate"].value) == (97, 72)
        assert facts(TEMPERATURE, got[TEMPERATURE])["body_temperature"].value == DecimalFraction(3312, -2)


async def test_nothing_is_told_before_the_link_is_encrypted(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address) as link:
        await link.subscribe(HEART, CONTINUOUS, TEMPERATURE, SPOT)
        control, serial, clock = link.find(CONTROL), link.find(0x2A25), link.find(CLOCK)
        assert await refused(control.write_value(racp.request("report", "all"), True)) == INSUFFICIENT_AUTHENTICATION
        assert await refused(serial.read_value()) == INSUFFICIENT_AUTHENTICATION
        assert await refused(clock.read_value()) == INSUFFICIENT_AUTHENTICATION
        assert await refused(clock.write_value(MOMENT, True)) == INSUFFICIENT_AUTHENTICATION
        await asyncio.sleep(1.5)  # fifteen measurements and a spot check
        assert link.arrived.empty()
        await link.secure()
        assert (await link.next())[0] in (HEART, CONTINUOUS, TEMPERATURE)


async def test_a_bond_outlasts_a_loss_of_power_and_is_needed_again(tmp_path: Path) -> None:
    async with radio_room(tmp_path) as room, room.central() as central:
        async with room.board("vitals", VITALS) as address:
            async with central.connected(address, bond=True) as link:
                await link.subscribe(HEART)
                await link.next()
            for _ in range(2):  # a reconnection within the same start
                async with central.connected(address) as link:
                    assert await refused(link.find(0x2A25).read_value()) == INSUFFICIENT_ENCRYPTION
                    await link.secure()
                    assert bytes(await link.find(0x2A25).read_value()) == b"0123"
        async with room.board("vitals", VITALS) as address, central.connected(address) as link:
            assert await refused(link.find(0x2A25).read_value()) == INSUFFICIENT_ENCRYPTION
            await link.secure()
            assert bytes(await link.find(0x2A25).read_value()) == b"0123"


@pytest.mark.parametrize("keeps", [True, False])
async def test_subscriptions_of_a_bonded_central(tmp_path: Path, keeps: bool) -> None:
    """They are kept where the port's stack keeps them; where it does not, subscribing anew is all that is needed."""
    async with radio_room(tmp_path, keeps_subscriptions=keeps) as room, room.central() as central:
        async with room.board("vitals", VITALS) as address, central.connected(address, bond=True) as link:
            await link.subscribe(HEART)
            await link.next()
        async with room.board("vitals", VITALS) as address, central.connected(address, bond=True) as link:
            link.listen(HEART)
            if keeps:
                assert (await link.next())[0] == HEART
            else:
                with pytest.raises(TimeoutError):
                    await link.next(0.6)
                await link.subscribe(HEART)
                assert (await link.next())[0] == HEART


async def test_malformed_writes_are_refused_or_change_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        heart = link.find(HEART)
        [cccd] = [each for each in heart.descriptors if "2902" in str(each.type)]
        assert await refused(heart.read_value()) == READ_NOT_PERMITTED
        assert await refused(heart.write_value(b"\x00", True)) == WRITE_NOT_PERMITTED
        assert await refused(link.find(LEVEL).write_value(b"\x05", True)) == WRITE_NOT_PERMITTED
        assert await refused(link.peer.write_value(cccd, b"\x01", True)) == INVALID_LENGTH
        assert await refused(link.peer.write_value(cccd, b"\x02\x00", True)) == REQUEST_NOT_SUPPORTED
        clock = link.find(CLOCK)
        for wrong in (b"", MOMENT[:-1], b"\xff" * 10, bytes(10), bytes.fromhex("ea07021e000000010001"), b"\x00" * 40):
            await clock.write_value(wrong, True)
            async with asyncio.timeout(5):  # within a moment it shows its own time again
                while int.from_bytes(bytes(await clock.read_value())[:2], "little") != YEAR:
                    await asyncio.sleep(0.01)


async def test_a_central_sets_the_clock(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        await link.subscribe(CLOCK)
        await link.find(CLOCK).write_value(MOMENT, True)
        while True:
            _, data = await link.next()
            shown = facts(CLOCK, data)
            if str(shown["device_time"].value) == "2026-11-25T03:04:30":
                break
        assert shown["day_of_week"].value == 3
        await asyncio.sleep(0.7)
        later = facts(CLOCK, bytes(await link.find(CLOCK).read_value()))
        assert str(later["device_time"].value) >= "2026-11-25T03:04:31"


async def test_records_are_reported_counted_and_deleted(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        await link.subscribe(SPOT, CONTROL)
        count = await stored(link, 3)
        assert await ask(link, racp.request("report", "all")) == racp.response(1, "success")
        records = drained(link, SPOT)
        assert count <= len(records) <= count + 1  # one more may have been made meanwhile
        for record in records:
            said = facts(SPOT, record)
            assert (said["oxygen_saturation"].value, said["pulse_rate"].value) == (97, 72)
            assert said["device_time"].quality == GOOD
        times = [str(facts(SPOT, record)["device_time"].value) for record in records]
        assert times == sorted(set(times))
        assert await ask(link, racp.request("report", "first")) == racp.response(1, "success")
        assert drained(link, SPOT) == records[:1]
        assert await ask(link, racp.request("delete", "all")) == racp.response(2, "success")
        reply = facts(CONTROL, await ask(link, racp.request("count", "all")))
        assert reply["record_count"].value in (0, 1)


async def test_records_outlast_a_loss_of_power_and_what_is_deleted_stays_deleted(tmp_path: Path) -> None:
    async with radio_room(tmp_path) as room, room.central() as central:
        async with room.board("vitals", VITALS) as address, central.connected(address, bond=True) as link:
            await link.subscribe(SPOT, CONTROL)
            await stored(link, 2)
            await ask(link, racp.request("report", "all"))
            before = drained(link, SPOT)
        async with room.board("vitals", VITALS) as address, central.connected(address, bond=True) as link:
            await link.subscribe(SPOT, CONTROL)
            await ask(link, racp.request("report", "all"))
            assert drained(link, SPOT)[: len(before)] == before
            await ask(link, racp.request("delete", "all"))
        async with room.board("vitals", VITALS) as address, central.connected(address, bond=True) as link:
            await link.subscribe(SPOT, CONTROL)
            await ask(link, racp.request("report", "all"))
            assert not set(drained(link, SPOT)) & set(before)


@pytest.mark.parametrize(
    ("request_hex", "opcode", "code"),
    [
        ("0701", 7, "opcode_not_supported"),
        ("0501", 5, "opcode_not_supported"),
        ("0100", 1, "operator_invalid"),
        ("01", 1, "operator_invalid"),
        ("0301", 3, "operator_invalid"),
        ("0103010500", 1, "operator_not_supported"),
        ("0109", 1, "operator_not_supported"),
        ("0206", 2, "operator_not_supported"),
        ("010101", 1, "operand_invalid"),
        ("040101ff", 4, "operand_invalid"),
        ("0300", 3, "success"),  # nothing is under way, as was wished
    ],
)
def test_a_request_that_cannot_be_met_is_told_why(request_hex: str, opcode: int, code: str) -> None:
    operators = {"report": ("all", "first", "last"), "count": ("all", "first", "last"), "delete": ("all",)}
    said = racp.problem(bytes.fromhex(request_hex), operators) or "success"
    assert (bytes.fromhex(request_hex)[0], said) == (opcode, code)


async def test_what_the_control_point_cannot_do_it_says(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        await link.subscribe(CONTROL)
        assert await ask(link, racp.request("delete", "all")) in (
            racp.response(2, "no_records"),
            racp.response(2, "success"),
        )
        await stored(link, 1)
        # Nobody has subscribed to the records themselves.
        assert await ask(link, racp.request("report", "all")) == racp.response(1, "not_completed")
        for said, code in (
            ("0701", "opcode_not_supported"),
            ("0100", "operator_invalid"),
            ("010101", "operand_invalid"),
        ):
            assert await ask(link, bytes.fromhex(said)) == racp.response(int(said[:2], 16), code)
        assert await ask(link, racp.request("abort")) == racp.response(3, "success")


async def test_an_abort_and_a_second_request_in_mid_report(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central), central.connected(address, bond=True) as link:
        await link.subscribe(SPOT, CONTROL)
        await stored(link, 3)
        control = link.find(CONTROL)
        await control.write_value(racp.request("report", "all"), True)
        assert await ask(link, racp.request("count", "all")) == racp.response(4, "server_busy")
        while not (final := [data for uuid, data in [await link.next()] if uuid == CONTROL]):
            pass
        assert final == [racp.response(1, "success")]
        await control.write_value(racp.request("report", "all"), True)
        assert await ask(link, racp.request("abort")) == racp.response(3, "success")
        assert len(drained(link, SPOT)) < 3


async def test_a_central_that_goes_in_mid_report_gets_all_when_it_comes_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as (_, address, central):
        async with central.connected(address, bond=True) as link:
            await link.subscribe(SPOT, CONTROL)
            count = await stored(link, 3)
        for _ in range(2):
            async with central.connected(address, bond=True) as link:
                await link.subscribe(SPOT, CONTROL)
                await link.find(CONTROL).write_value(racp.request("report", "all"), True)
                assert (await link.next())[0] == SPOT  # and off, in the middle of it
        async with central.connected(address, bond=True) as link:
            await link.subscribe(SPOT, CONTROL)
            assert await ask(link, racp.request("report", "all")) == racp.response(1, "success")
            assert len(drained(link, SPOT)) >= count


def test_no_number_is_no_number() -> None:
    data = gatt.encode(
        CONTINUOUS,
        [Reading("oxygen_saturation", None, "%", BAD_INVALID, None), Reading("pulse_rate", 60, "/min", GOOD, None)],
    )
    assert facts(CONTINUOUS, data)["oxygen_saturation"].quality == BAD_INVALID
