"""What every table of the config shares: devices as attached to a link, and links."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from hardware.catalogue import DeviceModel, catalogue

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Table(BaseModel):
    """A table of the file: no unknown keys, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(Table):
    """A device on a link: its id as a thing, its model, its address on the link.

    Models are the files in hardware/devices and in the site's own folder, if the config names one.
    """

    thing: Id
    model: str
    address: str = ""

    _declared: DeviceModel = PrivateAttr()

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str, info: ValidationInfo) -> str:
        models = _models(info)
        if model not in models:
            raise ValueError(f"no such model; there are {', '.join(models)}")
        return model

    @model_validator(mode="after")
    def _look_up(self, info: ValidationInfo) -> "Device":
        self._declared = _models(info)[self.model]
        return self

    @property
    def declared(self) -> DeviceModel:
        """What the model's file declares."""
        return self._declared

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are named for it: secrets, which must be there."""
        return tuple(value for _, value in self if isinstance(value, Path))


def _models(info: ValidationInfo) -> Mapping[str, DeviceModel]:
    models: Mapping[str, DeviceModel] = info.context["models"] if info.context else catalogue()
    return models


class Link(Table):
    """A bus, radio or port; each kind adds where it is, and may know more of its devices."""

    name: Id


def check_apart(devices: tuple[Device, ...]) -> None:
    """No two devices at one address. Raises ValueError."""
    addresses = [device.address.upper() for device in devices]
    for device, address in zip(devices, addresses, strict=True):
        if addresses.count(address) > 1:
            raise ValueError(f"the address {device.address} of {device.thing} is given to another device too")
