"""Reads hardware/devices/*.toml: one file declares one model of field device."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from hardware.catalogue.ble import Ble
from hardware.catalogue.command import Command
from hardware.catalogue.modbus import Group, Modbus, Register
from hardware.catalogue.serial import Serial, SerialField
from hardware.catalogue.table import Id, Name, Table
from protocols.reading import to_float
from runtime.toml import TomlFileError, load_toml

__all__ = [
    "DEVICES", "Ble", "Command", "Device", "DeviceModel", "Example", "Group", "Metric", "Modbus", "Name", "Register",
    "Serial", "SerialField", "Simulation", "catalogue", "load_device", "with_own",
]  # fmt: skip

if TYPE_CHECKING:
    from protocols.reading import Value

DEVICES = Path(__file__).parent.parent / "devices"


class Simulation(Table):
    """How the simulator lets a metric run: a slow sine with noise, or a counter that grows."""

    mean: float = 0.0
    swing: float = 0.0
    period_s: float = Field(default=60.0, gt=0)
    noise: float = Field(default=0.0, ge=0)
    start: float | None = None
    per_second: float = 0.0


class Metric(Table):
    """One metric of a model. `deadband` None: every reading is passed on.

    `range`: what the device can measure; beyond it a reading is bad. `states`: what the codes of an enumeration mean;
    any other code is bad.
    """

    name: Name
    unit: str
    group: str | None = None
    range: tuple[float, float] | None = None
    states: Mapping[int, Name] | None = None
    register_: Register | None = Field(default=None, alias="register")
    sentence: str | None = None
    field: SerialField | None = None
    deadband: float | None = Field(default=None, ge=0)
    sim: Simulation | None = None

    @model_validator(mode="after")
    def _check(self) -> "Metric":
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError("range is empty: its first number is greater than its second")
        if self.states is not None and self.range is not None:
            raise ValueError("has range and states; give one of them")
        if self.states is not None and self.register_ is not None and not self.register_.is_plain_whole:
            raise ValueError("states are for whole numbers, without scale and offset")
        return self

    def takes(self, value: "Value") -> bool:
        """Whether it is a value that the device can measure, or a state that there is."""
        if self.states is not None:
            return value in self.states
        if self.range is None or isinstance(value, (str, bool)) or value is None:
            return True
        return self.range[0] <= to_float(value) <= self.range[1]


class Device(Table):
    """The head of the file."""

    model: str = Id
    maker: str
    kind: str = Id
    link: Literal["modbus", "ble", "serial", "mqtt"]
    name: Name


class Example(Table):
    """Raw bytes (hex) or a sentence, and the value that one metric must have after decoding."""

    raw: str
    metric: str
    value: float
    characteristic: int | None = None


class DeviceModel(Table):
    """One model of field device, as its file declares it."""

    device: Device
    metrics: Mapping[str, Metric]
    modbus: Modbus | None = None
    ble: Ble | None = None
    serial: Serial | None = None
    commands: Mapping[str, Command] = {}
    examples: tuple[Example, ...] = ()


# What a command of a device on each link writes or sends; to one of our own over MQTT anything may be said.
_TARGETS = {"modbus": "register_", "ble": "characteristic", "serial": "frame"}


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
        if metric.group is not None and (model.modbus is None or metric.group not in model.modbus.groups):
            raise TomlFileError(path, None, f"metrics.{name}.group", f"there is no group {metric.group}")
        if problem := _problem(model, name, metric):
            raise TomlFileError(path, None, f"metrics.{name}", problem)
    for name, command in model.commands.items():
        if (target := _TARGETS.get(model.device.link)) and getattr(command, target) is None:
            raise TomlFileError(
                path, None, f"commands.{name}", f"needs {target.rstrip('_')} on a {model.device.link} link"
            )
    for number, example in enumerate(model.examples):
        if example.metric not in model.metrics:
            raise TomlFileError(path, None, f"examples.{number}.metric", f"{example.metric} is no metric of this model")
    return model


def _problem(model: DeviceModel, name: str, metric: Metric) -> str:
    """Why the device never gives this metric, as far as the codecs know; empty if it does."""
    if model.device.link == "ble" and model.ble is not None:
        return model.ble.metric_problem(name, metric.unit)
    if model.device.link == "serial" and model.serial is not None:
        return model.serial.metric_problem(name, metric.unit, metric.field, metric.sentence)
    if model.modbus is not None and metric.register_ is not None:
        count, most = metric.register_.count, model.modbus.max_registers
        return f"takes {count} registers, and max_registers is {most}" if count > most else ""
    return ""


@cache
def catalogue() -> Mapping[str, DeviceModel]:
    """Every model by its name."""
    return {path.stem: load_device(path) for path in sorted(DEVICES.glob("*.toml"))}


def with_own(folder: Path) -> Mapping[str, DeviceModel]:
    """Kerb's models and those of a site's own folder. Raises TomlFileError, also for one that there is already."""
    own = {path.stem: load_device(path) for path in sorted(folder.glob("*.toml"))}
    for name in own:
        if name in catalogue():
            raise TomlFileError(
                folder / f"{name}.toml", None, "device.model", "is a model of Kerb's; name it otherwise"
            )
    return {**catalogue(), **own}
