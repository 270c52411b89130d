"""Commands in the gateway: each ends once and acts at most once, wherever the program may be stopped."""

import asyncio
import random
import stat
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.command_file import CommandFile
from edge.command_socket import SOCKET, CommandSocket, send
from edge.command_state import MOST_QUEUED
from edge.commands import Commands
from edge.errors import ActionFailed, ActionRefused, EdgeError, Unrecorded
from hardware.catalogue import Command, DeviceModel
from protocols.command import DONE, EXPIRED, FAILED, FINAL, REFUSED, Request, Result

if TYPE_CHECKING:
    from protocols.reading import Value

NAME = {"en": "x", "zh": "x"}
MODEL = DeviceModel.model_validate(
    {
        "device": {"model": "m", "maker": "-", "kind": "k", "link": "modbus", "name": NAME},
        "modbus": {},
        "metrics": {"a": {"name": NAME, "unit": "1", "register": {"table": "coil", "address": 0}}},
        "commands": {
            "dim": {"name": NAME, "range": [0, 100], "register": {"table": "holding", "address": 0}},
            "mode": {"name": NAME, "states": {"1": NAME, "4": NAME}, "register": {"table": "holding", "address": 1}},
        },
    }
)


class Lamp:
    """A link with one thing; `outcome` says how the next actions end."""

    name = "lamps"

    def __init__(self) -> None:
        self.acted: list[Value] = []
        self.outcome: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def run(self) -> None:
        raise NotImplementedError

    async def act(self, thing: str, command: Command, value: "Value") -> "Value":
        if isinstance(self.outcome, ActionRefused):
            raise self.outcome
        self.acted.append(value)
        await self.hold.wait()
        if self.outcome is not None:
            raise self.outcome
        return value


class Clock:
    ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.ms


@asynccontextmanager
async def running(path: Path, lamp: Lamp, clock: Clock) -> AsyncIterator[Commands]:
    file = CommandFile(path / "commands.db")
    commands = Commands({"lamp": lamp}, {"lamp": MODEL}, file, clock=clock)
    task = asyncio.create_task(commands.run())
    try:
        yield commands
    finally:
        task.cancel()
        await asyncio.wait((task,))
        commands.close()
        file.close()


def request(
    key: str = "k", value: Any = 50, command: str = "dim", thing: str = "lamp", lives_ms: int = 1000
) -> Request:
    return Request(key, thing, command, value, Clock.ms + lives_ms)


async def test_each_end(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    async with running(tmp_path, lamp, clock) as commands:
        told: list[Result] = []
        commands.told.append(told.append)
        assert await commands.submit(request("a")) == Result("a", DONE, "", 50, clock.ms)
        assert await commands.submit(request("mode", 4, "mode")) == Result("mode", DONE, "", 4, clock.ms)
        lamp.outcome = ActionRefused("lamp", "illegal function")
        assert await commands.submit(request("b")) == Result("b", REFUSED, "illegal function", None, clock.ms)
        lamp.outcome = ActionFailed("lamp", "no answer")
        assert await commands.submit(request("c")) == Result("c", FAILED, "no answer", None, clock.ms)
        lamp.outcome = None
        assert (await commands.submit(request("d", lives_ms=0))).state == EXPIRED
        for wrong in (
            request("e", 101), request("f", True), request("g", "50"), request("h", 3, "mode"), request("i", None),
            request("j", 1, "fly"), request("k", 1, thing="fan"),
        ):  # fmt: skip
            result = await commands.submit(wrong)
            assert (result.state, bool(result.reason)) == (REFUSED, True)
        assert lamp.acted == [50, 4, 50]
        assert [result.key for result in told] == ["a", "mode", *"bcdefghijk"]
        assert [result.key for result in await commands.untold()] == [result.key for result in told]
        await commands.tell("a")
        assert [result.key for result in await commands.untold()] == [result.key for result in told[1:]]


async def test_a_key_acts_once_also_after_a_restart_and_stands_for_one_command(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    async with running(tmp_path, lamp, clock) as commands:
        lamp.hold.clear()
        both = [asyncio.create_task(commands.submit(request())) for _ in range(2)]
        while not lamp.acted:
            await asyncio.sleep(0)
        assert (await commands.submit(request(value=60))).reason == "its key is that of another command"
        lamp.hold.set()
        first, second = await asyncio.gather(*both)
        assert first == second == await commands.submit(request())
        assert first == await commands.submit(request()._replace(expires_ms=request().expires_ms + 60_000))
    async with running(tmp_path, lamp, clock) as commands:
        assert await commands.submit(request()) == first
        assert (await commands.submit(request(value=60))).state == REFUSED
    assert lamp.acted == [50]


async def test_what_waits_too_long_for_its_turn_expires(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    async with running(tmp_path, lamp, clock) as commands:
        lamp.hold.clear()
        first = asyncio.create_task(commands.submit(request("a", 1)))
        while not lamp.acted:
            await asyncio.sleep(0)
        second = asyncio.create_task(commands.submit(request("b", 2)))
        await asyncio.sleep(0.05)
        clock.ms += 1000
        lamp.hold.set()
        assert (await first).state == DONE
        assert await second == Result("b", EXPIRED, "its turn came too late", None, clock.ms)
        assert lamp.acted == [1]


async def test_what_was_begun_when_the_gateway_stopped_has_failed_and_what_waited_is_done(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    lamp.hold.clear()
    async with running(tmp_path, lamp, clock) as commands:
        waiting = [asyncio.create_task(commands.submit(request(key, at))) for at, key in enumerate("ab")]
        while not lamp.acted:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    lamp.hold.set()
    async with running(tmp_path, lamp, clock) as commands:
        assert (await commands.submit(request("a", 0))).state == FAILED
        assert (await commands.submit(request("b", 1))).state == DONE
    assert lamp.acted == [0, 1]


async def test_a_command_goes_on_though_the_one_who_asked_is_gone_before_it_is_on_record(tmp_path: Path) -> None:
    """The line may drop at any moment, and the hub asks again when it is back."""
    lamp, clock = Lamp(), Clock()
    async with running(tmp_path, lamp, clock) as commands:
        asking = asyncio.create_task(commands.submit(request()))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        async with asyncio.timeout(5):
            assert (await commands.submit(request())).state == DONE
    assert lamp.acted == [50]


async def test_what_waited_when_the_time_was_forgotten_has_expired(tmp_path: Path) -> None:
    """Nobody knows for how long: a door is not opened because of what was wanted last week."""
    lamp, clock = Lamp(), Clock()
    file = CommandFile(tmp_path / "commands.db")
    file.queue(request("old"))
    file.close()
    clock.ms = 40_000  # since the machine's start
    async with running(tmp_path, lamp, clock) as commands:
        async with asyncio.timeout(5):
            assert (await commands.submit(request("old"))).state == EXPIRED
            assert (await commands.submit(request("new"))).state == DONE
    assert lamp.acted == [50]


async def test_what_cannot_be_put_on_record_is_not_refused_since_it_may_be_done_when_asked_again(
    tmp_path: Path,
) -> None:
    """Were it, whoever has asked twice would be told that surely nothing was done, and then it would be."""
    lamp, clock = Lamp(), Clock()
    async with running(tmp_path, lamp, clock) as commands:
        db = commands._file._connection
        db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON command BEGIN SELECT raise(ABORT, 'disk full'); END")
        with pytest.raises(Unrecorded):
            await commands.submit(request())
        db.execute("DROP TRIGGER full")
        assert (await commands.submit(request())).state == DONE
    assert lamp.acted == [50]


async def test_however_many_wait_at_a_start_all_end(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    count = MOST_QUEUED + 1  # one was in hand when the gateway stopped
    file = CommandFile(tmp_path / "commands.db")
    for number in range(count):
        file.queue(request(f"k{number}", number % 101))
    file.close()
    async with running(tmp_path, lamp, clock) as commands:
        async with asyncio.timeout(60):
            assert (await commands.submit(request(f"k{count - 1}", (count - 1) % 101))).state == DONE
    assert len(lamp.acted) == count


async def test_ended_commands_are_forgotten_a_day_after_their_expiry_and_then_refused_as_expired(
    tmp_path: Path,
) -> None:
    lamp, clock = Lamp(), Clock()
    old, untold = request(), request("untold", 60)
    day_ms = 24 * 3_600_000
    async with running(tmp_path, lamp, clock) as commands:
        await commands.submit(old)
        await commands.submit(untold)
        await commands.tell(old.key)
    clock.ms += 1000 + day_ms + 1
    async with running(tmp_path, lamp, clock) as commands:
        while (again := await commands.submit(old)).state == DONE:
            await asyncio.sleep(0.01)
        assert again.state == EXPIRED
        assert untold.key in [result.key for result in await commands.untold()], "the hub may yet ask"
    clock.ms += 90 * day_ms
    async with running(tmp_path, lamp, clock) as commands:
        while await commands.untold():
            await asyncio.sleep(0.01)
    assert lamp.acted == [50, 60]


class _PowerCut(BaseException):
    """The end of the program, at any step."""


class _Mortal(CommandFile):
    """A file whose program dies before or after its n-th step."""

    def __init__(self, path: Path, steps: int):
        super().__init__(path)
        self._left = steps

    def _step_made(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _PowerCut

    def queue(self, request: Request) -> None:
        self._step_made()
        super().queue(request)
        self._step_made()

    def start(self, key: str) -> None:
        self._step_made()
        super().start(key)
        self._step_made()

    def end(self, result: Result) -> None:
        self._step_made()
        super().end(result)
        self._step_made()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lives=st.lists(st.integers(0, 14), min_size=1, max_size=5),
    keys=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    seed=st.integers(0, 1 << 30),
)
async def test_wherever_the_program_dies_nothing_is_done_twice_and_all_ends_once(
    tmp_path_factory: pytest.TempPathFactory, lives: list[int], keys: list[int], seed: int
) -> None:
    """In each life some commands come, some again; each life ends at its n-th step on disk."""
    path = tmp_path_factory.mktemp("lives")
    lamp, clock, chance = Lamp(), Clock(), random.Random(seed)
    ends: dict[str, set[Result]] = {}
    for steps in (*lives, 10_000):
        file = _Mortal(path / "commands.db", steps)
        commands = Commands({"lamp": lamp}, {"lamp": MODEL}, file, clock=clock)
        commands.told.append(lambda result: ends.setdefault(result.key, set()).add(result))
        lamp.outcome = chance.choice([None, None, ActionFailed("lamp", "no answer"), ActionRefused("lamp", "busy")])
        running_ = asyncio.create_task(commands.run())
        asked = [asyncio.create_task(commands.submit(request(f"k{key}", key))) for key in keys]
        if steps < 10_000:
            await asyncio.wait([running_, *asked], timeout=0.03)
        else:
            results = await asyncio.gather(*asked)
            assert all(result.state in FINAL for result in results)
        for task in (running_, *asked):
            task.cancel()
        await asyncio.gather(running_, *asked, return_exceptions=True)
        commands.close()
        file.close()
    assert max(Counter(lamp.acted).values(), default=0) <= 1
    assert all(len(found) == 1 for found in ends.values())
    done = {result.value for found in ends.values() for result in found if result.state == DONE}
    assert done <= set(lamp.acted)


async def test_a_local_client_has_a_command_carried_out(tmp_path: Path) -> None:
    lamp, clock = Lamp(), Clock()
    path = tmp_path / SOCKET
    with pytest.raises(EdgeError, match="no running gateway"):
        await send(path, request(), timeout_s=1)
    async with running(tmp_path, lamp, clock) as commands:
        serving = asyncio.create_task(CommandSocket(path, commands).run())
        while not path.exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await send(path, request(), timeout_s=1)).state == DONE
        for garbage in (b"\n", b"{}\n", b"x" * 100_000, b'{"key": 1}\n'):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(garbage)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert (await send(path, request("again"), timeout_s=1)).state == DONE
        serving.cancel()
        await asyncio.wait((serving,))
        assert not path.exists()
