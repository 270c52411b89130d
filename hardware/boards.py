"""The boards that firmware runs on, as hardware/boards/*.toml declare them: pins, buses, chips, power, parts.

hardware/micros holds what a microcontroller's pins can do, hardware/parts.toml what the chips need.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from hardware.catalogue import Name
from runtime.toml import load_toml

ROOT = Path(__file__).parent
BOARDS = ROOT / "boards"
_MICROS = ROOT / "micros"
_PARTS = ROOT / "parts.toml"


class BoardError(Exception):
    """There is no such board, microcontroller or chip; the message names it and what there is."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Micro(_Table):
    """What a microcontroller's pins can do, and what it needs. `straps`: the level that a normal start needs.

    `analog`: the pins with a converter that works while the radio does."""

    micro: str
    pins: tuple[int, ...]
    input_only: tuple[int, ...]
    usb: tuple[int, ...]
    console: tuple[int, ...]
    straps: dict[int, Literal["high", "low"]]
    volts: tuple[float, float]
    peak_ma: float
    average_ma: float
    firmware_kb: int
    analog: tuple[int, ...]
    i2c_of_pin: int | None = None


class Part(_Table):
    """A chip by its data sheet: possible addresses (7 bits), supply, current, fastest bus, kind of interrupt output."""

    part: str
    addresses: tuple[int, ...]
    volts: tuple[float, float]
    peak_ma: float
    average_ma: float
    freq_hz: int
    interrupt: Literal["none", "open drain", "push pull"]


class _About(_Table):
    model: str
    name: Name
    micro: str
    module: str
    app: str
    flash_kb: int = Field(gt=0)
    ram_kb: int = Field(gt=0)
    psram_kb: int = Field(default=0, ge=0)  # outside of the microcontroller, in its module


class Bus(_Table):
    """An I2C bus: its pins and speed, and the pull-up resistors on the board."""

    bus: int = Field(ge=0)
    scl: int = Field(ge=0)
    sda: int = Field(ge=0)
    freq_hz: int = Field(gt=0, le=1000000)
    pullup_ohm: int | None = Field(default=None, gt=0)


class Chip(_Table):
    """A chip on a bus and a rail, and the pin that its interrupt output is wired to."""

    chip: str
    bus: int = Field(ge=0)
    address: int = Field(ge=0x08, le=0x77)
    rail: str
    int_pin: int | None = Field(default=None, ge=0)
    int_pullup_ohm: int | None = Field(default=None, gt=0)


class Pin(_Table):
    """A pin with something simple on it. `pull`: what holds an input when nothing drives it; `to`: what it goes to."""

    name: str
    pin: int = Field(ge=0)
    use: Literal["input", "output", "analog"]
    to: str
    pull: Literal["up", "down", "driven"] | None = None


class Serial(_Table):
    """A serial port and what is at it; `direction_pin` turns the transceiver of an RS-485 line round."""

    name: str
    uart: int = Field(ge=0)
    tx: int = Field(ge=0)
    rx: int = Field(ge=0)
    baud: int = Field(gt=0)
    direction_pin: int | None = Field(default=None, ge=0)
    to: str


class Rail(_Table):
    """A supply: its voltage, and how much it can give."""

    name: str
    volts: float = Field(gt=0)
    limit_ma: float = Field(gt=0)


class Load(_Table):
    """What takes current beside microcontroller and chips."""

    name: str
    part: str
    rail: str
    peak_ma: float = Field(gt=0)
    average_ma: float = Field(ge=0)


class _Power(_Table):
    source: str
    rail: str  # of the microcontroller
    battery_mah: float | None = Field(default=None, gt=0)


class _Storage(_Table):
    journal_kb: int = Field(gt=0)
    urgent_kb: int = Field(64, gt=0)  # the journal of what must not wait: alarms, falls, doses
    records_kb: int = Field(0, ge=0)  # measurements that centrals ask for by Bluetooth


class Board(_Table):
    """What a file under hardware/boards declares. `parts`: what else is to be bought, name -> how many."""

    board: _About
    i2c: tuple[Bus, ...] = ()
    chips: tuple[Chip, ...] = ()
    pins: tuple[Pin, ...] = ()
    serial: tuple[Serial, ...] = ()
    rails: tuple[Rail, ...]
    loads: tuple[Load, ...] = ()
    power: _Power
    parts: dict[str, int] = {}
    storage: _Storage

    def configured(self) -> dict[str, Any]:
        """What of it the firmware needs to know, as in a device's config."""
        return self.model_dump(include={"i2c", "chips", "pins", "serial"}, exclude_none=True)


class _Parts(RootModel[dict[str, Part]]):
    pass


def names() -> list[str]:
    """The boards that there are."""
    return sorted(path.stem for path in BOARDS.glob("*.toml"))


def find(name: str) -> Board:
    """The board of this name. Raises BoardError, or TomlFileError."""
    if name not in names():
        raise BoardError(f"there is no board {name}; there are {', '.join(names())}")
    return load_toml(BOARDS / f"{name}.toml", Board)


@cache
def micro(name: str) -> Micro:
    """The microcontroller of this name. Raises BoardError."""
    found = {path.stem: path for path in _MICROS.glob("*.toml")}
    if name.lower() not in found:
        raise BoardError(f"there is no microcontroller {name}; there are {', '.join(sorted(found))}")
    return load_toml(found[name.lower()], Micro)


@cache
def parts() -> dict[str, Part]:
    """The chips that boards may carry, by name."""
    return load_toml(_PARTS, _Parts).root
