"""The simulated board behind the `machine` shim: buses with chips on them, pins, unique id and clock.

What is on the board comes from a JSON file whose path is in the environment variable KERB_BOARD (the launcher writes
it from hardware/boards/*.toml):

    {"unique_id": "<hex>", "chips": [{"chip": "max30102", "bus": 0, "scl": 5, "sda": 4, "address": 87, "int_pin": 6,
     "recording": "<path>"}], "partitions": {"journal": {"path": "<path>", "sector_bytes": 4096}},
     "wired": [{"model": "contact", "pins": {"contact": 14}, "with": {"changes": [[0, 1], [5000, 0]]}}],
     "terminals": {"1": "<path>"}}

`wired` are the models of what is at plain pins, `terminals` what serial ports are connected to, `wearer`
(optional) what somebody does who wears the board (chips/wearer.py).

With `tick_ms` > 0 time is real and the board lives by an asyncio task; with 0 the test moves it by `advance`.
"""

import asyncio
import errno
import json
import os
import select
import sys
import time

from hardware.sim.chips.recording import Recording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FALLING, RISING = 2, 1


class BoardError(Exception):
    """A board description that cannot be built."""


_CHIPS = {  # models, by the module of hardware/sim/chips; only those of the board are loaded, for memory is scarce
    "bme280": "Bme280",
    "ds3231": "Ds3231",
    "max30102": "Max30102",
    "max30205": "Max30205",
    "mpu6050": "Mpu6050",
    "scd41": "Scd41",
    "ssd1309": "Ssd1309",
}
_WIRED = {  # models of what is at plain pins
    "battery": "Battery",
    "carousel": "Carousel",
    "contact": "Contact",
    "hx711": "Hx711",
    "loop": "Loop",
    "wheel": "Wheel",
}


def _model(chip: str) -> "Any":
    module = "hardware.sim.chips." + chip
    __import__(module)
    return getattr(sys.modules[module], _CHIPS[chip])


def _wired(model: str) -> "Any":
    if model not in _WIRED:
        raise BoardError("there is no model of " + model)
    module = "hardware.sim.chips." + model
    __import__(module)
    return getattr(sys.modules[module], _WIRED[model])


class Line:
    """What is at a pin: whoever drives it, else its pull; and who wants to know of its edges.

    Models and tests `drive` it (None: let go of it) and put functions of the level into `watchers`. Its voltage is that
    of its level, unless `u16` says otherwise (65535: the supply).
    """

    def __init__(self) -> None:
        self.level = 1
        self.trigger = 0
        self.callback: Callable[[], None] | None = None
        self.watchers: list[Callable[[int], None]] = []
        self.u16: int | None = None
        self._driven: int | None = None
        self._pull = 1

    def drive(self, level: "int | None") -> None:
        """From now on the level is this one, or that of the pull."""
        self._driven = level
        self._settle()

    def pull(self, level: int) -> None:
        """A resistor holds the line so while nobody drives it."""
        self._pull = level
        self._settle()

    def voltage_u16(self) -> int:
        """What a converter reads."""
        return self.u16 if self.u16 is not None else 65535 * self.level

    def _settle(self) -> None:
        level = self._pull if self._driven is None else self._driven
        if level == self.level:
            return
        self.level = level
        for watcher in self.watchers:
            watcher(level)
        if self.callback and self.trigger & (RISING if level else FALLING):
            self.callback()


class Wire:
    """What a serial port is connected to: a terminal (`path`), or, without one, a test that looks at both ends.

    `arrived`: what has come and was not read; `sent`: what was sent, in the order of sending.
    """

    def __init__(self, path: "str | None", now_us: "Callable[[], int]"):
        self.arrived = bytearray()
        self.sent = bytearray()
        self._now_us = now_us
        self._quiet_us = 0
        self._file = None
        if path is not None:
            self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - it stays open as long as the board
            self._poll = select.poll()
            self._poll.register(self._file, select.POLLIN)

    def waiting(self, room: int) -> int:
        """How many bytes have arrived and not been read; for more than `room` there was none."""
        while self._file is not None and self._poll.poll(0):
            self.arrived += self._file.read(1)
        self.arrived[room:] = b""
        return len(self.arrived)

    def take(self, count: int) -> bytes:
        """The first of what has arrived."""
        taken = bytes(self.arrived[:count])
        self.arrived[:count] = b""
        return taken

    def send(self, data: bytes, character_us: int) -> None:
        """Put bytes on the line."""
        self._quiet_us = max(self._now_us(), self._quiet_us) + len(data) * character_us
        if self._file is None:
            self.sent += data
        else:
            self._file.write(data)

    def is_quiet(self) -> bool:
        """Whether all that was sent has left."""
        return self._now_us() >= self._quiet_us

    def close(self) -> None:
        """Let go of the terminal."""
        if self._file is not None:
            self._file.close()


class Board:
    """The chips of one board, wired. `fail` makes an address not answer, as a broken wire does."""

    def __init__(self, description: "dict[str, Any]", *, tick_ms: int = 5):
        self.unique_id = bytes.fromhex(description["unique_id"])
        self.partitions: dict[str, dict[str, Any]] = description.get("partitions", {})
        self.lines: dict[int, Line] = {}
        self._wires: dict[int, Wire] = {}
        self._terminals: dict[str, str] = description.get("terminals", {})
        self._wiring = [(entry["bus"], entry["scl"], entry["sda"]) for entry in description["chips"]]
        self._recordings: list[Recording] = []
        self.chips: dict[tuple[int, int], Any] = {}
        self._int_pins = {}
        for entry in description["chips"]:
            if entry["chip"] not in _CHIPS:
                raise BoardError("there is no model of the chip " + str(entry["chip"]))
            where = (entry["bus"], entry["address"])
            chip = _model(entry["chip"])
            if "recording" in entry:
                recording = Recording(entry["recording"])
                self._recordings.append(recording)
                self.chips[where] = chip(recording.level)
            else:
                self.chips[where] = chip()
            if entry.get("int_pin") is not None:
                self._int_pins[where] = entry["int_pin"]
        self._failing: set[tuple[int, int]] = set()
        self._tick_ms = tick_ms
        self._now_us = 0
        self._starved_us: int | None = None
        self._last_ticks = _ticks_us()
        self._ticker: object = None
        self.wired: list[Any] = []
        for entry in description.get("wired", []):
            lines = {name: self.line(pin) for name, pin in entry["pins"].items()}
            self.wired.append(_wired(entry["model"])(lines, self._now, **entry.get("with", {})))
            self.wired[-1].advance(0)  # what is so from the start
        if "wearer" in description:
            from hardware.sim.chips.wearer import Wearer  # noqa: PLC0415 - most boards have none, and memory is scarce

            self.wired.append(Wearer(self.chips.values(), **description["wearer"]))

    def line(self, pin: int) -> Line:
        """The line at a pin."""
        return self.lines.setdefault(pin, Line())

    def wire(self, port: int) -> Wire:
        """What is connected to a serial port."""
        if port not in self._wires:
            self._wires[port] = Wire(self._terminals.get(str(port)), self._now)
        return self._wires[port]

    def check_wiring(self, bus: int, scl: int, sda: int) -> None:
        """Raises ValueError, as a port does for pins that its bus cannot use."""
        if not any(wired == (bus, scl, sda) for wired in self._wiring):
            raise ValueError(f"bad SCL/SDA pin for I2C({bus})")

    def feed(self, timeout_ms: int) -> None:
        """The watchdog's time begins anew."""
        self._starved_us = self._now_us + 1000 * timeout_ms

    def watch(self) -> None:
        """Let the board live from now on, if its time is real: somebody uses pins or the watchdog."""
        if self._tick_ms and self._ticker is None:
            self._ticker = asyncio.create_task(self._live())

    def advance(self, to_us: int) -> None:
        """Let the board's time pass until `to_us`, and fire the interrupts of what happened."""
        self._now_us = to_us
        if self._starved_us is not None and to_us > self._starved_us:
            sys.exit(75)  # as machine.reset
        for where, chip in self.chips.items():
            chip.advance(to_us)
            self._drive_interrupt(where)
        for model in self.wired:
            model.advance(to_us)

    def addresses(self, bus: int) -> "list[int]":
        """Who acknowledges on a bus."""
        return sorted(where[1] for where in self.chips if where[0] == bus and where not in self._failing)

    def transfer(self, bus: int, address: int, written: bytes, count: int) -> bytes:
        """One I2C transfer: bytes written, then `count` bytes read. Raises OSError when nobody acknowledges."""
        where = (bus, address)
        if where not in self.chips or where in self._failing:
            raise OSError(errno.ENODEV)
        chip = self.chips[where]
        self._pass_real_time()
        chip.advance(self._now_us)
        if written:
            chip.i2c_write(written)
        answer = chip.i2c_read(count) if count else b""
        self._drive_interrupt(where)
        return bytes(answer)

    def _drive_interrupt(self, where: "tuple[int, int]") -> None:
        if where in self._int_pins:
            self.line(self._int_pins[where]).drive(0 if self.chips[where].pulls_int_low() else 1)

    def close(self) -> None:
        """Close the recordings."""
        for recording in self._recordings:
            recording.close()
        for wire in self._wires.values():
            wire.close()

    def fail(self, bus: int, address: int, *, failing: bool = True) -> None:
        """From now on the chip does not answer, or does again."""
        if failing:
            self._failing.add((bus, address))
        else:
            self._failing.discard((bus, address))

    def _now(self) -> int:
        self._pass_real_time()
        return self._now_us

    def _pass_real_time(self) -> None:
        if self._tick_ms:
            ticks = _ticks_us()
            self._now_us += _ticks_diff(ticks, self._last_ticks)
            self._last_ticks = ticks

    async def _live(self) -> None:
        while True:
            self._pass_real_time()
            self.advance(self._now_us)
            await asyncio.sleep(self._tick_ms / 1000)


def _ticks_us() -> int:
    return time.ticks_us() if hasattr(time, "ticks_us") else time.monotonic_ns() // 1000


def _ticks_diff(after: int, before: int) -> int:
    return int(time.ticks_diff(after, before)) if hasattr(time, "ticks_diff") else after - before


class _Installed:
    board: "Board | None" = None


def install(board: Board) -> None:
    """Make this the board that `machine` talks to."""
    _Installed.board = board


def board() -> Board:
    """The board that `machine` talks to; at first use the one that KERB_BOARD describes."""
    if _Installed.board is None:
        path = os.getenv("KERB_BOARD")
        if not path:
            raise BoardError("KERB_BOARD does not name a board file")
        with open(path) as file:
            _Installed.board = Board(json.load(file))
    return _Installed.board
