"""Reads hardware/devices/*.toml: one file declares one model of field device."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.toml import TomlFileError, load_toml

DEVICES = Path(__file__).parent / "devices"

Id = Field(pattern=r"^[A-Za-z0-9_-]+$")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Name(_Table):
    """What people call a thing, in the two languages."""

    en: str
    zh: str


class Register(_Table):
    """Where a Modbus metric lives: `address` as on the wire, from 0; `scale` and `offset` applied after decoding."""

    table: Literal["coil", "discrete", "holding", "input"]
    address: int = Field(ge=0, le=0xFFFF)
    type: str = "uint16"
    bit: int | None = Field(default=None, ge=0, le=15)
    scale: float = 1.0
    offset: float = 0.0


class Simulation(_Table):
    """How the simulator lets a metric run: a slow sine with noise, or a counter that grows."""

    mean: float = 0.0
    swing: float = 0.0
    period_s: float = Field(default=60.0, gt=0)
    noise: float = Field(default=0.0, ge=0)
    start: float | None = None
    per_second: float = 0.0


class Metric(_Table):
    """One metric of a model. `deadband` None: every reading is passed on."""

    name: Name
    unit: str
    register_: Register | None = Field(default=None, alias="register")
    sentence: str | None = None
    deadband: float | None = Field(default=None, ge=0)
    sim: Simulation | None = None


class Device(_Table):
    """The head of the file."""

    model: str = Id
    maker: str
    kind: str = Id
    link: Literal["modbus", "ble", "serial", "mqtt"]
    name: Name


class Modbus(_Table):
    """Defaults of a Modbus model; the gateway's config may override unit_id and period_ms."""

    unit_id: int = Field(default=1, ge=0, le=255)
    period_ms: int = Field(default=1000, gt=0)
    byte_order: Literal["big", "little"] = "big"
    word_order: Literal["big", "little"] = "big"


class Ble(_Table):
    """The advertised service, the characteristics to subscribe, and whether the profile wants a bonded link."""

    service: int = Field(ge=0, le=0xFFFF)
    characteristics: tuple[int, ...]
    bond: bool = False


class Serial(_Table):
    """Line speed and framing."""

    baud: int = Field(gt=0)
    framing: Literal["nmea"]


class Example(_Table):
    """Raw bytes (hex) or a sentence, and the value that one metric must have after decoding."""

    raw: str
    metric: str
    value: float
    characteristic: int | None = None


class DeviceModel(_Table):
    """One model of field device, as its file declares it."""

    device: Device
    metrics: Mapping[str, Metric]
    modbus: Modbus | None = None
    ble: Ble | None = None
    serial: Serial | None = None
    examples: tuple[Example, ...] = ()


def load_device(path: Path) -> DeviceModel:
    """One file's model. Raises TomlFileError with file, line, key and reason."""
    model = load_toml(path, DeviceModel)
    if model.device.model != path.stem:
        raise TomlFileError(path, None, "device.model", f"must be the file's name, {path.stem}")
    if model.device.link != "mqtt" and getattr(model, model.device.link) is None:
        raise TomlFileError(path, None, model.device.link, "the table of the device's link is missing")
    for name, metric in model.metrics.items():
        if model.device.link == "modbus" and metric.register_ is None:
            raise TomlFileError(path, None, f"metrics.{name}.register", "is missing")
        if model.device.link == "serial" and metric.sentence is None:
            raise TomlFileError(path, None, f"metrics.{name}.sentence", "is missing")
    for number, example in enumerate(model.examples):
        if example.metric not in model.metrics:
            raise TomlFileError(path, None, f"examples.{number}.metric", f"{example.metric} is no metric of this model")
    return model


@cache
def catalogue() -> Mapping[str, DeviceModel]:
    """Every model by its name."""
    return {path.stem: load_device(path) for path in sorted(DEVICES.glob("*.toml"))}
