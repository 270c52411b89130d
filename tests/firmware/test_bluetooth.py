"""MicroPython's `bluetooth` as the simulated board has it, by a board that echoes."""

from pathlib import Path

import pytest
from bumble.att import ATT_Error

from tests.firmware.ble_boards import radio_room
from tests.firmware.gatt_echo import OPEN, SEALED

ECHO = ("-m", "tests.firmware.gatt_echo")
INSUFFICIENT_AUTHENTICATION = 0x05


async def test_what_is_written_is_indicated_and_read(tmp_path: Path) -> None:
    async with (
        radio_room(tmp_path) as room,
        room.board("echo", ECHO) as address,
        room.central() as central,
        central.connected(address) as link,
    ):
        await link.subscribe(OPEN)
        await link.find(OPEN).write_value(b"abc", with_response=True)
        assert await link.next() == (OPEN, b"abc")
        assert await link.find(OPEN).read_value() == b"abc"


async def test_what_is_sealed_wants_a_bond(tmp_path: Path) -> None:
    async with radio_room(tmp_path) as room, room.board("echo", ECHO) as address, room.central() as central:
        async with central.connected(address) as link:
            with pytest.raises(ATT_Error) as refused:
                await link.find(SEALED).read_value()
            assert refused.value.error_code == INSUFFICIENT_AUTHENTICATION
            await link.secure()
            assert await link.find(SEALED).read_value() == b"sealed"
        async with central.connected(address) as link:
            await link.secure()  # by the bond
            assert await link.find(SEALED).read_value() == b"sealed"
