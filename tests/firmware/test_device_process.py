"""A whole device: real MicroPython, real broker; this test plays the gateway, and kills."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from firmware.core.journal import Journal
from firmware.core.mqtt import MqttClient
from hardware import images
from hardware.sim.chips.norflash import NorFlash
from hardware.sim.device import ROOT, command
from protocols import cursor, senml
from protocols.custody import STORE, Receiver, incarnation_of
from protocols.reading import GOOD, to_float
from protocols.topics import BULK, LANES
from tests.firmware.played import broker_of

DEVICE = "wearable-1"
ALARMS = (("sos", "1"), ("fall", "1"))
FAST = (("heart_rate", "/min"), ("signal_quality", "%"))
SLOW = (
    ("oxygen_saturation", "%"),
    ("pulse_amplitude_index", "%"),
    ("skin_temperature", "Cel"),
    ("steps", "1"),
)


class Gateway:
    """Stores packs as a gateway does and publishes the cursor. `silent`: takes nothing, as if it were not there."""

    def __init__(self, client: MqttClient):
        self._client = client
        self.receivers = {lane: Receiver() for lane in LANES}
        self.packs: dict[tuple[int, int], senml.DevicePack] = {}  # of both lanes, whose epochs differ
        self._bulk: set[tuple[int, int]] = set()
        self.births: list[dict[str, object]] = []
        self.silent = False
        self._news = asyncio.Event()
        self._answer = asyncio.Event()

    async def run(self) -> None:
        await self._client.connect()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.serve(self._take), name="gateway: serve")
            await self._client.subscribe([f"d/{DEVICE}/birth"])
            await self._client.subscribe([f"d/{DEVICE}/up/{lane}" for lane in LANES], qos=0)
            while True:
                await self._answer.wait()
                self._answer.clear()
                for lane, receiver in self.receivers.items():
                    payload = cursor.encode("session", receiver.cursor())
                    await self._client.publish(f"d/{DEVICE}/cursor/{lane}", payload, qos=1, retain=True)

    def _take(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/birth"):
            self.births.append(json.loads(payload))
        elif not self.silent:
            pack = senml.decode_pack(payload, DEVICE)
            lane = topic.rpartition("/")[2]
            receiver = self.receivers[lane]
            if receiver.offer(pack.header) == STORE:
                assert (pack.header.epoch, pack.header.seq) not in self.packs
                self.packs[pack.header.epoch, pack.header.seq] = pack
                if lane == BULK:
                    self._bulk.add((pack.header.epoch, pack.header.seq))
                receiver.stored(pack.header)
            self._answer.set()
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for packs or births that make the condition true."""
        async with asyncio.timeout(60):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    def epochs(self) -> dict[int, list[int]]:
        """The bulk lane's packs by epoch."""
        found: dict[int, list[int]] = {}
        for epoch, seq in sorted(self._bulk):
            found.setdefault(epoch, []).append(seq)
        return found


@asynccontextmanager
async def gateway(directory: Path) -> AsyncIterator[tuple[Gateway, int]]:
    async with broker_of(directory, DEVICE, directory / "state") as (port, client):
        playing = Gateway(client)
        running = asyncio.create_task(playing.run(), name="gateway")
        try:
            yield playing, port
        finally:
            await playing.close()  # before the cancellation, which wait_for of Python 3.11 can swallow
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                assert running.exception()


@asynccontextmanager
async def wearable(directory: Path, port: int, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = ["--board", "kerb-wearable", "--id", DEVICE, "--broker", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardware.sim.device", *arguments, "--state", str(directory / "state"), *options,
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        assert await process.wait() == -signal.SIGKILL


async def test_killed_and_started_again_every_pack_arrives_once(tmp_path: Path) -> None:
    """Killed while packs wait in the journal, and again while it drains."""
    async with gateway(tmp_path) as (playing, port):
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.packs) >= 3)
            playing.silent = True
            await asyncio.sleep(4)
        before = len(playing.packs)
        assert journal_of(tmp_path).epochs()
        playing.silent = False
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.epochs()) == 2)
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.epochs()) == 3 and len(playing.packs) > before + 8)
        epochs = playing.epochs()
        assert len(epochs) == 3
        assert len({incarnation_of(epoch) for epoch in epochs}) == 1  # one storage, one incarnation
        for seqs in epochs.values():
            assert seqs == list(range(1, len(seqs) + 1))
        first = epochs[min(epochs)]
        assert len(first) >= 6  # also those that were made while the gateway was silent
        late = [pack for (epoch, seq), pack in playing.packs.items() if epoch == min(epochs) and seq > before]
        assert late
        assert all(pack.header.backfill for pack in late)


async def test_what_a_pack_says(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (playing, port), wearable(tmp_path, port, "--recording", "0"):
        await playing.until(lambda: len(playing.packs) >= 16)
        packs = [playing.packs[key] for key in sorted(playing.packs)]
    births = {key: value for key, value in playing.births[0].items() if key != "epoch"}
    assert births == {"device": DEVICE, "state": "online", "model": "kerb-wearable", "firmware": "0.1.0"}
    said = [tuple((reading.metric, reading.unit) for reading in pack.readings) for pack in packs]
    assert set(said) == {ALARMS, FAST, FAST + SLOW}
    assert all(pack.sent_ms is None for pack in packs)
    packs = [pack for pack, metrics in zip(packs, said, strict=True) if metrics != ALARMS]
    assert playing.births[0]["epoch"] == packs[0].header.epoch
    times = [pack.readings[0].time_ms for pack in packs]
    gaps = [after - before for before, after in pairwise(times) if before and after]
    assert all(gap == pytest.approx(1000, abs=300) for gap in gaps)
    rate = packs[-1].readings[0]
    assert rate.quality == GOOD
    assert to_float(rate.value) == pytest.approx(59, abs=5)  # type: ignore[arg-type]


def world(directory: Path, **said: object) -> tuple[str, str]:
    """The option that gives the board a wearer, and somebody at its button."""
    path = directory / "world.json"
    path.write_text(json.dumps(said))
    return "--world", str(path)


def button(*changes: tuple[int, int | None]) -> list[dict[str, object]]:
    """What is wired to the SOS button's pin: 0 from a millisecond on while it is held, None when it is not."""
    return [{"model": "contact", "pins": {"contact": 9}, "with": {"changes": changes}}]


def values(playing: Gateway, metric: str) -> list[Any]:
    """All values of a metric, in the order in which they were measured."""
    readings = (reading for key in sorted(playing.packs) for reading in playing.packs[key].readings)
    return [reading.value for reading in readings if reading.metric == metric and reading.value is not None]


def last(playing: Gateway, metric: str) -> object:
    """The newest value of a metric, or None."""
    return (values(playing, metric) or [None])[-1]


async def test_sos_calls_at_once_without_a_clock_and_outlasts_a_restart(tmp_path: Path) -> None:
    """The gateway is silent while the button is held, and the device loses power; then somebody ends it."""
    held = world(tmp_path, wired=button((3000, 0), (6000, None)))
    async with gateway(tmp_path) as (playing, port):
        async with wearable(tmp_path, port, *held, "--no-wall-clock"):
            await playing.until(lambda: last(playing, "sos") == 0)
            playing.silent = True
            await asyncio.wait_for(written(tmp_path / "state" / "emergency"), 20)
        playing.silent = False
        ended = world(tmp_path, wired=button((6000, 0), (12000, None)))
        async with wearable(tmp_path, port, *ended, "--no-wall-clock"):
            await playing.until(lambda: last(playing, "sos") == 1)
            await playing.until(lambda: last(playing, "sos") == 0)


async def written(path: Path) -> None:
    while not path.exists() or path.read_bytes() != b"sos ":  # noqa: ASYNC240 - another process writes it
        await asyncio.sleep(0.05)


async def test_a_fall_that_nobody_cancels_is_told(tmp_path: Path) -> None:
    falls = world(tmp_path, wearer={"motion": [[0, "walk"], [9, "fall forward"]], "seed": 5, "spo2": 94})
    async with gateway(tmp_path) as (playing, port), wearable(tmp_path, port, *falls):
        await playing.until(lambda: last(playing, "fall") == 1)
        assert last(playing, "sos") == 0
        assert 10 <= int(str(last(playing, "steps"))) <= 30
        saturations = [to_float(value) for value in values(playing, "oxygen_saturation")]
        assert saturations
        assert saturations == pytest.approx([94] * len(saturations), abs=1.5)


async def test_without_a_wall_clock_times_are_the_devices_own(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (playing, port), wearable(tmp_path, port, "--no-wall-clock"):
        await playing.until(lambda: len(playing.packs) >= 2)
        for pack in playing.packs.values():
            assert pack.sent_ms is not None
            assert 0 < (pack.readings[0].time_ms or 0) <= pack.sent_ms < 60_000


async def test_after_a_crash_the_birth_certificate_tells_why_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with gateway(tmp_path) as (playing, port):
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.births) >= 1)
        (state / "epoch").write_text("no epoch")
        line, environment = command(state)
        done = await asyncio.create_subprocess_exec(
            *line, env=environment, cwd=state, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await done.wait() == 75  # it restarts
        (state / "epoch").unlink()
        told: list[object] = []
        for _ in range(2):
            playing.births.clear()
            async with wearable(tmp_path, port):
                await playing.until(lambda: any(birth["state"] == "online" for birth in playing.births))
                told += [birth["crash"] for birth in playing.births if "crash" in birth and birth["state"] == "online"]
                await asyncio.wait_for(gone(state / "crash"), 10)
    assert len(told) == 1
    assert "firmware/core/epochs.py" in str(told[0])
    assert "ValueError" in str(told[0])


async def test_a_task_that_hangs_starts_the_device_anew_which_then_tells_its_name(tmp_path: Path) -> None:
    state, app = tmp_path / "state", Path("firmware/apps/wearable.py")
    async with gateway(tmp_path) as (playing, port):
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.births) >= 1)
        hanging = (ROOT / app).read_text().replace("self._published()\n", "await asyncio.sleep(3600)\n")
        assert hanging != (ROOT / app).read_text()
        (tmp_path / app).parent.mkdir(parents=True)
        (tmp_path / app).write_text(hanging)
        (state / "a" / app.with_suffix(".mpy")).write_bytes(images.compiled(app, tmp_path))
        line, environment = command(state)
        done = await asyncio.create_subprocess_exec(
            *line, env=environment, cwd=state, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(done.wait(), 90) == 75  # nobody feeds the watchdog any more
        playing.births.clear()
        async with wearable(tmp_path, port):
            await playing.until(lambda: any("crash" in birth for birth in playing.births))
    assert next(birth["crash"] for birth in playing.births if "crash" in birth) == "no word from publisher"


async def gone(path: Path) -> None:
    while path.exists():  # noqa: ASYNC240 - another process removes it
        await asyncio.sleep(0.05)


async def test_dies_and_the_broker_says_so(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (playing, port):
        async with wearable(tmp_path, port):
            await playing.until(lambda: len(playing.packs) >= 1)
        await playing.until(lambda: playing.births[-1]["state"] == "offline")


def journal_of(directory: Path) -> Journal:
    """What is in the device's flash."""
    path = directory / "state" / "journal.flash"
    sector_bytes = json.loads((directory / "state" / "board.json").read_text())["partitions"]["journal"]["sector_bytes"]
    return Journal(NorFlash(path.stat().st_size // sector_bytes, sector_bytes=sector_bytes, image=path.read_bytes()))


async def gap_in(directory: Path) -> None:
    while True:
        await asyncio.sleep(0.1)  # another process writes it
        if (directory / "state" / "config.json").exists():  # written after the flash
            journal = journal_of(directory)
            if any(journal.read(epoch, first)[0] is None for epoch, first, _ in journal.epochs()):
                return


async def test_a_full_journal_is_declared(tmp_path: Path) -> None:
    """Four kilobytes hold less than twenty packs: before the gateway listens, the oldest have given way."""
    async with gateway(tmp_path) as (playing, port):
        playing.silent = True
        async with wearable(tmp_path, port, "--journal-kb", "4"):
            await asyncio.wait_for(gap_in(tmp_path), 60)
            playing.silent = False
            await playing.until(lambda: len(playing.packs) >= 16)
        for epoch, seqs in playing.epochs().items():
            assert seqs == list(range(1, len(seqs) + 1)), epoch
        packs = [playing.packs[epoch, seq] for epoch, seqs in playing.epochs().items() for seq in seqs]
        assert packs[0].lost
        whole = {(0, len(FAST)), (0, len(FAST + SLOW))}
        gone = {(count, 0) for _, count in whole}
        assert {(pack.lost, len(pack.readings)) for pack in packs} <= whole | gone
