"""A device as it leaves production: real MicroPython, with a label and without a config, on a cable that is tapped."""

import asyncio
import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path

from hardware.sim import device
from protocols.provisioning import Lines
from runtime.label import Label

DEVICE, BOARD = "wearable-7", "kerb-wearable"
SERIAL = hashlib.sha256(DEVICE.encode()).digest()[:6]
BUTTON = 9
_STDERR = 2
Change = Callable[[bytes], list[bytes]]  # a message on the way -> what arrives in its place


def untouched(message: bytes) -> list[bytes]:
    return [message]


def produce(state: Path) -> Label:
    """Put on the device's flash what production does."""
    shutil.copytree(_flash(), state)
    label = Label.make(DEVICE)
    content = {"device": DEVICE, "board": BOARD, "secret": label.secret.hex(), "button": BUTTON}
    (state / "label.json").write_text(json.dumps(content))
    return label


@cache
def _flash() -> Path:
    """An image of the flash, made once: to compile it takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="kerb-flash-"))
    atexit.register(shutil.rmtree, folder)
    device.prepare(folder, board=BOARD, device=DEVICE, host="", port=1)
    (folder / "config.json").unlink()
    return folder


def hold(state: Path, *, held: bool) -> None:
    """Hold the device's button from its next start on, or let it go."""
    board = json.loads((state / "board.json").read_text())
    changes = [[0, 0]] if held else []
    board["wired"] = [{"model": "contact", "pins": {"contact": BUTTON}, "with": {"changes": changes}}]
    (state / "board.json").write_text(json.dumps(board))


class Cable:
    """Two pseudo-terminals with somebody in between. `heard`: every message, with whether it went to the device."""

    def __init__(self) -> None:
        self._ours: list[int] = []
        self._theirs: list[int] = []
        for _ in range(2):
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            self._ours.append(ours)
            self._theirs.append(theirs)
        self._lines = [Lines(), Lines()]
        self._unsent = [b"", b""]
        self.to_device: Change = untouched
        self.to_technician: Change = untouched
        self.heard: list[tuple[bool, bytes]] = []
        self.log = b""  # all that the device has written
        self._read = 0
        self._news = asyncio.Event()

    @property
    def port(self) -> str:
        """What the technician opens."""
        return os.ttyname(self._theirs[1])

    @property
    def console(self) -> int:
        """The device's end."""
        return self._theirs[0]

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        for end in (0, 1):
            loop.add_reader(self._ours[end], self._carry, end)

    def close(self) -> None:
        for fd in self._ours:
            asyncio.get_running_loop().remove_reader(fd)
            asyncio.get_running_loop().remove_writer(fd)
        for fd in self._ours + self._theirs:
            os.close(fd)

    async def until(self, *words: bytes) -> None:
        """Wait until the device has written one of these since it was last asked."""
        async with asyncio.timeout(20):
            while not any(word in self.log[self._read :] for word in words):
                self._news.clear()
                await self._news.wait()
        self._read = len(self.log)

    def tell_device(self, message: bytes) -> None:
        """Speak to the device in the technician's place."""
        self._send(0, Lines().encode(message))

    def _send(self, end: int, data: bytes) -> None:
        """A terminal takes a few kilobytes; the rest follows as they are read."""
        self._unsent[end] += data
        asyncio.get_running_loop().add_writer(self._ours[end], self._send_on, end)

    def _send_on(self, end: int) -> None:
        with suppress(BlockingIOError):
            self._unsent[end] = self._unsent[end][os.write(self._ours[end], self._unsent[end]) :]
        if not self._unsent[end]:
            asyncio.get_running_loop().remove_writer(self._ours[end])

    def _carry(self, end: int) -> None:
        data = os.read(self._ours[end], 65536)
        to_device = end == 1
        if not to_device:
            self.log += data
            self._news.set()
        for message in self._lines[end].feed(data):
            self.heard.append((to_device, message))
            for changed in (self.to_device if to_device else self.to_technician)(message):
                self._send(1 - end, Lines().encode(changed))


@asynccontextmanager
async def on_a_cable() -> AsyncIterator[Cable]:
    cable = Cable()
    cable.open()
    try:
        yield cable
    finally:
        cable.close()


@asynccontextmanager
async def powered(
    state: Path, *, console: int = subprocess.DEVNULL, radio: int | None = None, but: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The device, until its power is cut. `console`: its end of a cable; `radio`: a port of ble_stack.

    `but`: a statement that is carried out before it starts, to make it less patient than it is in life.
    """
    line, environment = device.command(state)
    if but:
        line[-1:] = ["-c", f"import sys\nsys.path.insert(0, 'a')\n{but}\nimport main"]
    if radio is not None:
        environment["KERB_RADIO"] = f"127.0.0.1:{radio}"
    output = _STDERR if console == subprocess.DEVNULL else console
    process = await asyncio.create_subprocess_exec(
        *line, env=environment, cwd=state, stdin=console, stdout=output, stderr=output
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
