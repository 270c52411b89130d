"""Firmware updates over the wire: a real gateway and its broker, the real firmware on MicroPython, started by boot/."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench.parts import devices
from firmware.core.mqtt import MqttClient
from hardware import build, images, signing
from hardware.sim.block import get_json
from protocols import update
from protocols.image import Manifest, decode_manifest, encode_manifest
from protocols.update import Offer, Part, Step
from runtime.process import die_with_parent, free_port
from tests.firmware.played import broker_of

pytestmark = pytest.mark.timeout(400)

_LIMIT_S = 150  # for what happens within seconds on a machine that does nothing else
BOARD, APP, THING = "kerb-wearable-simulated", "wearable", "wearable-1"
CONFIG = """\
[gateway]
id = "gateway-1"
name = {{ en = "G", zh = "G" }}

[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:{nowhere}"

[page]
port = {page}

[[links]]
name = "devices"
kind = "mqtt"
port = {broker}
devices = [{{ thing = "wearable-1", model = "kerb-wearable" }}]
"""
# What makes a version another one: file, what is there, what comes in its place.
CHANGE = ("firmware/__init__.py", '"0.1.0"', '"0.1.{version}"')
DEAF = ("firmware/drivers/max30102.py", "_EXPECTED_PART = 0x15", "_EXPECTED_PART = 0x16")  # its sensor never works
IMPATIENT = ("firmware/core/updating.py", "_TRIAL_S = 120", "_TRIAL_S = 3")
SLOWLY = ("firmware/core/updating.py", "PART_BYTES = 512", "PART_BYTES = 128")
STILLBORN = ("firmware/main.py", "import gc\n", "import gc, nothing\n")


@cache
def current() -> dict[str, bytes]:
    """The sources as they are, compiled."""
    return images.files(APP, images.SIMULATED)


class Maker:
    """Builds versions of the wearable's firmware, each an image signed with one key."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.key = folder / "signing.key"
        signing.make_key(self.key)

    def image(self, version: int, *changes: tuple[str, str, str], base: Path | None = None, board: str = BOARD) -> Path:
        files = dict(current())
        for name, before, after in (CHANGE, *changes):
            source = (images.ROOT / name).read_text()
            assert source.count(before) == 1, (name, before)
            changed = self._folder / f"tree-{version}" / name
            changed.parent.mkdir(parents=True, exist_ok=True)
            changed.write_text(source.replace(before, after.format(version=version)))
            files[str(Path(name).with_suffix(".mpy"))] = images.compiled(Path(name), self._folder / f"tree-{version}")
        out = self._folder / f"image-{version}"
        manifest = images.manifest(board, APP, version, f"0.1.{version}", files)
        build.write_image(out, manifest, files, key=self.key, base=base)
        return out


class Site:
    """A gateway and a wearable, in one folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._page = free_port()
        self.broker = free_port()
        (folder / "gateway.toml").write_text(CONFIG.format(page=self._page, broker=self.broker, nowhere=free_port()))
        devices.admit(folder / "data", THING, folder / "device")

    @asynccontextmanager
    async def running(self, *line: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", *line, preexec_fn=die_with_parent)
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    def gateway(self) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        return self.running("edge", "run", str(self._folder / "gateway.toml"))

    def device(self, image: Path) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        line = ["--id", THING, "--broker", f"127.0.0.1:{self.broker}", "--image", str(image)]
        line += ["--state", str(self._folder / "device")]
        return self.running("hardware.sim.device", "--board", "kerb-wearable", *line, "--recording", "0")

    async def update(self, image: Path, target: str = THING) -> None:
        await self._edge("update", target, str(image))

    async def withdraw(self, target: str) -> None:
        await self._edge("update", target, "--withdraw")

    async def _edge(self, command: str, *line: str) -> None:
        line = ("edge", command, str(self._folder / "gateway.toml"), *line)
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", *line)
        assert await process.wait() == 0

    def status(self) -> Any:
        return get_json(f"http://127.0.0.1:{self._page}/status.json")

    async def until(self, condition: Callable[[Any, Any], bool]) -> Any:
        """Wait until update and thing are so; all that the page shows then."""
        shown: Any = None
        try:
            async with asyncio.timeout(_LIMIT_S):
                while True:
                    shown = await asyncio.to_thread(self.status)
                    if shown and condition(shown["updates"].get(THING, {}), shown["things"][THING]):
                        return shown
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(json.dumps(shown, indent=1)) from None


async def test_from_one_version_to_the_next_while_readings_go_on(tmp_path: Path) -> None:
    maker, site = Maker(tmp_path), Site(tmp_path)
    first = maker.image(1, SLOWLY)
    read: list[int] = []
    async with site.gateway(), site.device(first):
        await site.until(lambda update, thing: update.get("version") == 1 and thing["read"] > 4)
        await site.update(maker.image(2))
        for percent in (1, 90):
            shown = await site.until(lambda update, _, least=percent: update["percent"] >= least)
            read.append(shown["things"][THING]["read"])
        shown = await site.until(lambda update, _: (update.get("version"), update.get("state")) == (2, "current"))
        told = shown["things"][THING]["last"]
        await site.until(lambda _, thing: thing["last"]["heart_rate"]["time_ms"] > told["heart_rate"]["time_ms"])
    assert read[1] > read[0]
    assert shown["updates"][THING]["reason"] == ""
    assert (told["firmware_version"]["text"], told["update"]["text"]) == ("2", "current 2")
    assert json.loads((tmp_path / "device" / "slots.json").read_text()) == {"good": "b"}


async def test_a_patch_is_taken_by_the_version_that_it_is_against(tmp_path: Path) -> None:
    maker, site = Maker(tmp_path), Site(tmp_path)
    first = maker.image(1)
    second = maker.image(2, base=first)
    (second / "image.patch").write_bytes(b"not what it takes")
    async with site.gateway(), site.device(first):
        await site.update(second)
        await site.until(lambda update, _: (update.get("version"), update.get("state")) == (2, "current"))


async def test_a_bad_version_is_rolled_back_and_the_gateway_says_why(tmp_path: Path) -> None:
    maker, site = Maker(tmp_path), Site(tmp_path)
    async with site.gateway(), site.device(maker.image(1)):
        await site.until(lambda update, _: update.get("version") == 1)
        await site.update(maker.image(2, DEAF, IMPATIENT))
        shown = await site.until(lambda update, _: update["state"] == "failed")
        update = shown["updates"][THING]
        assert (update["version"], update["wanted"]) == (1, 2)
        assert update["reason"].endswith("version 2 is on trial: no sensors")
        await site.until(lambda _, thing: thing["last"]["update"]["text"].startswith("failed 2: "))
        await site.update(maker.image(3, STILLBORN))
        shown = await site.until(lambda update, _: (update["wanted"], update["state"]) == (3, "failed"))
        update = shown["updates"][THING]
        assert update["version"] == 1
        assert "no module named 'nothing'" in update["reason"]
        await site.update(maker.image(4), "kerb-wearable")  # for the model: the thing has one of its own
        await site.withdraw(THING)
        await site.until(lambda update, _: (update.get("version"), update.get("state")) == (4, "current"))


async def test_killed_at_random_on_either_side_it_goes_on_from_where_it_was(tmp_path: Path) -> None:
    maker, site = Maker(tmp_path), Site(tmp_path)
    first, collected = maker.image(1), tmp_path / "device" / "update" / "image"
    await site.update(maker.image(2))
    size = sum((tmp_path / "image-2" / name).stat().st_size for name in ("manifest.json", "signature", "image.patch"))
    source = random.Random(7)
    kept = 0
    async with AsyncExitStack() as device, AsyncExitStack() as gateway:
        await gateway.enter_async_context(site.gateway())
        await device.enter_async_context(site.device(first))
        for number, share in enumerate(sorted(source.uniform(0.05, 0.95) for _ in range(4))):
            kept = await reached(collected, max(kept, round(share * size)))
            side, again = (device, site.device(first)) if number % 2 else (gateway, site.gateway())
            await side.aclose()  # kill -9
            await side.enter_async_context(again)
        await site.until(lambda update, _: (update.get("version"), update.get("state")) == (2, "current"))


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def reached(path: Path, size: int) -> int:
    """Wait until the file, which another process writes, is that long; it must never become shorter."""
    before = length(path)
    async with asyncio.timeout(_LIMIT_S):
        while True:
            now = length(path)
            assert now >= before
            if now >= size:
                return now
            before = now
            await asyncio.sleep(0.005)


# --- what the device refuses ---


class Peddler:
    """Plays a gateway that offers whatever it is given, and hands out what the device wants of it."""

    def __init__(self, client: MqttClient):
        self._client = client
        self._content = b""
        self._ends: asyncio.Queue[Step] = asyncio.Queue()
        self._births: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._parts: asyncio.Queue[Part] = asyncio.Queue()
        self.wanted = 0

    async def run(self) -> None:
        await self._client.connect()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.serve(self._take), name="peddler: serve")
            await self._client.subscribe([f"d/{THING}/birth", f"d/{THING}/update"])
            while True:
                part = update.encode_part(await self._parts.get())
                await self._client.publish(f"d/{THING}/part", part)

    def _take(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/birth"):
            self._births.put_nowait(json.loads(payload))
            return
        step = update.decode_step(payload)
        if step.state != update.WANTS:
            self._ends.put_nowait(step)
            return
        self.wanted += 1
        self._parts.put_nowait(Part(step.id, step.at, self._content[step.at : step.at + step.length]))

    async def birth(self) -> dict[str, Any]:
        async with asyncio.timeout(_LIMIT_S):
            while (born := await self._births.get())["state"] != "online":
                pass
            return born

    async def offer(self, number: int, version: int, base: int, *pieces: bytes, missing: int = 0) -> Step:
        """What becomes of this offer, of which some bytes are missing."""
        whole = b"".join(pieces)
        self._content = whole[: len(whole) - missing]
        offer = Offer(number, version, base, *(len(piece) for piece in pieces))
        await self._client.publish(f"d/{THING}/offer", update.encode_offer(offer), qos=1)
        async with asyncio.timeout(_LIMIT_S):
            while True:
                step = await self._ends.get()
                if step.id == number:
                    return step

    async def close(self) -> None:
        await self._client.close()


def bad_offers(maker: Maker, running: Path) -> dict[str, tuple[int, int, list[bytes], int]]:
    """A word of the reason -> version, base, manifest, signature and patch, how many bytes of it are missing."""
    there = decode_manifest((running / "manifest.json").read_bytes())
    patch = (running / "image.patch").read_bytes()

    def signed(manifest: Manifest) -> tuple[bytes, bytes]:
        data = encode_manifest(manifest)
        return data, signing.sign(maker.key, data)

    newer = signed(there._replace(version=3))
    flipped = bytearray(newer[1])
    flipped[len(flipped) // 3] ^= 1
    torn = bytearray(patch)
    torn[len(torn) // 2] ^= 4
    forged = newer[0].replace(b'"version": 3', b'"version": 9')
    return {
        "was not made with this key": (3, 0, [newer[0], bytes(flipped), patch], 0),
        "bad signature or manifest": (9, 0, [forged, newer[1], patch], 0),
        "not for wearable on": (3, 0, [*signed(there._replace(version=3, board="pico-2-w")), patch], 0),
        "downgrade: version 2 is here": (1, 0, [*signed(there._replace(version=1)), patch], 0),
        "replayed: version 2 is here": (2, 0, [*signed(there), patch], 0),
        "truncated: it ends at": (3, 0, [*newer, patch], 700),
        "damaged": (4, 0, [*signed(there._replace(version=4)), bytes(torn)], 0),
        "against version 1": (3, 1, [*newer, patch], 0),
    }


async def test_what_must_not_run_is_refused_over_the_wire_each_with_its_reason(tmp_path: Path) -> None:
    maker, site = Maker(tmp_path), Site(tmp_path)
    running = maker.image(2)
    playing_it = broker_of(tmp_path, THING, tmp_path / "device", port=site.broker)
    async with playing_it as (_, client), site.device(running):
        peddler = Peddler(client)
        playing = asyncio.create_task(peddler.run())
        assert (await peddler.birth())["version"] == 2
        reasons = {}
        for number, (word, (version, base, pieces, missing)) in enumerate(bad_offers(maker, running).items(), 1):
            step = await peddler.offer(number, version, base, *pieces, missing=missing)
            assert step.state == update.REFUSED
            reasons[word] = step.reason
        good = decode_manifest((running / "manifest.json").read_bytes())._replace(version=5)
        signature = signing.sign(maker.key, encode_manifest(good))
        pieces = [encode_manifest(good), signature, (running / "image.patch").read_bytes()]
        assert (await peddler.offer(99, 5, 0, *pieces)).state == update.TRIAL
        born = await peddler.birth()  # the first since the start: nothing before has stopped the device
        assert (born["version"], born["trial"]) == (5, True)
        await peddler.close()
        await asyncio.wait([playing])
        assert playing.exception()
    assert all(word in reason for word, reason in reasons.items()), reasons
