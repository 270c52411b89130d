"""The whole dispenser app on CPython, on the simulated board, in a time of its own: an hour passes in a moment."""

import asyncio
import importlib
import selectors
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from firmware.core.config import Config
from firmware.errors import JournalError
from hardware import boards, plans
from hardware.sim.chips.carousel import Carousel
from hardware.sim.shims import machine, simboard
from protocols import command, medication
from protocols.medication import MedicationPlan
from protocols.reading import Reading
from tests.firmware import screens

KEY = ec.derive_private_key(7, ec.SECP256R1())
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
DEVICE = "dispenser-1"
PLAN = plans.read(screens.PLAN)
BOARD = boards.find("kerb-dispenser")
PINS = {pin.name: pin.pin for pin in BOARD.pins}
WIRES = {"index": PINS["wheel"], **{name: PINS[name] for name in PINS if name not in ("wheel", "lock")}}
DAY_S = 86400
_LEAP_S = 600
MIDNIGHT_S = PLAN.from_s + 100 * DAY_S  # in the patient's zone


def signed(plan: MedicationPlan, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    document = medication.encode(plan)
    numbers = utils.decode_dss_signature(key.sign(medication.PURPOSE + document, ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(32, "big") for number in numbers) + document


class _Picture:
    """What the app needs of MicroPython's framebuf, whose pictures are looked at on MicroPython itself."""

    def __init__(self, *_: object):
        self.fill = self.fill_rect = self.blit = lambda *_: None

    def pixel(self, *_: object) -> int:
        return 0


class _Jump(selectors.DefaultSelector):
    """Nobody waits: where the loop would, its time passes instead, and the board's with it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.board: simboard.Board | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("the app waits for ever")
        self.now_s += max(timeout, 0.0)
        if self.board is not None:
            self.board.advance(round(self.now_s * 1e6))
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop in a time of its own."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now_s


class Device:
    """What an app sees of its device: what it keeps and sends, and what is sent to it. `full`: the journal is."""

    def __init__(self, cabinet: "Cabinet", hal: ModuleType):
        board = BOARD.model_dump(mode="json", include={"i2c", "chips", "pins"}, exclude_none=True)
        settings = {"plan_key": POINT.hex(), "cartridge": 1}
        broker = {"host": "x", "port": 1, "user": "x", "password": "x"}
        content = {"device": DEVICE, "app": "dispenser", "broker": broker, "board": board, "settings": settings}
        self.config = Config(content)
        self.hal = hal
        self.clock = cabinet
        self.full = False
        self.kept: list[dict[str, Any]] = []
        self.results: list[command.Result] = []
        self.listeners: dict[str, Any] = {}

    def keep(self, readings: Sequence[Reading], *, lane: str = "bulk") -> None:
        if self.full:
            raise JournalError("full")
        assert (lane == "urgent") == any(each.metric == "event" for each in readings)
        self.kept.append({each.metric: each.value for each in readings})

    def publish(self, readings: Sequence[Reading]) -> None:
        if not self.full:
            self.keep(readings)

    def listen(self, topic: str, take: Any) -> None:
        self.listeners[topic] = take

    async def send(self, topic: str, payload: bytes) -> None:
        self.results.append(command.decode_result(payload))

    def watch(self, task: str, limit_ms: int = 0) -> Any:
        return lambda: None

    async def run(self, *tasks: Coroutine[Any, Any, None], figures: Any = None) -> None:
        await asyncio.gather(*tasks)


class Cabinet:
    """A dispenser with its cabinet, its patient (the test) and its flash (a folder). Power may be cut with `cut`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, at_s: int = MIDNIGHT_S):
        self.folder = folder
        self.start_s = at_s
        monkeypatch.setenv("KERB_STATE", str(folder))
        shim = ModuleType("framebuf")
        shim.FrameBuffer, shim.MONO_VLSB, shim.MONO_HLSB = _Picture, 0, 3  # type: ignore[attr-defined]
        for name, module in (("framebuf", shim), ("machine", machine)):
            monkeypatch.setitem(sys.modules, name, module)
        self._hal = importlib.import_module("firmware.hal.board")
        monkeypatch.setattr(self._hal, "storage", lambda: str(folder))
        self._app = importlib.import_module("firmware.apps.dispenser")
        self.knows_time = True
        self.loop = Loop()
        self._power_on()

    @property
    def wheel(self) -> Carousel:
        """The mechanics."""
        model: Carousel = self.board.wired[0]
        return model

    @property
    def events(self) -> list[str]:
        """What was reported, as the app's words."""
        return [self._app.EVENTS[kept["event"] - 1] for kept in self.device.kept if "event" in kept]

    @property
    def lines(self) -> str:
        """All that the display shows now, one page after the other."""
        return "\n".join(line for page in self.app._pages() for line in page.lines)

    def monotonic_ms(self) -> int:
        return round(self.loop.time() * 1000)

    def unix_ms(self) -> int | None:
        return round((self.start_s + self.loop.time()) * 1000) if self.knows_time else None

    def now_s(self) -> int:
        return int(self.start_s + self.loop.time())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run_until_complete(asyncio.wait({self._running}, timeout=seconds))
        if self._running.done():
            self._running.result()
            raise AssertionError("the app has ended")

    def until(self, minutes: int) -> None:
        """Let time pass until so many minutes after the patient's midnight: in leaps, between which all tasks run."""
        end_s = MIDNIGHT_S + 60 * minutes - self.start_s
        while end_s - self.loop.time() > _LEAP_S:
            self.loop.jump.now_s += _LEAP_S - 1
            self.wait(1)
        self.loop.jump.now_s = max(self.loop.jump.now_s, end_s - 1.0)
        self.wait(1.5)

    def press(self, seconds: float = 0.3) -> None:
        """Press the button, so long."""
        self.board.line(PINS["button"]).drive(0)
        self.wait(seconds)
        self.board.line(PINS["button"]).drive(None)
        self.wait(0.5)

    def ask(self) -> None:
        """Press the button, and wait until the dose has fallen, or not."""
        self.press()
        self.wait(4)

    def take(self) -> None:
        """Take what lies on the tray."""
        self.wheel.take()
        self.wait(2)

    def give(self, plan: MedicationPlan, key: ec.EllipticCurvePrivateKey = KEY) -> str:
        """A plan comes over MQTT; what is said of it."""
        return self.give_bytes(signed(plan, key))

    def give_bytes(self, data: bytes) -> str:
        """A message comes as a plan; what is said of it."""
        self.device.listeners[f"d/{DEVICE}/plan"](data)
        self.wait(1)
        told: str = [kept["plan"] for kept in self.device.kept if "plan" in kept][-1]
        return told

    def tell(self, name: str, value: int, key: str = "") -> command.Result:
        """A command comes from the gateway; how it ended."""
        key = key or f"k{len(self.device.results)}"
        request = command.Request(key, DEVICE, name, value, self.now_s() * 1000 + 5000)
        self.device.listeners[f"d/{DEVICE}/cmd"](command.encode_request(request))
        self.wait(0.3)
        return self.device.results[-1]

    def cut(self, away_s: float = 0) -> None:
        """Power fails, and comes back: what is on flash, and where things are, is all that is left."""
        at, full, tray = self.wheel.at, set(self.wheel.full), self.wheel.tray
        kept, results = self.device.kept, self.device.results
        self.stop()
        self.loop.jump.now_s += away_s
        self._power_on()
        self.wheel.at, self.wheel.full, self.wheel.tray = at, full, tray
        self.wheel._show()
        self.board.line(PINS["tray"]).drive(0 if tray else 1)
        self.device.kept, self.device.results = kept, results
        self.wait(1)

    def stop(self) -> None:
        """Power fails."""
        self._running.cancel()
        self.loop.run_until_complete(asyncio.wait({self._running}))

    def _power_on(self) -> None:
        chips = [
            {"chip": chip.chip, "bus": 0, "address": chip.address, "scl": BOARD.i2c[0].scl, "sda": BOARD.i2c[0].sda}
            for chip in BOARD.chips
        ]
        wired = [{"model": "carousel", "pins": WIRES}]
        self.board = simboard.Board({"unique_id": "00", "chips": chips, "wired": wired}, tick_ms=0)
        simboard.install(self.board)
        self.board.advance(round(self.loop.time() * 1e6))
        self.loop.jump.board = self.board
        self.device = Device(self, self._hal)
        asyncio.set_event_loop(self.loop)
        self.app = self._app.Dispenser(self.device)
        self._running = self.loop.create_task(self.app.run())
