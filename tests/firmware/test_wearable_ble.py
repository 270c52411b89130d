"""The wearable by Bluetooth: its firmware in the memory of a board, and the gateway's own link, which reads it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge.links.base import Attached
from hardware.catalogue import catalogue
from hardware.sim.ble_stack import open_boards
from hardware.sim.block import BATTERY
from hardware.sim.device import bluetooth_address, command, prepare
from protocols.reading import GOOD, to_float
from tests.edge.ble_room import Room, radio_room, running
from tests.firmware import ble_boards

NAME = "wearable-2"
MODEL = catalogue()["kerb-wearable-ble"]


@asynccontextmanager
async def wearable(state: Path, radio: int) -> AsyncIterator[None]:
    """The app on its board, until its power is cut."""
    line, environment = command(state)
    environment = {**environment, "KERB_RADIO": f"127.0.0.1:{radio}"}
    process = await asyncio.create_subprocess_exec(*line, env=environment, cwd=state)
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        assert await process.wait() == -signal.SIGKILL  # it did not end by itself


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Room, int]]:
    """A radio room with a place for boards."""
    async with radio_room(folder) as room:
        boards = await open_boards(room.link, 0)
        try:
            yield room, boards.sockets[0].getsockname()[1]
        finally:
            boards.close()
            await boards.wait_closed()


async def test_in_a_boards_memory_the_gateway_reads_pulse_and_battery(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare(
        state,
        board="kerb-wearable",
        app="wearable_ble",
        device=NAME,
        host="127.0.0.1",
        port=1,
        recording=0,
        world=BATTERY,
    )
    here = Attached(NAME, MODEL, bluetooth_address(NAME))
    async with site(tmp_path) as (room, radio), wearable(state, radio), running(room.gateway(here).run()):
        await room.told.until(
            lambda: [each for each in room.told.of(NAME, "heart_rate") if each.quality == GOOD], within_s=40
        )
        rates = [each for each in room.told.of(NAME, "heart_rate") if each.quality == GOOD]
        assert abs(to_float(rates[-1].value) - 59) <= 5  # type: ignore[arg-type]
        [battery] = [each.value for each in room.told.of(NAME, "battery_level")][:1]
        assert battery in (67, 68)  # 3920 mV, and a converter that loses one of them
        assert all(each.value != 0 for each in room.told.of(NAME, "heart_rate"))


async def test_what_was_measured_alone_arrives_once_each(tmp_path: Path) -> None:
    """Spot checks made before the gateway is there, with a loss of power between them, and live values after that."""
    async with site(tmp_path) as (room, radio):
        boards = ble_boards.Room(room.link, tmp_path, radio)
        alone = ("tests/firmware/vitals_board.py", "200", "alone")
        async with boards.board("vitals", alone):
            await asyncio.sleep(3.5)  # its spot checks are made by the clock
        async with boards.board("vitals", alone) as address:
            here = Attached(NAME, MODEL, address)
            async with running(room.gateway(here).run()):
                await room.told.until(lambda: len(dated(room)) >= 2 and room.told.of(NAME, "heart_rate"), within_s=20)
            stored = dated(room)
            async with running(room.gateway(here).run()):  # the gateway starts anew, and is given them again
                await room.told.until(lambda: room.told.counts["repeated_records", NAME] >= len(stored), within_s=20)
        assert dated(room)[: len(stored)] == stored
        assert len(dated(room)) == len(set(dated(room)))


def dated(room: Room) -> list[int]:
    """The times of the spot checks: of the saturations that did not come just now."""
    live = {each.time_ms for each in room.told.of(NAME, "heart_rate")}
    return [each.time_ms for each in room.told.of(NAME, "oxygen_saturation") if each.time_ms not in live]
